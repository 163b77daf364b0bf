"""What a vault does by itself: it integrates, notices, reports, and no failure ends it in silence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import select, text, update

from keys.keyring import Keyring
from keys.rootkey import RootSlot
from tests.conformance.counter import Counter, phone
from vault.access.roots import in_force
from vault.audit.integrator import Integrator, Progress
from vault.domain.actions import Action
from vault.domain.errors import LogUnavailableError
from vault.service import upkeep as module
from vault.service.upkeep import Upkeep
from vault.storage import tables
from vault.storage.roots import read_roots

CANARY = "canary-e1a4"
WAIT = 20


def checkpoints(counter: Counter) -> int:
    with counter.vault.changes.database.reading() as connection:
        return len(connection.execute(select(tables.log_checkpoint)).all())


def execute(counter: Counter, *statements: object) -> None:
    with counter.vault.changes.database.writing() as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]  # any statement there is


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def edit_last_entry(counter: Counter) -> int:
    index = counter.next_index() - 1
    column = tables.log_entry.c.idx
    execute(counter, update(tables.log_entry).where(column == index).values(body=b"{}"))
    return index


def test_round_integrates_what_was_appended(embedded: Counter) -> None:
    embedded.token()
    embedded.vault.upkeep.round()
    health = embedded.vault.upkeep.health
    assert (health.integrated, health.trouble) == (embedded.next_index(), "")
    assert health.since_us > 0


def test_backlog_is_worked_off_in_one_round(embedded: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.audit.integrator.UNITS", 2)
    for _ in range(7):
        embedded.token()
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.integrated == embedded.next_index()


def test_tampering_is_trouble_an_alarm_in_the_log_and_the_end_of_signing(embedded: Counter) -> None:
    embedded.vault.upkeep.round()
    signed = checkpoints(embedded)
    embedded.token()
    index = edit_last_entry(embedded)
    for _ in range(3):
        embedded.vault.upkeep.round()
        assert embedded.vault.upkeep.health.trouble == "tamper_detected"
    assert checkpoints(embedded) == signed
    with embedded.vault.changes.database.reading() as connection:
        bodies = connection.execute(select(tables.log_entry.c.body).where(tables.log_entry.c.idx > index))
        alarms = [body for (body,) in bodies if Action.INTEGRITY_ALARM.encode() in body]
    assert len(alarms) == 1
    assert b'"log"' in alarms[0]
    assert f'"{index}"'.encode() in alarms[0]


def test_vault_goes_on_serving_and_logging_while_its_log_is_in_trouble(embedded: Counter) -> None:
    edit_last_entry(embedded)
    embedded.vault.upkeep.round()
    token = embedded.token("010-2222-3333")
    assert embedded.detokenize(token)["items"][0]["value"] == "010-2222-3333"


class SilentHolder:
    """It lets somebody in for a time, and does not answer when asked to prolong it."""

    kind = "openbao"

    def __init__(self) -> None:
        self.asked, self.answers, self.over = 0, 0, threading.Event()

    def renew(self) -> int:
        self.asked += 1
        self.over.wait(WAIT)
        self.answers += 1
        return 0


def test_a_holder_that_does_not_answer_keeps_no_key_after_a_seal_and_no_process(embedded: Counter) -> None:
    vault, holder = embedded.vault, SilentHolder()
    with vault.changes.database.reading() as connection:
        row = in_force(read_roots(connection), RootSlot.LIVE)
    vault.standings.roots._lease.of(lambda _row: holder, row)  # type: ignore[arg-type, return-value]  # all of it that a lease uses
    vault.upkeep.start()
    eventually(lambda: holder.asked == 1)
    vault.seal(embedded.furnished.request(embedded.actor("admin")))
    eventually(lambda: vault.upkeep.health.trouble == "sealed")
    assert vault.standings._leaving is None
    vault.upkeep.stop()
    assert (holder.asked, holder.answers) == (1, 0)
    holder.over.set()


def test_trouble_with_the_log_does_not_keep_planted_rows_from_being_found(embedded: Counter) -> None:
    embedded.vault.upkeep.round()
    edit_last_entry(embedded)
    execute(embedded, update(tables.session).values(staff_id=embedded.furnished.people["admin"]))
    embedded.furnished.clock.pass_time(minutes=11)
    embedded.vault.upkeep.round()
    with embedded.vault.changes.database.reading() as connection:
        bodies = connection.execute(select(tables.log_entry.c.body)).scalars().all()
    assert any(Action.INTEGRITY_ALARM.encode() in body and b'"session"' in body for body in bodies)


def test_planted_row_that_nobody_asks_for_is_found_within_minutes(embedded: Counter) -> None:
    embedded.vault.upkeep.round()
    execute(embedded, update(tables.session).values(address="10.9.9.9"))
    embedded.vault.upkeep.round()
    assert embedded.alarms() == []
    embedded.furnished.clock.pass_time(minutes=11)
    embedded.vault.upkeep.round()
    assert {table for table, _ in embedded.alarms()} == {"session"}


def test_sweep_that_failed_is_done_again_in_the_next_round(embedded: Counter) -> None:
    execute(embedded, text("ALTER TABLE session RENAME TO away"))
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.trouble == "unavailable"
    execute(embedded, text("ALTER TABLE away RENAME TO session"))
    execute(embedded, update(tables.session).values(address="10.9.9.9"))
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.trouble == ""
    assert {table for table, _ in embedded.alarms()} == {"session"}


def test_checkpoint_that_cannot_be_kept_is_trouble_until_it_can(embedded: Counter) -> None:
    embedded.vault.upkeep.round()
    path = embedded.furnished.settings.checkpoint
    lock = path.with_name(path.name + ".lock")
    lock.unlink()
    lock.mkdir()
    embedded.token()
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.trouble == "unavailable"
    lock.rmdir()
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.trouble == ""
    assert str(embedded.next_index()) in path.read_text(encoding="utf-8").splitlines()


def test_log_that_cannot_be_written_is_trouble_and_strangers_stay_counted(embedded: Counter) -> None:
    now_us = embedded.vault.now_us()
    strangers = embedded.vault.changes.strangers
    strangers.note(Action.SESSION_OPEN, "192.0.2.1", now_us, error="authentication_failed")
    embedded.furnished.clock.pass_time(minutes=2)
    execute(embedded, text("ALTER TABLE log_unit RENAME TO away"))
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.trouble == LogUnavailableError.code
    execute(embedded, text("ALTER TABLE away RENAME TO log_unit"))
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.trouble == ""
    assert b"192.0.2.1" in embedded.last().body


def test_alarm_that_cannot_be_logged_is_said_and_the_rest_is_done(
    embedded: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    edit_last_entry(embedded)
    execute(embedded, update(tables.counter).values(sealed=True))
    embedded.vault.upkeep.round()
    assert embedded.vault.upkeep.health.trouble != ""
    assert "an alarm could not be logged: sealed" in caplog.text


def test_fault_of_ours_is_trouble_and_tells_no_value(
    embedded: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Integrator):
        faulty = True

        def integrate(self, keyring: Keyring, now_us: int) -> Progress | None:
            if self.faulty:
                raise KeyError(CANARY)
            return super().integrate(keyring, now_us)

    vault = embedded.vault
    integrator = Faulty(vault.changes.database, vault.upkeep._integrator._outside)
    upkeep = Upkeep(vault.changes, integrator, vault.clock)
    upkeep.start()
    eventually(lambda: upkeep.health.trouble == "internal")
    integrator.faulty = False
    eventually(lambda: upkeep.health.trouble == "")
    upkeep.stop()
    assert "KeyError at" in caplog.text
    assert CANARY not in caplog.text


def test_round_in_which_another_node_was_faster_is_no_trouble(embedded: Counter) -> None:
    class Slower(Integrator):
        def integrate(self, keyring: Keyring, now_us: int) -> Progress | None:
            super().integrate(keyring, now_us)
            return None

    vault = embedded.vault
    upkeep = Upkeep(
        vault.changes, Slower(vault.changes.database, vault.upkeep._integrator._outside), vault.clock
    )
    upkeep.round()
    assert upkeep.health.trouble == ""


def test_records_of_requests_are_kept_for_a_day(embedded: Counter) -> None:
    embedded.tokenize(phone("010-1234-5678"), key="k1")
    database = embedded.vault.changes.database

    def kept() -> int:
        with database.reading() as connection:
            return len(connection.execute(select(tables.idempotency)).all())

    embedded.vault.upkeep.round()
    embedded.furnished.clock.pass_time(hours=23)
    embedded.vault.upkeep.round()
    assert kept() == 1
    embedded.furnished.clock.pass_time(hours=2)
    embedded.vault.upkeep.round()
    assert kept() == 0


def test_thread_works_by_itself_until_it_is_stopped(
    embedded: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD_S", 0.01)
    upkeep = embedded.vault.upkeep
    upkeep.start()
    embedded.token()
    eventually(lambda: upkeep.health.integrated == embedded.next_index())
    upkeep.stop()
    embedded.token()
    time.sleep(0.1)
    assert upkeep.health.integrated < embedded.next_index()


def test_stopping_integrates_and_counts_what_is_left(
    embedded: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD_S", WAIT)
    embedded.vault.upkeep.start()
    strangers = embedded.vault.changes.strangers
    strangers.note(Action.SESSION_OPEN, "192.0.2.1", embedded.vault.now_us(), error="authentication_failed")
    embedded.vault.upkeep.stop()
    assert b"192.0.2.1" in embedded.last().body
    assert embedded.vault.upkeep.health.integrated == embedded.next_index()


def test_stopping_what_was_never_started_does_nothing(embedded: Counter) -> None:
    before = embedded.next_index()
    embedded.vault.upkeep.stop()
    assert embedded.next_index() == before
    assert embedded.vault.upkeep.health.since_us == 0
