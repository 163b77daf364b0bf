"""Only a log that verifies is signed; whatever was changed, taken away or put back is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from tests.vault.audit.logs import Log
from vault.audit import integrator as module
from vault.audit.folder import write_export
from vault.audit.integrator import Integrator, Progress, empty_tree
from vault.audit.merkle import Frontier, leaf_hash, roots_at
from vault.audit.note import Checkpoint, open_checkpoint, parse_vkey
from vault.audit.outside import OutsideCheckpoint
from vault.audit.verify import verify_export
from vault.domain.errors import TamperDetectedError, UnavailableError
from vault.storage import log as rows
from vault.storage import tables

ENTRY, UNIT, TREE = tables.log_entry, tables.log_unit, tables.log_tree
CHECKPOINT, COUNTER = tables.log_checkpoint, tables.counter


def progress_of(log: Log) -> Progress:
    progress = log.integrate()
    assert progress is not None
    return progress


def signed(log: Log, note: str) -> Checkpoint:
    return open_checkpoint(note, parse_vkey(log.vkey()))


def refuses(log: Log) -> TamperDetectedError:
    """Check that a round refuses and signs nothing, again and again; return the error."""
    before, kept = log.checkpoints(), log.kept()
    with pytest.raises(TamperDetectedError):
        log.integrate()
    with pytest.raises(TamperDetectedError) as caught:
        log.integrate()
    assert log.checkpoints() == before
    assert log.kept() == kept
    return caught.value


def test_empty_log_is_not_signed(audit_log: Log) -> None:
    assert progress_of(audit_log) == Progress(0, None, behind=False)
    assert audit_log.kept() is None


def test_checkpoint_signs_the_root_over_every_entry(audit_log: Log) -> None:
    for size in (1, 4, 2):
        audit_log.append(size)
    progress = progress_of(audit_log)
    assert progress.size == 7
    assert progress.note is not None
    checkpoint = signed(audit_log, progress.note)
    assert checkpoint.root == roots_at(map(leaf_hash, audit_log.bodies()), [7])[7]
    assert checkpoint.origin == audit_log.keyring.signer.name
    assert audit_log.kept() == checkpoint


def test_root_is_that_of_the_whole_log_however_it_was_built(audit_log: Log) -> None:
    for _ in range(12):
        audit_log.append(3)
        audit_log.integrate()
    leaves = list(map(leaf_hash, audit_log.bodies()))
    roots = roots_at(leaves, range(3, 37, 3))
    found = [signed(audit_log, note) for note in audit_log.checkpoints()]
    assert {checkpoint.size: checkpoint.root for checkpoint in found} == roots


def test_nothing_new_gives_the_checkpoint_there_is(audit_log: Log) -> None:
    audit_log.append()
    first = progress_of(audit_log)
    assert progress_of(audit_log) == first
    assert len(audit_log.checkpoints()) == 1


def test_backlog_is_worked_off_in_rounds(audit_log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNITS", 4)
    monkeypatch.setattr(module, "ENTRIES", 5)
    for _ in range(10):
        audit_log.append(2)
    rounds = []
    behind = True
    while behind:
        progress = progress_of(audit_log)
        rounds.append(progress.size)
        behind = progress.behind
    assert rounds[-1] == 20
    assert len(rounds) > 2
    assert rounds == sorted(set(rounds))


def test_unit_larger_than_a_round_is_taken_whole(audit_log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES", 2)
    audit_log.append(9)
    assert progress_of(audit_log).size == 9


def test_two_writers_are_followed_side_by_side(audit_log: Log) -> None:
    other = audit_log.new_journal()
    for _ in range(3):
        audit_log.append(2)
        audit_log.append(1, other)
        audit_log.integrate()
    assert progress_of(audit_log).size == 9


def test_round_that_another_node_overtook_leaves_its_work_alone(audit_log: Log) -> None:
    """The other integrates between this one's look and its lock."""
    audit_log.append(3)

    class Overtaken(Integrator):
        def _store(self, *given: Any, **named: Any) -> bool:
            assert audit_log.integrate() is not None
            return super()._store(*given, **named)

    overtaken = Overtaken(audit_log.database, audit_log.outside)
    assert overtaken.integrate(audit_log.keyring, 1) is None
    assert len(audit_log.checkpoints()) == 1
    audit_log.append()
    assert progress_of(audit_log).size == 4


