"""A set that is cut, reordered or of another kind is refused before its rows could count."""

from __future__ import annotations

from typing import Any, cast

import pytest

from vault.backup.sets import RECORD_LIMIT, SetHead, SetReader, framed
from vault.domain.errors import InvalidInputError
from vault.storage.database import Connection
from vault.storage.snapshots import columns_of

HEAD = SetHead("values", "bkp_0", "00", "0006")
TABLE = ["table", "field", columns_of("field")]
END = ["end", "values", 1]


def take(records: list[list[Any]], data: bytes = b"", *, rows: int = 0) -> None:
    """Feed records, then ``data``, byte by byte to a reader of the table ``field``."""
    # No row of these is ever inserted.
    nowhere = cast("Connection", None)
    reader = SetReader(nowhere, HEAD, names=["field"], counts={"field": rows}, progress=lambda _: None)
    for byte in b"".join(map(framed, records)) + data:
        reader.feed(bytes([byte]))
    reader.finish()


def refused(*records: list[Any], data: bytes = b"", rows: int = 0) -> str:
    """Return the rule that is broken."""
    with pytest.raises(InvalidInputError) as caught:
        take(list(records), data, rows=rows)
    return caught.value.rule


def test_a_whole_set_is_taken_however_it_is_cut_into_pieces() -> None:
    take([HEAD.record(), TABLE, ["rows", []], ["end", "field", 0], END])


@pytest.mark.parametrize(
    ("records", "rule"),
    [
        ([], "malformed"),
        ([TABLE], "head"),
        ([SetHead("keys", "bkp_0", "00", "0006").record()], "head"),
        ([SetHead("values", "bkp_1", "00", "0006").record()], "head"),
        ([HEAD.record()], "malformed"),
        ([HEAD.record(), END], "tables"),
        ([HEAD.record(), ["table", "token", columns_of("token")]], "tables"),
        ([HEAD.record(), ["table", "field", ["id"]]], "tables"),
        ([HEAD.record(), TABLE, TABLE], "malformed"),
        ([HEAD.record(), TABLE, ["rows", [[1]]]], "malformed"),
        ([HEAD.record(), TABLE, ["rows", 1]], "malformed"),
        ([HEAD.record(), TABLE, ["end", "field", 1]], "rows"),
        ([HEAD.record(), TABLE, ["end", "field", 0]], "malformed"),
        ([HEAD.record(), TABLE, ["end", "field", 0], TABLE], "tables"),
        ([HEAD.record(), TABLE, ["end", "field", 0], END, END], "malformed"),
    ],
)
def test_refuses_another_order(records: list[list[Any]], rule: str) -> None:
    assert refused(*records) == rule


def test_refuses_fewer_rows_than_the_manifest_says() -> None:
    assert refused(HEAD.record(), TABLE, ["end", "field", 0], rows=1) == "rows"


@pytest.mark.parametrize(
    "data", [(RECORD_LIMIT + 1).to_bytes(4, "big"), b"\0\0\0\1\xc1", b"\0\0\0\1\1", b"\0\0\0\1\x90", b"\0\0"]
)
def test_refuses_what_is_no_record(data: bytes) -> None:
    assert refused(data=data) == "malformed"
