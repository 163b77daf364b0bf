"""Rows to fill tables with, made from the columns' types, so that a new column needs nothing here."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Column, Integer, LargeBinary, Table, Text

DATA_AND_LOG = frozenset(
    {
        *("counter", "data_key", "field", "id_block", "idempotency", "key", "subject", "token"),
        *("log_checkpoint", "log_entry", "log_note", "log_tree", "log_unit"),
    }
)
"""Tables of the first revision."""

ONE_ROW = frozenset({"counter", "log_tree"})


def sample_rows(table: Table) -> list[dict[str, Any]]:
    """Return rows for ``table`` that its constraints accept."""
    count = 1 if table.name in ONE_ROW else 3
    allowed = _allowed(table)
    return [
        {column.name: _value(column, number, allowed) for column in table.columns}
        for number in range(1, count + 1)
    ]


def _allowed(table: Table) -> dict[str, list[str]]:
    """Return the words that a CHECK allows, by column."""
    found = {}
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint):
            match = re.fullmatch(r"(\w+) IN \((.*)\)", str(constraint.sqltext))
            if match is not None:
                found[match[1]] = [word.strip("'") for word in match[2].split(",")]
    return found


def _value(column: Column[Any], number: int, allowed: dict[str, list[str]]) -> Any:
    if column.name in allowed:
        return allowed[column.name][number % len(allowed[column.name])]
    if column.foreign_keys:
        # The sample rows of the table referred to have the same ids.
        return _value(next(iter(column.foreign_keys)).column, number, allowed)
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, LargeBinary):
        return f"{column.name}/{number}".encode() + bytes(range(8))
    if isinstance(column.type, Text):
        return f"{column.name}-{number}-한글"
    if isinstance(column.type, Integer):
        return number
    raise AssertionError(f"no sample for {column.name} of {column.type}")
