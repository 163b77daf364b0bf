"""Tombstones are outside the database before a checkpoint says so; whoever meddles with either is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from tests.conformance.counter import Counter
from tests.conformance.stones import SUBJECT, filed, leave, round_of, subjects
from vault.access.sealing import seal
from vault.audit.integrator import log_key
from vault.audit.outside import OutsideCheckpoint
from vault.audit.tombstones import head_path
from vault.domain.errors import TamperDetectedError
from vault.lifecycle import filing as module
from vault.lifecycle.tombstones import Act
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.tombstones import TombstoneRow, tombstones_from

COLUMN = tables.tombstone.c
STONE = TombstoneRow(0, 1, "lift", SUBJECT, 1_800_000_000_000_000, 1, b"\0" * 32)


def file_of(counter: Counter) -> Path:
    return counter.furnished.settings.checkpoint.with_name("tombstones")


def kept_size(counter: Counter) -> int:
    key = log_key(counter.vault.standings.current.keyring)
    kept = OutsideCheckpoint(counter.furnished.settings.checkpoint).read(key)
    return 0 if kept is None else kept.size


def tombstone_alarms(counter: Counter) -> list[str]:
    return [row for table, row in counter.alarms() if table == "tombstone"]


def elsewhere(counter: Counter, folder: Path) -> Vault:
    """Open the vault on another host: the same database, a folder of its own."""
    folder.mkdir()
    furnished = counter.furnished
    settings = replace(furnished.settings, checkpoint=folder / "checkpoint")
    vault = replace(furnished, settings=settings).reopen()
    counter._nodes.append(vault)
    return vault


def test_acts_are_in_the_file_with_their_entries_once_a_round_is_over(counter: Counter) -> None:
    acts: tuple[Act, ...] = ("restrict", "lift", "erase")
    indexes = [leave(counter, act, SUBJECT + at) for at, act in enumerate(acts)]
    assert round_of(counter.vault) == ""
    stones, through = filed(counter)
    assert [(one.seq, one.log_index, one.act) for one in stones] == [
        (0, indexes[0], "restrict"),
        (1, indexes[1], "lift"),
        (2, indexes[2], "erase"),
    ]
    assert subjects(stones) == [SUBJECT, SUBJECT + 1, SUBJECT + 2]
    assert through == kept_size(counter) == counter.next_index()


def test_file_says_how_far_it_is_complete_also_when_nobody_was_erased(counter: Counter) -> None:
    counter.token()
    round_of(counter.vault)
    assert filed(counter) == ([], counter.next_index())


def test_node_that_died_between_commit_and_filing_leaves_it_to_the_next_round(counter: Counter) -> None:
    round_of(counter.vault)
    leave(counter)
    assert filed(counter).tombstones == []
    node = counter.node()
    assert round_of(node) == ""
    assert subjects(filed(counter).tombstones) == [SUBJECT]


def test_no_checkpoint_covers_an_act_that_is_not_in_the_file(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines cannot be written, and the act is committed already."""

    def lost(*_: object, **__: object) -> None:
        raise OSError

    round_of(counter.vault)
    before = kept_size(counter)
    leave(counter)
    with monkeypatch.context() as power:
        power.setattr("vault.audit.tombstone_file.append_file", lost)
        assert round_of(counter.vault) == "unavailable"
    assert kept_size(counter) == before
    assert filed(counter).tombstones == []
    assert round_of(counter.vault) == ""
    assert kept_size(counter) == filed(counter).through > before


def test_file_that_cannot_be_written_is_trouble_and_keeps_the_checkpoint_back(counter: Counter) -> None:
    round_of(counter.vault)
    before = kept_size(counter)
    lock = file_of(counter).with_name("tombstones.lock")
    lock.unlink()
    lock.mkdir()
    leave(counter)
    assert round_of(counter.vault) == "unavailable"
    assert kept_size(counter) == before
    lock.rmdir()
    assert round_of(counter.vault) == ""
    assert subjects(filed(counter).tombstones) == [SUBJECT]


def test_processes_of_a_host_share_the_file(counter: Counter) -> None:
    node = counter.node()
    for at, vault in enumerate((counter.vault, node, node, counter.vault)):
        leave(counter, subject=SUBJECT + at)
        assert round_of(vault) == ""
    assert subjects(filed(counter).tombstones) == [SUBJECT + at for at in range(4)]


