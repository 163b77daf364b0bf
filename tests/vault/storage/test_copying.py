"""What is packed for COPY arrives as it was, whatever the shapes of the rows."""

from __future__ import annotations

import struct
from typing import Any

import psycopg
import pytest

from vault.storage.copying import copied

TYPES = ("int8", "bytea", "int2", "int4", "text")
FIRST: tuple[Any, ...] = (1, b"12345678", 3, 4, "member")

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "one": [FIRST],
    "of one shape": [FIRST, (-(1 << 63), b"abcdefgh", -1, 1 << 30, "person")],
    "of different lengths": [FIRST, (2, b"", 3, 4, "partner")],
    "with a column of NULL": [(1, None, 3, None, "a"), (2, None, 3, None, "b")],
    "with some NULL": [FIRST, (2, None, None, 4, None), (3, b"x", 3, 4, "\uac00")],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_arrive_as_they_were(postgres_url: str, rows: list[tuple[Any, ...]]) -> None:
    with psycopg.connect(postgres_url.replace("postgresql+psycopg", "postgresql")) as connection:
        connection.execute("CREATE TEMP TABLE t (a int8, b bytea, c int2, d int4, e text)")
        with connection.cursor().copy("COPY t FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(copied(TYPES, rows))
        stored = connection.execute("SELECT * FROM t").fetchall()
    assert sorted(stored) == sorted(rows)


def test_a_number_out_of_its_range_is_refused() -> None:
    with pytest.raises(struct.error):
        copied(("int2",), [(1 << 15,)])
