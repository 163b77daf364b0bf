"""A set of tables as one stream of records. Format: docs/formats/backup.md section 3.

A record is a MessagePack value after its length. Written and read a page at a
time, so that a vault of any size takes the memory of one page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault.domain.errors import InvalidInputError
from vault.storage import snapshots
from vault.storage.database import Connection

LENGTH: Final = 4
RECORD_LIMIT: Final = 1 << 30

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Progress = Callable[[int], None]
"""Told how many rows have been copied since the last call."""


@dataclass(frozen=True, slots=True)
class SetHead:
    """What a set begins with: which backup of which vault it is half of."""

    name: str
    """``values`` or ``keys``."""
    backup: str
    vault: str
    schema: str

    def record(self) -> list[Any]:
        """Return it as a record."""
        return ["set", self.name, self.backup, self.vault, self.schema]


def write_set(
    connection: Connection, head: SetHead, names: Sequence[str], counts: dict[str, int], *, progress: Progress
) -> Iterator[bytes]:
    """Yield the set of the tables ``names`` as ``connection`` sees them; count their rows in ``counts``."""
    yield framed(head.record())
    for name in names:
        yield framed(["table", name, snapshots.columns_of(name)])
        counts[name] = 0
        for page in snapshots.read_pages(connection, name):
            yield framed(["rows", page])
            counts[name] += len(page)
            progress(len(page))
        yield framed(["end", name, counts[name]])
    yield framed(["end", head.name, len(names)])


def framed(record: list[Any]) -> bytes:
    """Return a record with its length before it."""
    data = _encode(record)
    return len(data).to_bytes(LENGTH, "big") + data


class SetReader:
    """Takes a set piece by piece and inserts its rows; :meth:`finish` says that it was whole.

    Raises InvalidInputError (``head``, ``malformed``, ``tables``, ``rows``) for
    what is no such set, RolledBackError for rows that the schema refuses.
    """

    def __init__(
        self,
        connection: Connection,
        head: SetHead,
        *,
        names: Sequence[str],
        counts: dict[str, int],
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._head = head
        self._waiting = list(names)
        self._counts = counts
        self._progress = progress
        self._buffer = bytearray()
        self._open = ""
        """The table whose rows are coming."""
        self._rows = 0
        self._begun = self._ended = False

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= LENGTH:
            length = int.from_bytes(self._buffer[start : start + LENGTH], "big")
            if length > RECORD_LIMIT:
                raise self._refused("malformed")
            if len(self._buffer) - start < LENGTH + length:
                break
            self._take(bytes(self._buffer[start + LENGTH : start + LENGTH + length]))
            start += LENGTH + length
        del self._buffer[:start]

    def finish(self) -> None:
        """Return if the set came to its end."""
        if not self._ended or self._buffer:
            raise self._refused("malformed")

    def _take(self, data: bytes) -> None:
        try:
            record = _decode(data)
        except msgspec.MsgspecError:
            raise self._refused("malformed") from None
        if not isinstance(record, list) or not record or self._ended:
            raise self._refused("malformed")
        if not self._begun:
            if record != self._head.record():
                raise self._refused("head")
            self._begun = True
        elif self._open:
            self._take_rows(record)
        else:
            self._take_table(record)

    def _take_table(self, record: list[Any]) -> None:
        if record == ["end", self._head.name, len(self._counts)] and not self._waiting:
            self._ended = True
            return
        expected = self._waiting.pop(0) if self._waiting else ""
        if not expected or record != ["table", expected, snapshots.columns_of(expected)]:
            raise self._refused("tables")
        self._open, self._rows = expected, 0

    def _take_rows(self, record: list[Any]) -> None:
        name = self._open
        if record[0] == "end":
            if record != ["end", name, self._rows] or self._counts.get(name) != self._rows:
                raise self._refused("rows")
            self._open = ""
            return
        width = len(snapshots.columns_of(name))
        match record:
            case ["rows", list() as rows] if all(isinstance(row, list) and len(row) == width for row in rows):
                snapshots.insert_page(self._connection, name, rows)
                self._rows += len(rows)
                self._progress(len(rows))
            case _:
                raise self._refused("malformed")

    def _refused(self, rule: str) -> InvalidInputError:
        name = self._head.name
        return InvalidInputError(f"the set of {name} is not that of this backup", field=name, rule=rule)