def test_every_host_has_the_whole_file(counter: Counter, tmp_path: Path) -> None:
    other = elsewhere(counter, tmp_path / "other")
    leave(counter, subject=SUBJECT)
    assert round_of(counter.vault) == ""
    leave(counter, subject=SUBJECT + 1)
    assert round_of(other) == ""
    assert round_of(counter.vault) == ""
    assert (tmp_path / "other" / "tombstones").read_bytes() == file_of(counter).read_bytes()


def test_more_than_a_page_is_filed_in_one_round(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for at in range(5):
        leave(counter, subject=SUBJECT + at)
    assert round_of(counter.vault) == ""
    assert len(filed(counter).tombstones) == 5


# Somebody who holds the database


def _delete_first(counter: Counter) -> None:
    counter.tamper(delete(tables.tombstone).where(COLUMN.seq == 0))


def _alter(counter: Counter) -> None:
    counter.tamper(update(tables.tombstone).where(COLUMN.seq == 0).values(subject_id=1))


def _make_a_lift_of_it(counter: Counter) -> None:
    counter.tamper(update(tables.tombstone).where(COLUMN.seq == 0).values(act="lift"))


def _exchange(counter: Counter) -> None:
    counter.tamper(
        update(tables.tombstone).where(COLUMN.seq == 0).values(seq=9),
        update(tables.tombstone).where(COLUMN.seq == 1).values(seq=0),
        update(tables.tombstone).where(COLUMN.seq == 9).values(seq=1),
    )


MEDDLING = [_delete_first, _alter, _make_a_lift_of_it, _exchange]


@pytest.mark.parametrize("meddle", MEDDLING)
def test_row_meddled_with_before_it_is_filed_stops_the_checkpoint_and_alarms(
    counter: Counter, meddle: Callable[[Counter], None]
) -> None:
    round_of(counter.vault)
    before = kept_size(counter)
    leave(counter, subject=SUBJECT)
    leave(counter, subject=SUBJECT + 1)
    meddle(counter)
    assert round_of(counter.vault) == "tamper_detected"
    assert round_of(counter.vault) == "tamper_detected"
    assert kept_size(counter) == before
    assert filed(counter).tombstones == []
    assert tombstone_alarms(counter) == ["0"]


@pytest.mark.parametrize("meddle", MEDDLING)
def test_row_meddled_with_after_it_was_filed_is_found_within_minutes(
    counter: Counter, meddle: Callable[[Counter], None]
) -> None:
    leave(counter, subject=SUBJECT)
    leave(counter, subject=SUBJECT + 1)
    assert round_of(counter.vault) == ""
    meddle(counter)
    counter.furnished.clock.pass_time(minutes=11)
    assert round_of(counter.vault) == "tamper_detected"
    assert "0" in tombstone_alarms(counter)
    assert subjects(filed(counter).tombstones) == [SUBJECT, SUBJECT + 1]


def test_planted_row_is_not_filed(counter: Counter) -> None:
    round_of(counter.vault)
    counter.tamper(insert(tables.tombstone).values(STONE.columns()))
    counter.token()
    assert round_of(counter.vault) == "tamper_detected"
    assert filed(counter).tombstones == []
    assert tombstone_alarms(counter) == ["0"]


def test_row_with_a_genuine_code_that_is_not_the_one_filed_is_found(counter: Counter) -> None:
    """Whoever holds the authority key writes history anew; the file outside has the other one."""
    index = leave(counter)
    assert round_of(counter.vault) == ""
    with counter.vault.changes.database.reading() as connection:
        (row,) = tombstones_from(connection, 0, 10)
    forged = seal(counter.vault.standings.current.keyring.authority, replace(row, subject_id=1))
    counter.tamper(update(tables.tombstone).values(forged.columns()))
    assert round_of(counter.node()) == "tamper_detected"
    assert filed(counter).tombstones[0].log_index == index


def test_newest_row_deleted_after_it_was_filed_is_noticed_at_once(counter: Counter) -> None:
    leave(counter, subject=SUBJECT)
    leave(counter, subject=SUBJECT + 1)
    assert round_of(counter.vault) == ""
    counter.tamper(delete(tables.tombstone).where(COLUMN.seq == 1))
    counter.token()
    before = kept_size(counter)
    assert round_of(counter.vault) == "tamper_detected"
    assert kept_size(counter) == before
    assert tombstone_alarms(counter) == ["1"]


def test_database_that_went_back_in_time_is_noticed_by_the_file_alone(counter: Counter) -> None:
    """An older state is put back, and whoever did so also put back the checkpoint of then."""
    round_of(counter.vault)
    checkpoint = counter.furnished.settings.checkpoint
    older = checkpoint.read_bytes()
    leave(counter)
    assert round_of(counter.vault) == ""
    counter.tamper(delete(tables.tombstone))
    checkpoint.write_bytes(older)
    counter.token()
    assert round_of(counter.node()) == "tamper_detected"
    assert checkpoint.read_bytes() == older


def test_log_that_is_shorter_than_the_checkpoint_is_not_filed_through_it(counter: Counter) -> None:
    vault = counter.vault
    keyring = vault.standings.current.keyring
    with pytest.raises(TamperDetectedError, match="older"):
        vault.filing.file(keyring, counter.next_index() + 1, vault.now_us())
    vault.filing.file(keyring, counter.next_index(), vault.now_us())


# Somebody who holds the host


def test_deleted_file_is_written_anew_and_that_is_an_alarm(counter: Counter) -> None:
    for at in range(3):
        leave(counter, subject=SUBJECT + at)
    round_of(counter.vault)
    whole = file_of(counter).read_bytes()
    file_of(counter).unlink()
    assert round_of(counter.vault) == ""
    assert file_of(counter).read_bytes() == whole
    assert ("tombstone_file", "3") in counter.alarms()


def test_file_that_was_cut_is_made_whole_and_that_is_an_alarm(counter: Counter) -> None:
    for at in range(3):
        leave(counter, subject=SUBJECT + at)
    round_of(counter.vault)
    whole = file_of(counter).read_bytes()
    file_of(counter).write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    assert round_of(counter.vault) == ""
    assert file_of(counter).read_bytes() == whole
    assert ("tombstone_file", "1") in counter.alarms()


def test_older_file_put_back_with_its_head_is_brought_up_again(counter: Counter) -> None:
    leave(counter)
    round_of(counter.vault)
    head = file_of(counter).with_name("tombstones.head")
    older = file_of(counter).read_bytes(), head.read_bytes()
    leave(counter, subject=SUBJECT + 1)
    round_of(counter.vault)
    file_of(counter).write_bytes(older[0])
    head.write_bytes(older[1])
    # A reader with the last checkpoint in hand sees that it falls short.
    assert filed(counter).through < kept_size(counter)
    assert round_of(counter.vault) == ""
    assert subjects(filed(counter).tombstones) == [SUBJECT, SUBJECT + 1]


def test_changed_line_is_trouble_until_an_operator_has_looked(counter: Counter) -> None:
    leave(counter)
    round_of(counter.vault)
    genuine = file_of(counter).read_bytes()
    changed = genuine.replace(b" erase ", b" lift ")
    file_of(counter).write_bytes(changed)
    counter.furnished.clock.pass_time(minutes=11)
    counter.token()
    before = kept_size(counter)
    assert round_of(counter.vault) == "tamper_detected"
    assert kept_size(counter) == before
    assert file_of(counter).read_bytes() == changed
    assert tombstone_alarms(counter) == ["0"]
    # The table has all of them: without the file it is written anew.
    file_of(counter).unlink()
    assert round_of(counter.vault) == ""
    assert file_of(counter).read_bytes() == genuine


def test_rows_of_two_logs_are_written_anew_when_the_file_is_lost(counter: Counter) -> None:
    leave(counter)
    leave(counter, subject=SUBJECT + 1)
    assert round_of(counter.vault) == ""
    keyring = counter.vault.standings.current.keyring
    with counter.vault.changes.database.reading() as connection:
        first, second = tombstones_from(connection, 0, 10)
    # As after a restore: what came first is of a log that had grown longer.
    above = seal(keyring.authority, replace(first, log_index=second.log_index + 1_000))
    counter.tamper(update(tables.tombstone).where(COLUMN.seq == 0).values(above.columns()))
    file_of(counter).unlink()
    head_path(file_of(counter)).unlink()
    assert round_of(counter.vault) == ""
    assert subjects(filed(counter).tombstones) == [SUBJECT, SUBJECT + 1]


def test_file_of_another_vault_is_refused(counter: Counter) -> None:
    leave(counter)
    round_of(counter.vault)
    head = file_of(counter).with_name("tombstones.head")
    head.write_text(head.read_text().replace("piivault/", "piivault/f"))
    assert round_of(counter.vault) == "tamper_detected"
    assert tombstone_alarms(counter) == ["head"]
