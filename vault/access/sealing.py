"""Seal the rows that a decision reads, and refuse the ones that are not ours.

A row's MAC (docs/formats/envelope.md 9.1) covers its columns and binds them to
table, row id and version. So a row inserted, edited or swapped by someone who
holds the database but not the authority key is refused. An old row put back
with its own old MAC is not found here; the threat model says what notices it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from keys.errors import KeysError, UnknownKeyVersionError
from keys.macs import AuthorityKeys
from vault.domain.errors import TamperDetectedError, UnavailableError
from vault.storage.rows import SealedRow

R = TypeVar("R", bound=SealedRow)


@contextmanager
def usable_keys() -> Iterator[None]:
    """Turn an error of the keys into UnavailableError: what they open has been verified before."""
    try:
        yield
    except KeysError:
        raise UnavailableError("a key of the vault cannot be used") from None


@dataclass(frozen=True, slots=True, order=True)
class Alarm:
    """A row that does not verify. ``row_id`` may be anything: whoever planted the row chose it."""

    table: str
    row_id: str


def canonical(row: SealedRow) -> bytes:
    """Return the bytes of ``row`` that its MAC covers: sorted keys, no white space, ASCII."""
    return json.dumps(row.covered(), sort_keys=True, separators=(",", ":")).encode()


def seal(authority: AuthorityKeys, row: R) -> R:
    """Return ``row`` with its MAC."""
    code = authority.mac(row.table.name, row.row_id, version=row.version, row=canonical(row))
    # The bound of R is a base without fields of its own; every row is a frozen dataclass.
    sealed: R = replace(row, mac=code)  # type: ignore[type-var]
    return sealed


def verify(authority: AuthorityKeys, row: R) -> R:
    """Return ``row``. Raises TamperDetectedError when its MAC is not its own, UnavailableError."""
    key_version(authority, row)
    return row


def key_version(authority: AuthorityKeys, row: SealedRow) -> int:
    """Return the version of the authority key that ``row`` is sealed under. Raises as ``verify`` does."""
    name, row_id = row.table.name, row.row_id
    try:
        return authority.verify(name, row_id, version=row.version, row=canonical(row), code=row.mac)
    except UnknownKeyVersionError:
        # No key says nothing about the rows: the vault cannot decide, and nobody planted anything.
        raise UnavailableError("no authority key can be used") from None
    except KeysError:
        # Malformed is planted too: an id too long to bind, a version below zero.
        raise TamperDetectedError(f"a row of {name} does not verify", reference=row_id, table=name) from None


def sift(authority: AuthorityKeys, rows: Iterable[R], alarms: set[Alarm]) -> list[R]:
    """Return the rows that verify; the others are as good as absent and become ``alarms``."""
    kept: list[R] = []
    for row in rows:
        try:
            kept.append(verify(authority, row))
        except TamperDetectedError:
            alarms.add(Alarm(row.table.name, row.row_id))
    return kept
