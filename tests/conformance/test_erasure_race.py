"""What is written at the very moment of an erasure or restriction: nothing of the person comes back."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from tests.conformance.counter import PHONE, Counter, phone
from tests.conformance.keeper import Keeper
from tests.conformance.suspicion import compromise
from vault.lifecycle import erasure
from vault.rotation import jobs
from vault.storage import subjects, tables
from vault.storage.errors import RolledBackError, StaleRevisionError


def _finish(counter: Counter) -> int:
    """Do background work until there is none; return how many portions were overtaken."""
    overtaken = 0
    while True:
        try:
            if counter.vault.worker.portion() is None:
                return overtaken
        except (StaleRevisionError, RolledBackError):
            overtaken += 1


def _start(counter: Counter, job: str) -> None:
    admin = counter.furnished.request(counter.actor("admin"))
    if job == "reencrypt":
        compromise(counter)
        return
    if job == "rewrap":
        counter.vault.keys.rotate(admin)
        counter.vault.keys.rewrap(admin)
        return
    scope = PHONE if job == "values" else "ref/member"
    counter.vault.keys.rotate(admin, kind="lookup", scope=scope)
    counter.vault.keys.redigest(admin, scope)


def _require_erased(keeper: Keeper, subject: str, token: str) -> None:
    counter = keeper.counter
    row, kept = keeper.row(subject), counter.row_of(token)
    assert (row["state"], row["ref_digest"], row["ref_envelope"]) == (3, None, None)
    assert (kept["subject_id"], kept["digest"], kept["digest_version"], kept["envelope"]) == (
        0,
        None,
        None,
        None,
    )
    with counter.vault.changes.database.reading() as connection:
        keys = select(tables.data_key).filter_by(subject_id=counter.row_id(subject))
        assert connection.execute(keys).all() == []
    assert counter.refused(token) == "subject_erased"


@pytest.mark.parametrize("act", ["erase", "restrict"])
@pytest.mark.parametrize("job", ["rewrap", "reencrypt", "values", "references"])
def test_a_portion_prepared_before_brings_nothing_back(
    keeper: Keeper, counter: Counter, monkeypatch: pytest.MonkeyPatch, act: str, job: str
) -> None:
    """The job has read and made the new rows; then the person is erased or restricted; then it writes."""
    subject, tokens = keeper.somebody(external_ref="user-1")
    _start(counter, job)
    kind = jobs.KINDS[job if job in jobs.KINDS else "redigest"]
    prepare, acted = kind.prepare, False

    def prepare_and_act(*arguments: object) -> object:
        nonlocal acted
        portion = prepare(*arguments)  # type: ignore[arg-type]  # handed on as they came
        if not acted:
            acted = True
            getattr(keeper, act)(subject)
        return portion

    monkeypatch.setattr(kind, "prepare", prepare_and_act)
    assert _finish(counter) == 1
    if act == "erase":
        _require_erased(keeper, subject, tokens[0])
    else:
        assert counter.refused(tokens[0]) == "subject_restricted"
        assert keeper.show(subject).state == "restricted"
    assert counter.alarms() == []
    admin = counter.furnished.request(counter.actor("admin"))
    assert {done.failed for done in counter.vault.keys.jobs(admin).value} == {0}


def _late(keeper: Keeper, monkeypatch: pytest.MonkeyPatch, subject: str) -> list[str]:
    """Have another node write for the subject between what an erasure writes and its append, once."""
    counter, node = keeper.counter, keeper.counter.node()
    destroy = subjects.destroy
    late: list[str] = []

    def destroy_and_write(*arguments: object, **more: object) -> object:
        gone = destroy(*arguments, **more)  # type: ignore[arg-type]  # handed on as they came
        if not late:
            made = counter.tokenize(phone("010-9999-0001", subject=subject), at=node, key="late")
            late.append(str(made["items"][0]["token"]))
        return gone

    monkeypatch.setattr(subjects, "destroy", destroy_and_write)
    return late


def test_a_token_that_another_node_writes_meanwhile_is_erased_as_well(
    on_postgresql: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite there is one writer at a time, and so no meanwhile."""
    keeper = Keeper(on_postgresql)
    subject, _ = keeper.somebody()
    late = _late(keeper, monkeypatch, subject)
    keeper.erase(subject)
    _require_erased(keeper, subject, late[0])
    assert on_postgresql.count(tables.tombstone) == 1
    assert on_postgresql.count(tables.idempotency) == 0
    on_postgresql.verify_log()


def test_the_erasure_gives_up_where_somebody_writes_again_and_again(
    keeper: Keeper, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves everything as it was."""
    subject, tokens = keeper.somebody()
    waiting = keeper.propose("erase", subject).approval_id
    with monkeypatch.context() as patched:
        patched.setattr(erasure.rows, "is_left", lambda *_: True)  # type: ignore[attr-defined]
        with pytest.raises(erasure.ConflictError, match="at the same time"):  # type: ignore[attr-defined]
            keeper.decide(waiting)
    assert counter.detokenize(*tokens)["items"][0]["value"] == "010-1234-5678"
    assert counter.count(tables.tombstone) == 0
    assert counter.row(tables.approval, id=waiting)["state"] == "open"
    keeper.decide(waiting)
    _require_erased(keeper, subject, tokens[0])
    counter.verify_log()


def test_a_key_that_is_added_meanwhile_is_restricted_as_well(
    keeper: Keeper, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state would be that of before: the restriction starts over, and finds it."""
    subject, tokens = keeper.somebody()
    count, seen = subjects.count_data_keys_of, []

    def one_more_at_first(*arguments: object) -> int:
        seen.append(1)
        return count(*arguments) + (len(seen) == 1)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(subjects, "count_data_keys_of", one_more_at_first)
    keeper.restrict(subject)
    assert len(seen) == 2
    assert counter.refused(tokens[0]) == "subject_restricted"
    assert counter.count(tables.tombstone) == 1


def test_a_record_made_after_the_scan_is_forgotten_too(
    keeper: Keeper, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, _ = keeper.somebody(external_ref="user-1")
    scan = erasure.scan

    def scan_and_import(*arguments: object) -> object:
        found = scan(*arguments)  # type: ignore[arg-type]  # handed on as they came
        counter.tokenize(phone("010-1234-5678", external_ref="user-1"), key="late")
        assert counter.count(tables.idempotency) == 1
        return found

    monkeypatch.setattr(erasure, "scan", scan_and_import)
    keeper.erase(subject)
    assert counter.count(tables.idempotency) == 0
