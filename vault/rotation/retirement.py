"""What a copy of the database of an earlier day still needs to be dead, and which step is due.

Such a copy holds data keys wrapped under epochs, digests under lookup keys, and
both kinds of key sealed under the root key of its day. It opens as long as any
of three is left: its epochs and lookup keys in the vault, the root key that
sealed them, or a root key that sealed them later, while they were still there
(another copy has them under that). So it is dead when every one of its epochs
and lookup keys is destroyed, and every copy has ended of every root key that
was in force from its day until then (NIST SP 800-57 Part 1 Rev. 5, 8.3.4).

A procedure that ends everything from before the wrapping epoch in force was
made needs no memory of its own: its steps follow from these facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keys.keyring import KeyKind, KeyRecord
from keys.states import KeyState
from vault.storage import keys as key_rows
from vault.storage import roots as root_rows
from vault.storage.database import Connection
from vault.storage.roots import RootRow

OPENING: Final = frozenset({KeyKind.WRAPPING, KeyKind.LOOKUP})
"""Kinds of key that open or recognise the value of somebody in a copy of the database."""


class Step(StrEnum):
    """What is due next."""

    ROTATE = "rotate"
    """A key from before is still in use."""
    DESTROY = "destroy"
    """Keys from before are out of use: move what hangs on them, count, destroy."""
    ROOT = "root"
    """The root key in force has sealed what is destroyed by now."""
    COPIES = "copies"
    """What opens an older root key may still be somewhere."""
    WAIT = "wait"
    """Everything is done, and something ends by itself on a day to come."""
    DONE = "done"
    """Copies of the database from before are dead."""


@dataclass(frozen=True, slots=True)
class Key:
    """A wrapping epoch or a lookup key. Times are microseconds since the epoch."""

    kind: str
    scope: str
    version: int
    state: str
    created_us: int
    ended_us: int | None
    """When it was destroyed."""


@dataclass(frozen=True, slots=True)
class Root:
    """A version of the root key and its sealed copies."""

    version: int
    created_us: int
    replaced_us: int | None
    """When the next one took its place; None for the one in force."""
    copies: tuple[RootRow, ...]

    def left(self, now_us: int) -> tuple[RootRow, ...]:
        """Return the copies that may still be opened by something somewhere."""
        return tuple(copy for copy in self.copies if copy.ended_at is None or copy.ended_at > now_us)


@dataclass(frozen=True, slots=True)
class Facts:
    """Every wrapping epoch, lookup key and root key there ever was, from one snapshot."""

    keys: tuple[Key, ...]
    roots: tuple[Root, ...]

    @property
    def begun_us(self) -> int:
        """When the newest wrapping epoch was made: what is from before is to end."""
        return max(key.created_us for key in self.keys if key.kind == KeyKind.WRAPPING)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left of everything that opens a copy of the database of one moment."""

    keys: tuple[Key, ...]
    roots: tuple[Root, ...]


def read_facts(connection: Connection) -> Facts:
    """Read them in the snapshot of ``connection``."""
    dates = key_rows.read_key_dates(connection)
    records = [record for record in key_rows.read_keys(connection) if record.kind in OPENING]
    return Facts(
        tuple(_key(record, dates[record.name]) for record in records),
        _roots(root_rows.read_roots(connection)),
    )


def remaining(facts: Facts, moment_us: int, now_us: int) -> Remaining:
    """Return what still opens the copy of the database that was made just before ``moment_us``."""
    held = [
        key
        for key in facts.keys
        if key.created_us < moment_us and (key.ended_us is None or key.ended_us >= moment_us)
    ]
    if not held:
        # There was no vault yet.
        return Remaining((), ())
    rest = _left(facts, held, now_us)
    return Remaining(
        rest.keys,
        tuple(root for root in rest.roots if root.replaced_us is None or root.replaced_us >= moment_us),
    )


def remaining_before(facts: Facts, moment_us: int, now_us: int) -> Remaining:
    """Return what still opens any copy of the database that was made before ``moment_us``."""
    return _left(facts, [key for key in facts.keys if key.created_us < moment_us], now_us)


def _left(facts: Facts, held: Sequence[Key], now_us: int) -> Remaining:
    """Return those of ``held`` that have not ended, and the root keys that sealed any of them."""
    left = tuple(key for key in held if key.ended_us is None)
    last = max((key.ended_us or 0 for key in held), default=0)
    roots = tuple(root for root in facts.roots if root.left(now_us) and (left or root.created_us <= last))
    return Remaining(left, roots)


def step_due(facts: Facts, now_us: int) -> Step:
    """Return what has to be done next, so that copies from before ``facts.begun_us`` are dead."""
    rest = remaining_before(facts, facts.begun_us, now_us)
    if any(key.state == KeyState.ACTIVE for key in rest.keys):
        return Step.ROTATE
    if rest.keys:
        return Step.DESTROY
    if any(root.replaced_us is None for root in rest.roots):
        return Step.ROOT
    if any(copy.ended_at is None for root in rest.roots for copy in root.left(now_us)):
        return Step.COPIES
    return Step.WAIT if rest.roots else Step.DONE


def _key(record: KeyRecord, dates: tuple[int, int]) -> Key:
    created, changed = dates
    ended = changed if record.state is KeyState.DESTROYED else None
    return Key(record.kind.value, record.scope, record.version, record.state.value, created, ended)


def _roots(copies: Sequence[RootRow]) -> tuple[Root, ...]:
    """Return the versions, the newest first."""
    found: list[Root] = []
    for version in sorted({copy.version for copy in copies}, reverse=True):
        own = tuple(copy for copy in copies if copy.version == version)
        created = min(copy.created_at for copy in own)
        found.append(Root(version, created, found[-1].created_us if found else None, own))
    return tuple(found)
