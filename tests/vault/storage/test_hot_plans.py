"""PostgreSQL finds what the lane asks for by an index, also in tables that it knows nothing about yet."""

from __future__ import annotations

import pytest

from vault.storage import hot_postgresql as lane
from vault.storage.database import Database

ROWS = 120_000
"""Enough that the planner would start a helper process for a table it has not analysed."""

FILL = (
    "ALTER TABLE subject SET (autovacuum_enabled = off)",
    "ALTER TABLE data_key SET (autovacuum_enabled = off)",
    "ALTER TABLE token SET (autovacuum_enabled = off)",
    f"""INSERT INTO subject SELECT n, '\\x01', 'member', 0, int8send(n), int8send(n), NULL, 0, 1
        FROM generate_series(1, {ROWS}) AS n""",
    f"""INSERT INTO data_key SELECT n, 1, 1, decode(repeat('00', 65), 'hex')
        FROM generate_series(1, {ROWS}) AS n""",
    f"""INSERT INTO token SELECT n, '\\x01', n, 1, 0, 7, 1, int8send(n), decode(repeat('00', 93), 'hex')
        FROM generate_series(1, {ROWS}) AS n""",
)
SHORT = {
    "_TOKENS": "array[500, 700]",
    "_SUBJECT_TOKENS": "array[500, 700], array[7], 10",
    "_AUDIENCE_TOKENS": "array[500, 700], array[1, 1], array[2, 2]",
    "_KEYS": "array[500, 700]",
    "_MATCHES": "array[int8send(500), int8send(700)], 10",
    "_REFERENCES": "array[int8send(500)]",
    "_REPLAYS": "array[int8send(500)]",
}
SLOW = ("Gather", "Seq Scan", "Hash Join", "Merge Join")


@pytest.fixture
def plans(log_postgres: Database) -> dict[str, str]:
    """The plan of each statement of the lane, in its session, over tables never analysed."""
    connection = log_postgres.hold()
    connection.autocommit = True
    found = {}
    with connection, connection.cursor() as cursor:
        for statement in (*FILL, *lane._SESSION.split(";")):
            cursor.execute(statement)
        for name, values in SHORT.items():
            cursor.execute(f"PREPARE {name} AS {getattr(lane, name)}")
            cursor.execute(f"EXPLAIN EXECUTE {name} ({values})")
            found[name] = "\n".join(row[0] for row in cursor)
    return found


def test_every_read_goes_by_an_index_and_starts_no_process(plans: dict[str, str]) -> None:
    assert {name: [word for word in SLOW if word in plan] for name, plan in plans.items()} == {
        name: [] for name in SHORT
    }
