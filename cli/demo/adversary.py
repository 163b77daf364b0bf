"""Those who hold the database or an export, and try.

The one who holds the database is another program: it knows nothing of the
vault but the file, as a thief of the host's disk or a curious administrator of
databases would.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from vault.domain.errors import UnavailableError

PLANT: Final = """
import sqlite3, sys
path, holder, another = sys.argv[1:]
database = sqlite3.connect(path, timeout=20, isolation_level=None)
database.execute("BEGIN IMMEDIATE")
columns = [row[1] for row in database.execute("PRAGMA table_info(access_grant)")]
copied = database.execute(
    "SELECT * FROM access_grant WHERE actor_id = ? AND state = 'active' LIMIT 1", (holder,)
).fetchone()
row = dict(zip(columns, copied)) | {"id": "grt_" + "0f" * 10, "actor_id": another}
names, marks = ", ".join(row), ", ".join("?" * len(row))
database.execute(f"INSERT INTO access_grant ({names}) VALUES ({marks})", list(row.values()))
# So that the server looks at its grants again at once.
database.execute("UPDATE counter SET revision = revision + 1")
database.execute("COMMIT")
"""
"""Gives ``another`` a copy of a grant of ``holder``, seal and all."""

PLANTED_GRANT: Final = "grt_" + "0f" * 10

SHORTEST_NUMBER: Final = 8
"""Digits a number needs to be looked for: shorter ones are in any file by chance."""

_TEXTLESS: Final = ("gender", "age_band")
"""Columns of a few short values, which stand in the policy as well."""

_NUMBER: Final = re.compile(rb"[0-9+][0-9() -]{5,}[0-9]").finditer
_WIDE: Final = re.compile(rb"(?:\xef\xbc[\x8d\x90-\x99]){6,}").finditer
_NAMED: Final = re.compile(rb"kakao:[0-9]+|partner-[0-9]+|contact[0-9]+(?:@| at )[a-z.]+").finditer
_HANGUL: Final = re.compile(rb"(?:[\xea-\xed][\x80-\xbf][\x80-\xbf]){2,}").finditer
_SYLLABLE: Final = 3


def plant_grant(database: Path, *, holder: str, another: str) -> None:
    """Insert a grant row straight into the database, past everything. Raises UnavailableError."""
    ran = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-I", "-c", PLANT, str(database), holder, another],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        why = ran.stderr.strip().rpartition("\n")[2]
        raise UnavailableError(f"the row could not be planted: {why}")


def flip_byte(folder: Path) -> Path:
    """Flip one bit in the middle of the log of an export and return the file it is in."""
    bundle = min(path for path in (folder / "tile").rglob("*") if path.is_file())
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 0x01
    bundle.write_bytes(data)
    return bundle


class Planted:
    """Everything in the source files that must not be anywhere in the clear."""

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self._texts: set[bytes] = set()
        self._numbers: set[bytes] = set()
        for row in rows:
            for column, value in row.items():
                if not column.endswith(_TEXTLESS):
                    self._add(value)
        self._longest = max(map(len, self._numbers))
        self._shortest = min(map(len, self._numbers))

    @property
    def count(self) -> int:
        """Number of different things looked for."""
        return len(self._texts) + len(self._numbers)

    def _add(self, value: str) -> None:
        text = value.encode()
        self._numbers |= {number for number in _numbers(text) if len(number) >= SHORTEST_NUMBER}
        self._texts |= {run[0] for shape in (_NAMED, _WIDE) for run in shape(text)}
        # The last word: what stands before a company's name is its legal form, which the policy has too.
        self._texts |= {run[0] for run in list(_HANGUL(text))[-1:]}

    def found_in(self, data: bytes) -> int:
        """Return how many different planted values stand in ``data``, numbers in any grouping."""
        texts = {run[0] for shape in (_NAMED, _WIDE) for run in shape(data)}
        for run in _HANGUL(data):
            texts.update(_windows(run[0], 2 * _SYLLABLE, len(run[0]), step=_SYLLABLE))
        numbers: set[bytes] = set()
        for digits in _numbers(data):
            numbers.update(_windows(digits, self._shortest, self._longest))
        return len(texts & self._texts) + len(numbers & self._numbers)


def _numbers(data: bytes) -> Iterator[bytes]:
    """Yield the digits of each number in ``data``, without what a telephone number may begin with."""
    for run in _NUMBER(data):
        digits = run[0].translate(None, b"+() -")
        yield digits.removeprefix(b"82") if run[0].startswith(b"+") else digits.lstrip(b"0")


def _windows(run: bytes, shortest: int, longest: int, *, step: int = 1) -> Iterator[bytes]:
    for start in range(0, len(run) - shortest + 1, step):
        for end in range(start + shortest, min(start + longest, len(run)) + 1, step):
            yield run[start:end]
