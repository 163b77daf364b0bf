"""Row ids: dense, of their subject's partition, never given out twice."""

from __future__ import annotations

from pathlib import Path

from tests.support.schema import migrate
from vault.storage.database import Database
from vault.storage.hot_sqlite import SqliteHotConnection
from vault.tokens import rowids
from vault.tokens.rowids import BLOCK, PARTITIONS, SEQUENCE_BITS, RowIds


def _connection(tmp_path: Path) -> tuple[Database, SqliteHotConnection]:
    url = f"sqlite:///{tmp_path / 'vault.db'}"
    migrate(url)
    database = Database.open(url)
    return database, SqliteHotConnection(database)


def test_new_subjects_go_round_the_partitions_and_tokens_stay_with_them(tmp_path: Path) -> None:
    database, connection = _connection(tmp_path)
    ids = RowIds()
    subjects = [ids.subject(connection) for _ in range(2 * PARTITIONS)]
    assert sorted(subject >> SEQUENCE_BITS for subject in subjects) == sorted([*range(PARTITIONS)] * 2)
    for subject, token in zip(subjects, ids.tokens(subjects, connection), strict=True):
        assert token >> SEQUENCE_BITS == subject >> SEQUENCE_BITS
        assert token not in subjects
        assert 0 < token < 1 << 63
    connection.close()
    database.close()


def test_blocks_of_two_processes_do_not_overlap(tmp_path: Path) -> None:
    database, connection = _connection(tmp_path)
    one, other = RowIds(), RowIds()
    subject = 3 << SEQUENCE_BITS
    taken = [ids.tokens([subject], connection)[0] for _ in range(BLOCK + 5) for ids in (one, other)]
    assert len(set(taken)) == len(taken)
    assert max(taken) & (1 << rowids.SEQUENCE_BITS) - 1 <= 4 * BLOCK
    connection.close()
    database.close()
