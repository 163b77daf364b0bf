"""CSV files of values and of tokens: read row by row, written for their owner alone.

A row is counted as a spreadsheet counts: the header is row 1. A file that is
written appears under its name when it is whole, replacing what was there.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cli.output import private_file
from vault.domain.errors import InvalidInputError

HEADER_ROW: Final = 1

Row = tuple[int, list[str]]
"""Number and cells."""


class Sheet:
    """A CSV file being read. ``position`` says how far, in bytes of ``size``."""

    def __init__(self, path: Path, binary: io.BufferedReader, encoding: str) -> None:
        self.path: Final = path
        self.size: Final = os.fstat(binary.fileno()).st_size
        self._binary = binary
        try:
            text = io.TextIOWrapper(binary, encoding=encoding, newline="")
        except LookupError:
            raise InvalidInputError(
                f"no encoding {encoding}", field="--encoding", rule="unknown_encoding"
            ) from None
        self._reader = csv.reader(text, strict=True)
        self._number = 0
        first = next(self._rows(), None)
        if first is None:
            raise InvalidInputError(f"{path} is empty", field="file", rule="empty")
        self.columns: Final = [column.strip() for column in first[1]]
        if len(set(self.columns)) != len(self.columns) or "" in self.columns:
            raise InvalidInputError(
                f"{path}: each column needs a name of its own in row 1", field="file", rule="columns"
            )

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._binary.tell()

    def rows(self) -> Iterator[Row]:
        """Yield the rows after the header, without blank ones. Raises InvalidInputError: encoding, csv."""
        return self._rows()

    def _rows(self) -> Iterator[Row]:
        while True:
            try:
                cells = next(self._reader, None)
            except UnicodeDecodeError:
                # The decoder reads ahead: the row at fault is a later one.
                raise self._fault("encoding", "is not in this encoding; see --encoding") from None
            except csv.Error:
                raise self._fault("csv", "is not CSV") from None
            if cells is None:
                return
            self._number += 1
            if cells:
                yield self._number, cells

    def _fault(self, rule: str, why: str) -> InvalidInputError:
        return InvalidInputError(
            f"{self.path} {why} (in or after row {self._number + 1})", field="file", rule=rule
        )


@contextmanager
def open_sheet(path: Path, encoding: str = "utf-8-sig") -> Iterator[Sheet]:
    """Open a CSV file for reading. Raises InvalidInputError when it is not one."""
    try:
        binary = path.open("rb")
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read: {error.strerror}", field="file", rule="unreadable"
        ) from None
    with binary:
        yield Sheet(path, binary, encoding)


@contextmanager
def new_sheet(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[Any]], object]]:
    """Yield a function that writes a row; the file is at ``path`` once the block has ended well."""
    fresh = path.with_name(path.name + ".new")
    try:
        with private_file(fresh) as file:
            write = csv.writer(file, lineterminator="\n").writerow
            write(columns)
            yield write
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