def test_nodes_that_integrate_at_once_sign_one_log(audit_log: Log, tmp_path: Path) -> None:
    import threading

    outsides = [audit_log.outside, audit_log.outside, OutsideCheckpoint(tmp_path / "of another host")]
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(outside: OutsideCheckpoint) -> None:
        while not stop.is_set():
            try:
                audit_log.integrate(outside)
            except UnavailableError:
                continue  # SQLite lets one write at a time, and not for ever
            except BaseException as error:  # noqa: BLE001 - handed to the test
                failures.append(error)
                return

    threads = [threading.Thread(target=work, args=(outside,)) for outside in outsides]
    for thread in threads:
        thread.start()
    for _ in range(30):
        audit_log.append(2)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert progress_of(audit_log).size == 60
    sizes = [signed(audit_log, note).size for note in audit_log.checkpoints()]
    assert sizes == sorted(set(sizes))


def test_export_of_the_log_verifies_with_the_public_key_alone(audit_log: Log, tmp_path: Path) -> None:
    for size in (1, 300, 2):
        audit_log.append(size)
        audit_log.integrate()
    folder = tmp_path / "export"
    write_export(folder, audit_log.bodies(), audit_log.checkpoints())
    report = verify_export(folder, audit_log.vkey(), known_checkpoints=audit_log.checkpoints())
    assert (report.size, report.entries, report.findings) == (303, 303, ())


def edit_body(log: Log) -> None:
    log.tamper(update(ENTRY).where(ENTRY.c.idx == 3).values(body=log.bodies()[4]))


def edit_body_and_leaf(log: Log) -> None:
    body = log.bodies()[4]
    log.tamper(update(ENTRY).where(ENTRY.c.idx == 3).values(body=body, leaf=leaf_hash(body)))


def edit_leaf(log: Log) -> None:
    log.tamper(update(ENTRY).where(ENTRY.c.idx == 3).values(leaf=bytes(32)))


def foreign_code(log: Log) -> None:
    log.tamper(update(UNIT).where(UNIT.c.first == 2).values(mac=bytes(32)))


def foreign_writer(log: Log) -> None:
    log.tamper(update(UNIT).where(UNIT.c.first == 2).values(writer=b"w" * 16, writer_seq=0))


def writer_of_no_length(log: Log) -> None:
    log.tamper(update(UNIT).where(UNIT.c.first == 2).values(writer=b"w", writer_seq=0))


def swap_codes(log: Log) -> None:
    first, second = (row["mac"] for row in log.unit_rows()[1:3])
    log.tamper(
        update(UNIT).where(UNIT.c.first == 2).values(mac=second),
        update(UNIT).where(UNIT.c.first == 4).values(mac=first),
    )


def swap_units(log: Log) -> None:
    """Exchange the entries of two units of one size."""
    for first, second in ((2, 4), (3, 5)):
        log.tamper(
            update(ENTRY).where(ENTRY.c.idx == first).values(idx=1_000),
            update(ENTRY).where(ENTRY.c.idx == second).values(idx=first),
            update(ENTRY).where(ENTRY.c.idx == 1_000).values(idx=second),
        )


def swap_units_wholly(log: Log) -> None:
    """Exchange two units with everything that belongs to them."""
    swap_units(log)
    log.tamper(
        update(UNIT).where(UNIT.c.first == 2).values(first=1_000),
        update(UNIT).where(UNIT.c.first == 4).values(first=2),
        update(UNIT).where(UNIT.c.first == 1_000).values(first=4),
    )


def swap_entries_of_a_unit(log: Log) -> None:
    log.tamper(
        update(ENTRY).where(ENTRY.c.idx == 2).values(idx=1_000),
        update(ENTRY).where(ENTRY.c.idx == 3).values(idx=2),
        update(ENTRY).where(ENTRY.c.idx == 1_000).values(idx=3),
    )


