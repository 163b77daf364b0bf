"""After ``keys retire`` an old dump is dead, and whatever stops the procedure, it goes on from there."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.conformance.counter import Counter, phone
from tests.conformance.dumps import VALUES, graft, take, visit
from tests.conformance.retiring import Retiring, saying
from tests.support.furnished import phones
from tests.support.postgres import PostgresCluster
from vault.access.entries import Said
from vault.assembly import Sealing, change_root_key, look
from vault.assembly.oldcopies import Ending, old_copy
from vault.assembly.retiring import _end
from vault.domain.errors import ConflictError, InvalidInputError, UnavailableError
from vault.rotation.retirement import Step
from vault.storage import tables
from vault.storage.roots import read_roots


@pytest.fixture
def retiring(counter: Counter) -> Retiring:
    counter.tokenize(*map(phone, phones(5)))
    return Retiring(counter)


def _file(office_home: Path, version: int = 1) -> Path:
    return office_home / "keys" / ("root.key" if version == 1 else f"root-{version}.key")


def test_a_dump_of_before_opens_before_and_not_after(
    counter: Counter, tmp_path: Path, postgres: PostgresCluster
) -> None:
    answers = counter.tokenize(phone("010-5555-0001", external_ref="user-1"), *map(phone, phones(4)))
    tokens = [answer["token"] for answer in answers["items"]]
    dump = take(counter, tmp_path / "dump", postgres)
    before = visit(dump.restore(tmp_path / "before"), counter.furnished)
    assert [item["value"] for item in before.detokenize(*tokens)["items"]][1:] == list(phones(4))
    assert before.search("member.phone", "010-5555-0001")
    before.close()

    retiring = Retiring(counter)
    retiring.up_to(Step.DONE)
    files = sorted((counter.furnished.home / "keys").iterdir())
    assert files == [_file(counter.furnished.home, 2)]

    # As it is, and with the one key file that is left called as the one it wants.
    after = dump.restore(tmp_path / "after")
    with pytest.raises(UnavailableError, match="missing"):
        visit(after, counter.furnished)
    shutil.copy(_file(after.home, 2), _file(after.home))
    with pytest.raises(UnavailableError, match="does not open"):
        visit(after, counter.furnished)
    with pytest.raises(UnavailableError, match="shares of another vault or of an earlier root key"):
        change_root_key(after, Sealing(), ask=saying(*retiring.shares[:2]), from_recovery=True)

    # With the root key of today put into it, nothing in it opens.
    graft(counter.furnished.settings, after, tables.root_key)
    with pytest.raises(UnavailableError):
        visit(after, counter.furnished)

    # With every key of today put into it, the vault opens, and no value in it does.
    graft(counter.furnished.settings, after, tables.root_key, tables.key)
    grafted = visit(after, counter.furnished)
    opened = grafted.detokenize(*tokens)["items"]
    assert [item["error"]["code"] for item in opened] == ["tamper_detected"] * 5
    assert not grafted.search("member.phone", "010-5555-0001")
    grafted.close()

    # And the vault of today, given the people, data keys and values of the dump, opens none of them.
    today = take(counter, tmp_path / "today", postgres).restore(tmp_path / "both")
    old = dump.restore(tmp_path / "old")
    graft(old, today, *VALUES)
    mixed = visit(today, counter.furnished)
    assert not any("value" in item for item in mixed.detokenize(*tokens)["items"])
    mixed.close()

    opened = counter.detokenize(*tokens)["items"]
    assert [item["value"] for item in opened][1:] == list(phones(4))
    counter.verify_log()


def test_the_step_that_is_due_follows_from_what_is_there(retiring: Retiring) -> None:
    assert retiring.look().step is Step.DONE
    retiring.begin()
    seen: dict[Step, int] = {}
    while (step := retiring.look().step) is not Step.DONE:
        # Each look is that of a process which was not there before.
        seen[step] = seen.get(step, 0) + 1
        if step is Step.ROTATE:
            retiring.rotate_one()
        elif step is Step.DESTROY:
            retiring.move()
            retiring.destroy_one()
        elif step is Step.ROOT:
            retiring.change_root_key()
        else:
            retiring.end_copies(retiring.look().copies[0].name)
    lookups = seen[Step.ROTATE]
    assert lookups > 5
    assert seen == {Step.ROTATE: lookups, Step.DESTROY: lookups + 1, Step.ROOT: 1, Step.COPIES: 2}
    assert not _file(retiring.office.home).exists()
    retiring.counter.verify_log()
    assert retiring.counter.alarms() == []


def test_the_log_names_each_copy_who_confirmed_it_and_how_it_ended(retiring: Retiring) -> None:
    retiring.up_to(Step.DONE)
    entries = [logged.entry for logged in retiring.counter.log() if logged.entry.action == "key:retire"]
    assert [entry.actor.id for entry in entries] == ["host", "host"]
    file, shares = (dict(entry.target) for entry in entries)
    assert file["copy"].endswith("/keys/root.key")
    assert {"root_key": "1", "slot": "live", "holder": "file", "how": "overwritten"}.items() <= file.items()
    assert shares["copy"] == "3-recovery-shares-of-root-key-1"
    assert {"slot": "recovery", "holder": "shamir", "how": "confirmed"}.items() <= shares.items()
    assert file["confirmed_by"] == shares["confirmed_by"] == retiring.office.people["admin"]


def test_no_copy_ends_before_its_time(retiring: Retiring) -> None:
    retiring.up_to(Step.DESTROY)
    # By hand, too early: it has sealed keys that are still to be destroyed.
    retiring.change_root_key()
    assert {copy.row.version for copy in retiring.look().copies} == {1}
    with pytest.raises(ConflictError, match="the step that is due is destroy"):
        retiring.end_copies()
    while retiring.look().step is Step.DESTROY:
        retiring.destroy_one()
    assert retiring.look().step is Step.ROOT
    with pytest.raises(ConflictError, match="the step that is due is root"):
        retiring.end_copies()
    retiring.change_root_key()
    assert {copy.row.version for copy in retiring.look().copies} == {1, 2}
    assert retiring.end_copies() == ["overwritten", "confirmed", "overwritten", "confirmed"]
    assert retiring.look().step is Step.DONE


def test_nothing_ends_unless_the_new_root_key_opens_everything_twice(retiring: Retiring) -> None:
    retiring.up_to(Step.COPIES)
    counter, home = retiring.counter, retiring.office.home
    with pytest.raises(InvalidInputError) as unknown:
        retiring.end_copies("3 recovery shares of root key 2")
    assert (unknown.value.field, unknown.value.rule) == ("--confirm", "unknown")
    with pytest.raises(UnavailableError, match="share"):
        retiring.end_copies(ask=saying(retiring.shares[0], retiring.shares[0]))
    moved = _file(home, 2).rename(home / "keys" / "aside")
    with pytest.raises(UnavailableError, match="missing"):
        retiring.end_copies()
    moved.rename(_file(home, 2))
    key = tables.key.c
    row = counter.row(tables.key, kind="token")
    counter.tamper(update(tables.key).where(key.kind == "token").values(wrapped=b"\x01" * 61))
    with pytest.raises(UnavailableError):
        retiring.end_copies()
    counter.tamper(update(tables.key).where(key.kind == "token").values(wrapped=row["wrapped"]))
    assert _file(home).exists()
    assert [copy.row.ended_at for copy in retiring.look().copies] == [None, None]
    assert retiring.end_copies() == ["overwritten", "confirmed"]


def test_no_copy_ends_once_the_root_key_is_changed_on_another_host(
    retiring: Retiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = retiring.office
    retiring.change_root_key()
    with retiring.counter.vault.changes.database.reading() as connection:
        old = [old_copy(office.settings, row) for row in read_roots(connection) if row.state == "retired"]
    vault = retiring.counter.node()

    def meanwhile(*_arguments: object, **_named: object) -> Ending:
        change_root_key(office.settings, Sealing(), clock=office.clock)
        return Ending("absent")

    monkeypatch.setattr("vault.assembly.retiring.end_copy", meanwhile)
    with pytest.raises(ConflictError, match="changed meanwhile: begin again"):
        _end(office.settings, vault, old, by=office.people["admin"], said=Said(), delete_in_kms=False)
    with vault.changes.database.reading() as connection:
        ended = [row.slot for row in read_roots(connection) if row.ended_at is not None]
    assert ended == [old[0].row.slot]


def test_another_key_in_the_place_of_the_old_one_is_left_alone(retiring: Retiring) -> None:
    retiring.up_to(Step.COPIES)
    old, new = _file(retiring.office.home), _file(retiring.office.home, 2)
    ours = old.read_bytes()
    old.write_bytes(new.read_bytes())
    with pytest.raises(UnavailableError, match="another_key"):
        retiring.end_copies()
    assert old.read_bytes() == new.read_bytes()
    old.write_bytes(ours)
    assert retiring.end_copies() == ["overwritten", "confirmed"]


def test_a_file_that_is_not_on_this_host_is_confirmed_by_its_name(retiring: Retiring) -> None:
    retiring.up_to(Step.COPIES)
    _file(retiring.office.home).unlink()
    assert retiring.end_copies() == ["absent", "confirmed"]


@pytest.mark.parametrize("boundary", ["unlink", "end_copy", "_write_down"])
def test_killed_between_two_steps_it_goes_on(retiring: Retiring, boundary: str) -> None:
    retiring.up_to(Step.COPIES)
    office = retiring.office
    now = str(office.clock.now.timestamp())
    command = [sys.executable, "-m", "tests.soak.retirer", str(office.home), now, boundary]
    killed = subprocess.run(command, input="\n".join(retiring.shares[:2]).encode(), check=False)
    assert killed.returncode == -signal.SIGKILL
    office.clock.pass_time(seconds=10)
    assert retiring.look().step is Step.COPIES
    assert len(retiring.look().copies) == 2
    assert retiring.end_copies() == ["overwritten" if boundary != "_write_down" else "absent", "confirmed"]
    assert retiring.look().step is Step.DONE
    assert not _file(office.home).exists()
    retiring.counter.verify_log()


def test_a_dump_of_each_day_is_told_what_it_still_opens_by(retiring: Retiring) -> None:
    office = retiring.office
    first = office.clock()
    retiring.up_to(Step.COPIES)
    second = office.clock()
    now = retiring.look()
    of_first = look(office.settings, before=first, clock=office.clock)
    of_second = look(office.settings, before=second, clock=office.clock)
    assert (of_first.rest.keys, [root.version for root in of_first.rest.roots]) == ((), [1])
    assert [copy.name for copy in of_first.copies] == [copy.name for copy in now.copies]
    assert {key.version for key in of_second.rest.keys} == {2}
    assert [root.version for root in of_second.rest.roots] == [2]
    assert of_second.copies == ()
