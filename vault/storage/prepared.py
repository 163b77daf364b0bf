"""Statements of the hot path, run through libpq itself: prepared, binary both ways, blocking.

A cursor of the driver spends about as long in Python on a statement as the
server on running it, and some more on every eight kilobytes of the answer. The
lane's thread has nothing else to do meanwhile. Errors are the driver's own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

_INT4: Final = struct.Struct(">i").pack
_ARRAY: Final = struct.Struct(">iiIii").pack
_INT8_OID: Final = 20
_BYTEA_OID: Final = 17
_INT8_SIZE: Final = 8

_GOOD: Final = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})


class Statements:
    """Runs statements on one connection. Belongs to the thread that has the connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._libpq = connection.pgconn
        self._encoding = connection.info.encoding
        self._rows = Transformer(connection)

    def run(self, statement: str, values: Sequence[bytes] = ()) -> list[Any]:
        """Run ``statement``, whose values are $1, $2, ... in binary form; return its rows as tuples. HOT.

        Raises psycopg.Error.
        """
        result = self._checked(self._execute(statement, values, [Format.BINARY] * len(values)))
        self._rows.set_pgresult(result, format=Format.BINARY)
        return self._rows.load_rows(0, result.ntuples, tuple)

    def command(self, statement: str) -> str:
        """Run a statement without values; return what the server says it did. Raises psycopg.Error."""
        status = self._checked(self._libpq.exec_(statement.encode())).command_status
        return "" if status is None else status.decode()

    def _execute(self, statement: str, values: Sequence[bytes], formats: list[Format]) -> PGresult:
        return self._libpq.exec_params(statement.encode(), values, None, formats, Format.BINARY)

    def _checked(self, result: PGresult) -> PGresult:
        if result.status not in _GOOD:
            raise error_from_result(result, encoding=self._encoding)
        return result


class Prepared(Statements):
    """The same, each statement prepared when it is first run: for a connection that is held."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self._names: dict[str, bytes] = {}

    def _execute(self, statement: str, values: Sequence[bytes], formats: list[Format]) -> PGresult:
        name = self._names.get(statement)
        if name is None:
            name = b"hot_%d" % len(self._names)
            self._checked(self._libpq.prepare(name, statement.encode()))
            self._names[statement] = name
        return self._libpq.exec_prepared(name, values, formats, Format.BINARY)


def int8(value: int) -> bytes:
    """Return the binary form of an int8. Raises OverflowError."""
    return int.to_bytes(value, 8, "big", signed=True)


def int4(value: int) -> bytes:
    """Return the binary form of an int4. Raises OverflowError."""
    return int.to_bytes(value, 4, "big", signed=True)


def int8_array(values: Sequence[int]) -> bytes:
    """Return the binary form of an int8[]. HOT."""
    elements = [_INT8_SIZE] * (2 * len(values))
    elements[1::2] = values
    return _head(_INT8_OID, len(values)) + struct.pack(">" + "iq" * len(values), *elements)


def bytea_array(values: Sequence[bytes]) -> bytes:
    """Return the binary form of a bytea[]."""
    parts = [part for value in values for part in (_INT4(len(value)), value)]
    return b"".join([_head(_BYTEA_OID, len(values)), *parts])


def _head(oid: int, count: int) -> bytes:
    """Return the head of an array of one dimension, or of none when it is empty."""
    return _ARRAY(1, 0, oid, count, 1) if count else struct.pack(">iiI", 0, 0, oid)