def drop_entry(log: Log) -> None:
    log.drop_entry(3)


def drop_unit(log: Log) -> None:
    log.drop_unit(2)


def drop_unit_and_close_the_gap(log: Log) -> None:
    log.drop_unit(2, close_gap=True)


def drop_newest_unit(log: Log) -> None:
    log.drop_unit(4)


def drop_every_unit(log: Log) -> None:
    log.tamper(delete(UNIT), delete(ENTRY))


def shrink_unit(log: Log) -> None:
    log.tamper(update(UNIT).where(UNIT.c.first == 2).values(size=1))


def empty_unit(log: Log) -> None:
    log.tamper(update(UNIT).where(UNIT.c.first == 2).values(size=0))


def set_counter_back(log: Log) -> None:
    log.tamper(update(COUNTER).values(next_index=4))


def set_counter_ahead(log: Log) -> None:
    log.tamper(update(COUNTER).values(next_index=9))


TAMPERINGS = (
    edit_body,
    edit_body_and_leaf,
    edit_leaf,
    foreign_code,
    foreign_writer,
    writer_of_no_length,
    swap_codes,
    swap_units,
    swap_units_wholly,
    swap_entries_of_a_unit,
    drop_entry,
    drop_unit,
    drop_unit_and_close_the_gap,
    drop_newest_unit,
    drop_every_unit,
    shrink_unit,
    empty_unit,
    set_counter_back,
    set_counter_ahead,
)


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_before_the_first_checkpoint_is_noticed(
    embedded_log: Log, tampering: Callable[[Log], None]
) -> None:
    for _ in range(3):
        embedded_log.append(2)
    tampering(embedded_log)
    refuses(embedded_log)
    assert embedded_log.checkpoints() == []


@pytest.mark.parametrize("tampering", [edit_body, drop_entry, drop_unit, foreign_code])
def test_tampering_after_a_checkpoint_is_noticed(audit_log: Log, tampering: Callable[[Log], None]) -> None:
    for _ in range(2):
        audit_log.append(1)
        audit_log.integrate()
    audit_log.append(2)
    audit_log.append(2)
    tampering(audit_log)
    assert "log" in str(refuses(audit_log))


def test_unit_of_another_vault_is_refused(embedded_log: Log, tmp_path: Path) -> None:
    embedded_log.append(2)
    stranger = Log(embedded_log.database, tmp_path / "other")
    stranger.append(2)
    refuses(embedded_log)


def test_error_names_the_index_at_fault(embedded_log: Log) -> None:
    for _ in range(3):
        embedded_log.append(2)
    edit_body(embedded_log)
    assert refuses(embedded_log).reference == "3"


def integrated(log: Log) -> None:
    for _ in range(3):
        log.append(2)
        log.integrate()


def forge_frontier(log: Log) -> None:
    forged = Frontier()
    forged.extend(bytes([at]) * 32 for at in range(6))
    log.tamper(update(TREE).values(frontier=forged.to_bytes()))


def garble_frontier(log: Log) -> None:
    log.tamper(update(TREE).values(frontier=b"\x00"))


def forge_writers(log: Log) -> None:
    with log.database.reading() as connection:
        writers = rows.read_tree(connection).writers
    log.tamper(update(TREE).values(writers=writers[:-1] + b"\x09"))


def garble_writers(log: Log) -> None:
    log.tamper(update(TREE).values(writers=b""))


def empty_the_tree(log: Log) -> None:
    log.tamper(update(TREE).values(frontier=empty_tree().frontier, writers=empty_tree().writers))


def drop_newest_checkpoint(log: Log) -> None:
    log.tamper(delete(CHECKPOINT).where(CHECKPOINT.c.size == 6))


def drop_every_checkpoint(log: Log) -> None:
    log.tamper(delete(CHECKPOINT))


def forge_checkpoint(log: Log) -> None:
    log.tamper(update(CHECKPOINT).where(CHECKPOINT.c.size == 6).values(note=log.checkpoints()[0]))


def garble_checkpoint(log: Log) -> None:
    log.tamper(update(CHECKPOINT).where(CHECKPOINT.c.size == 6).values(note="nonsense"))


