"""The whole drill: back up, erase, ``keys retire``, restore each copy into a fresh vault.

On both kinds of database, by the real acts: a service proposes the erasure and
the officer approves it; every step of the retirement is taken.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keys.errors import KeysError
from keys.keyring import root_context
from tests.conformance.counter import PHONE, Counter, item, phone
from tests.conformance.drilling import (
    ERASED,
    FIELDS,
    KEPT,
    LATER,
    Drill,
    Rows,
    epochs_open,
    hold,
    records_at,
    rows_at,
    rows_of_set,
    values_open,
)
from tests.conformance.dumps import graft, visit
from tests.conformance.retiring import saying
from tests.conformance.yard import new_yard
from tests.support.postgres import PostgresCluster
from vault.assembly.backups import Unlocking
from vault.assembly.serving import open_to_serve
from vault.domain.errors import (
    ApprovalRequiredError,
    AuthenticationError,
    TamperDetectedError,
    UnavailableError,
)
from vault.settings import Settings
from vault.storage import tables


@pytest.fixture(params=["sqlite", "postgresql"])
def drill(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresCluster) -> Drill:
    return hold(new_yard(request, tmp_path), postgres)


def require_gone(drill: Drill, rows: Rows, *, number: str = ERASED) -> None:
    """Return if rows that nobody has opened yet have nothing of somebody but a tombstone."""
    subject, tokens = drill.people[number]
    ids = [drill.counter.row_id(token) for token in tokens]
    gone = drill.counter.row_id(subject)
    assert [row["act"] for row in rows["tombstone"] if row["subject_id"] == gone] == ["erase"]
    (person,) = (row for row in rows["subject"] if row["id"] == gone)
    assert (person["state"], person["ref_digest"], person["ref_envelope"]) == (3, None, None)
    assert gone not in {row["subject_id"] for row in rows["data_key"]}
    left = [row for row in rows["token"] if row["id"] in ids]
    assert [(row["subject_id"], row["envelope"], row["digest"]) for row in left] == [(0, None, None)] * 2


def require_served(drill: Drill, counter: Counter, *, there: tuple[str, ...], gone: tuple[str, ...]) -> None:
    """Return if whoever is there is found and opens, and whoever is gone does not."""
    drill.yard.let_in(counter)
    for number in gone:
        _, tokens = drill.people[number]
        assert [counter.refused(token) for token in tokens] == ["subject_erased"] * 2
        assert counter.search(PHONE, number) == []
    for number in there:
        subject, tokens = drill.people[number]
        opened = counter.detokenize(*tokens)["items"]
        assert [one["value"] for one in opened] == [number, "F"]
        assert [hit["token"] for hit in counter.search(PHONE, number)] == tokens[:1]
        again = counter.tokenize(item("member.gender", "F", external_ref=f"user-{number}"))["items"][0]
        assert again["subject"] == subject
    for number in gone:
        again = counter.tokenize(phone(number, external_ref=f"user-{number}"))["items"][0]
        assert again["subject"] != drill.people[number][0]
    assert counter.alarms() == []
    counter.verify_log()


def require_dead(drill: Drill, copy: Rows) -> None:
    """Return if no key that still exists opens a named key, a data key or a value of the erased in ``copy``.

    ``copy`` is what an adversary has who got everything of before but the root key.
    """
    counter = drill.counter
    root = counter.vault.standings.roots.held
    vault_id = counter.vault.standings.current.keyring.vault_id
    assert root.version == 2
    old = records_at(drill.dumped("before", "to-read").database_url)
    assert {bytes(row["wrapped"]) for row in copy["key"]} == {record.wrapped for record in old}
    for record in old:
        with pytest.raises(KeysError):
            root.unwrap(record.wrapped, root_context(vault_id, record))
    assert {row["subject_id"] for row in copy["data_key"]} == {
        counter.row_id(subject) for subject, _ in drill.people.values()
    }
    assert epochs_open(counter, copy) == []
    # Data keys of today: those of whoever is still in the vault are the same, and show that this would open.
    keys = epochs_open(counter, rows_at(drill.yard.settings.database_url))
    still = {counter.row_id(drill.people[number][0]) for number in (KEPT, LATER)}
    assert values_open(counter, copy, keys) == {(row, name) for row in still for name in FIELDS}


def test_our_backup_of_before_is_dead(drill: Drill) -> None:
    yard, home = drill.yard, drill.home("fresh")
    assert [path.name for path in (home / "keys").iterdir()] == ["root-2.key"]
    with pytest.raises(UnavailableError, match="missing"):
        yard.restore("before", home=home, **drill.outside())
    shutil.copy(home / "keys" / "root-2.key", home / "keys" / "root.key")
    with pytest.raises(UnavailableError, match="does not open"):
        yard.restore("before", home=home, **drill.outside())
    shares = Unlocking(saying(*drill.retiring.shares[:2]), from_recovery=True)
    with pytest.raises(UnavailableError, match="shares of another vault or of an earlier root key"):
        yard.restore("before", home=home, unlocking=shares, **drill.outside())
    # What was refused has left nothing behind that could be opened.
    assert [path.name for path in home.iterdir()] == ["keys"]
    keys, values = (rows_of_set(yard.opened_set(name, "before")) for name in ("keys", "values"))
    require_dead(drill, keys | values)


def test_a_raw_dump_of_before_is_dead(drill: Drill) -> None:
    yard, fresh = drill.yard, drill.dumped("before", "fresh")
    drill.lay("newest", fresh)
    copy = rows_at(fresh.database_url)
    for serve in (lambda: open_to_serve(fresh).close(), lambda: yard.restore_raw(fresh)):
        with pytest.raises(UnavailableError, match="missing"):
            serve()
    shutil.copy(fresh.home / "keys" / "root-2.key", fresh.root_key)
    with pytest.raises(UnavailableError, match="does not open"):
        yard.restore_raw(fresh)
    shares = Unlocking(saying(*drill.retiring.shares[:2]), from_recovery=True)
    with pytest.raises(UnavailableError, match="shares of another vault or of an earlier root key"):
        yard.restore_raw(fresh, unlocking=shares)
    assert rows_at(fresh.database_url) == copy
    require_dead(drill, copy)
    # With every named key of today put into it, it opens, and no value in it does.
    graft(yard.settings, fresh, tables.root_key, tables.key)
    grafted = visit(fresh, yard.furnished)
    tokens = [token for _, found in drill.people.values() for token in found]
    assert [grafted.refused(token) for token in tokens] == ["tamper_detected"] * 6
    assert [grafted.search(PHONE, number) for number in drill.people] == [[]] * 3
    grafted.close()


def test_with_the_old_key_kept_aside_the_tombstones_hold_for_our_backup(drill: Drill) -> None:
    home = drill.home("fresh", old_key=True)
    restored = drill.yard.restore("before", home=home, **drill.outside())
    assert (restored.replayed, restored.gap, restored.undigested) == ({"erase": 1}, None, 0)
    require_gone(drill, rows_at(Settings.load(home).database_url))
    with drill.yard.opened(home) as counter:
        require_served(drill, counter, there=(KEPT, LATER), gone=(ERASED,))


def test_with_the_old_key_kept_aside_the_tombstones_hold_for_a_raw_dump(drill: Drill) -> None:
    fresh = drill.dumped("before", "fresh", old_key=True)
    drill.lay("newest", fresh)
    with pytest.raises(TamperDetectedError, match="piivault restore --raw"):
        open_to_serve(fresh)
    restored = drill.yard.restore_raw(fresh)
    assert (restored.replayed, restored.gap) == ({"erase": 1}, None)
    require_gone(drill, rows_at(fresh.database_url))
    open_to_serve(fresh).close()
    with drill.yard.opened(fresh.home) as counter:
        require_served(drill, counter, there=(KEPT, LATER), gone=(ERASED,))


def test_with_the_old_key_and_no_newer_tombstones_the_erased_would_be_back(drill: Drill) -> None:
    """The control of both: whoever keeps the old key and hides everything that came later has them all."""
    home = drill.home("fresh", old_key=True)
    assert not drill.yard.restore("before", home=home).newer
    with drill.yard.opened(home) as counter:
        require_served(drill, counter, there=(ERASED, KEPT, LATER), gone=())


def test_our_backup_of_after_has_everybody_but_the_erased(drill: Drill) -> None:
    home = drill.home("fresh")
    restored = drill.yard.restore("after", home=home, **drill.outside())
    assert (restored.replayed, restored.gap, restored.undigested) == ({}, None, 0)
    require_gone(drill, rows_at(Settings.load(home).database_url))
    with drill.yard.opened(home) as counter:
        require_served(drill, counter, there=(KEPT, LATER), gone=(ERASED,))
    open_to_serve(counter.furnished.settings).close()


def test_an_older_tombstone_file_than_the_backup_does_not_bring_the_erased_back(drill: Drill) -> None:
    """The rows know of the erasure, and the file gets its line again."""
    home = drill.home("fresh")
    restored = drill.yard.restore("after", home=home, **drill.outside(tombstones="before"))
    assert (restored.replayed, restored.gap) == ({}, None)
    with drill.yard.opened(home) as counter:
        require_served(drill, counter, there=(KEPT, LATER), gone=(ERASED,))
        stones = (home / "log" / "tombstones").read_bytes().splitlines()
        assert len(stones) == 1


def erase_one_more(drill: Drill) -> dict[str, Path]:
    """Erase another person after the last copy; return as options what falls short of that."""
    drill.keeper.erase(drill.people[LATER][0])
    drill.note("latest")
    return drill.outside(tombstones="after", checkpoint="latest")


def test_without_the_newest_tombstones_our_backup_needs_two_people(drill: Drill) -> None:
    short = erase_one_more(drill)
    yard, home = drill.yard, drill.home("fresh")
    with pytest.raises(ApprovalRequiredError, match="--accept-gap"):
        yard.restore("after", home=home, **short)
    for wrong in (("admin", "admin"), ("officer", "officer"), ("admin", "minji")):
        with pytest.raises(AuthenticationError):
            yard.restore("after", home=home, vouch=yard.vouchers(*wrong), **short)
    assert [path.name for path in home.iterdir()] == ["keys"]
    restored = yard.restore("after", home=home, vouch=yard.vouchers(), **short)
    with yard.opened(home) as counter:
        require_logged(drill, counter, restored.log_index)
        # What the gap costs, and what it does not: the first erasure stays.
        require_served(drill, counter, there=(KEPT, LATER), gone=(ERASED,))
    home = drill.home("again")
    restored = yard.restore("after", home=home, **drill.outside(tombstones="latest", checkpoint="latest"))
    assert (restored.replayed, restored.gap) == ({"erase": 1}, None)
    require_gone(drill, rows_at(Settings.load(home).database_url), number=LATER)
    with yard.opened(home) as counter:
        require_served(drill, counter, there=(KEPT,), gone=(ERASED, LATER))


def test_without_the_newest_tombstones_a_raw_dump_needs_two_people(drill: Drill) -> None:
    short = erase_one_more(drill)
    yard, fresh = drill.yard, drill.dumped("after", "fresh")
    copy = rows_at(fresh.database_url)
    with pytest.raises(ApprovalRequiredError, match="--accept-gap"):
        yard.restore_raw(fresh, **short)
    for wrong in (("admin", "admin"), ("officer", "officer"), ("admin", "minji")):
        with pytest.raises(AuthenticationError):
            yard.restore_raw(fresh, vouch=yard.vouchers(*wrong), **short)
    assert rows_at(fresh.database_url) == copy
    restored = yard.restore_raw(fresh, vouch=yard.vouchers(), **short)
    open_to_serve(fresh).close()
    with yard.opened(fresh.home) as counter:
        require_logged(drill, counter, restored.log_index)
        require_served(drill, counter, there=(KEPT, LATER), gone=(ERASED,))


def require_logged(drill: Drill, counter: Counter, index: int) -> None:
    """Return if the entry of a restore names who has accepted the gap, and which: all that came after."""
    entry = counter.entry(index)
    told, people = dict(entry.target), drill.yard.furnished.people
    assert entry.action == "vault:restore"
    assert (told["administrator"], told["officer"]) == (people["admin"], people["officer"])
    erased = drill.counter.log(int(told["gap.from"]))
    assert "subject:erase" in {logged.entry.action for logged in erased}
    assert int(told["gap.to"]) == drill.counter.next_index()