@pytest.mark.parametrize(
    "tampering",
    [
        forge_frontier,
        garble_frontier,
        forge_writers,
        garble_writers,
        empty_the_tree,
        drop_newest_checkpoint,
        drop_every_checkpoint,
        forge_checkpoint,
        garble_checkpoint,
        set_counter_back,
    ],
)
@pytest.mark.parametrize("more", [False, True], ids=["nothing-new", "more-to-do"])
def test_tampering_with_what_was_built_is_noticed(
    embedded_log: Log, tampering: Callable[[Log], None], more: bool
) -> None:
    integrated(embedded_log)
    if more:
        embedded_log.append(2)
    tampering(embedded_log)
    refuses(embedded_log)


def test_hidden_unit_is_noticed_though_the_tree_was_taught_to_expect_it(embedded_log: Log) -> None:
    """Whoever takes a unit away has to change the writers' counters, which have a code of their own."""
    integrated(embedded_log)
    embedded_log.append(2)
    embedded_log.append(2)
    embedded_log.drop_unit(6, close_gap=True)
    assert "missing" in str(refuses(embedded_log))


def test_older_copy_of_the_database_is_refused(audit_log: Log) -> None:
    integrated(audit_log)
    old = audit_log.copy_rows()
    audit_log.append(2)
    audit_log.integrate()
    audit_log.put_back(old)
    assert "less of the log" in str(refuses(audit_log))


def test_older_copy_that_has_grown_again_is_refused(embedded_log: Log) -> None:
    integrated(embedded_log)
    old = embedded_log.copy_rows()
    embedded_log.append(3)
    embedded_log.integrate()
    embedded_log.put_back(old)
    for _ in range(4):
        embedded_log.append(1, embedded_log.new_journal())
    refuses(embedded_log)


def test_another_log_of_the_same_size_is_refused(embedded_log: Log, tmp_path: Path) -> None:
    """An old copy that grew to the very size seen before, integrated where nobody kept a checkpoint."""
    integrated(embedded_log)
    old = embedded_log.copy_rows()
    embedded_log.append(2)
    embedded_log.integrate()
    embedded_log.put_back(old)
    embedded_log.append(2, embedded_log.new_journal())
    assert embedded_log.integrate(OutsideCheckpoint(tmp_path / "fresh")) is not None
    assert "another log" in str(refuses(embedded_log))


def test_checkpoint_kept_outside_that_does_not_verify_stops_it(embedded_log: Log) -> None:
    integrated(embedded_log)
    embedded_log.path.write_text("nonsense")
    embedded_log.append()
    before = embedded_log.checkpoints()
    with pytest.raises(TamperDetectedError):
        embedded_log.integrate()
    assert embedded_log.checkpoints() == before


def test_stored_checkpoint_that_was_forged_where_one_was_kept_is_refused(embedded_log: Log) -> None:
    embedded_log.append(2)
    embedded_log.integrate()
    embedded_log.append(2)
    elsewhere = OutsideCheckpoint(embedded_log.path.with_name("elsewhere"))
    embedded_log.integrate(elsewhere)
    embedded_log.tamper(update(CHECKPOINT).where(CHECKPOINT.c.size == 2).values(note="nonsense"))
    assert "another log" in str(refuses(embedded_log))


def test_checkpoint_that_could_not_be_kept_outside_is_kept_in_a_later_round(embedded_log: Log) -> None:
    embedded_log.append(2)
    nowhere = OutsideCheckpoint(embedded_log.path / "no" / "folder")
    with pytest.raises(UnavailableError):
        embedded_log.integrate(nowhere)
    assert embedded_log.kept() is None
    embedded_log.integrate()
    kept = embedded_log.kept()
    assert kept is not None
    assert kept.size == 2


def test_what_was_put_right_is_signed_again(embedded_log: Log) -> None:
    for _ in range(3):
        embedded_log.append(2)
    genuine = embedded_log.bodies()[3]
    edit_body(embedded_log)
    refuses(embedded_log)
    embedded_log.tamper(update(ENTRY).where(ENTRY.c.idx == 3).values(body=genuine))
    assert progress_of(embedded_log).size == 6
