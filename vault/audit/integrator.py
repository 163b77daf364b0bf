"""Build the tree over what was appended, and sign how far it has come.

Whichever node holds the tree's row does it, within a second. Only what
verifies is signed: every leaf hash against the entry's bytes, every unit
against its MAC, every writer's counter without a hole, every index without a
gap up to the counter row, every act on a data subject against its tombstone,
the tree so far against its own MAC and the checkpoint signed over it, and
never less than the checkpoint kept outside the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from keys.errors import KeysError
from keys.keyring import KeyKind, Keyring
from vault.audit.acts import require_tombstones
from vault.audit.merkle import Frontier, MalformedFrontierError, leaf_hash
from vault.audit.note import (
    Checkpoint,
    NoteError,
    NoteKey,
    open_checkpoint,
    parse_vkey,
    sign_checkpoint,
    vkey,
)
from vault.audit.outside import OutsideCheckpoint
from vault.domain.errors import TamperDetectedError
from vault.storage import log
from vault.storage.database import Connection, Database
from vault.storage.keys import require_in_use

UNITS: Final = 2_000
ENTRIES: Final = 10_000
"""Taken at most in one go, give or take a unit: a backlog is worked off in several transactions."""

WRITERS: Final = 4_096
"""Writers remembered, those used last: a process has two, and a new one gets new ones."""

MAC_LENGTH: Final = 32
TREE: Final = "log_tree"

_decode_writers = msgspec.msgpack.Decoder(dict[bytes, int]).decode


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the tree is built."""

    size: int
    note: str | None
    """The newest checkpoint; None before the first entry."""
    behind: bool
    """Whether more is waiting."""


def empty_tree() -> log.TreeRow:
    """Return the tree row of a new vault."""
    return log.TreeRow(Frontier().to_bytes(), msgspec.msgpack.encode({}))


def log_keys(keyring: Keyring) -> tuple[NoteKey, ...]:
    """Return the public keys of the log: the one in force first, then those before it that still count."""
    return tuple(parse_vkey(vkey(signer)) for signer in (keyring.signer, *keyring.signers[1:]))


def log_key(keyring: Keyring) -> NoteKey:
    """Return the public key of the log that is in force."""
    return log_keys(keyring)[0]


Before = Callable[[Keyring, int, int], None]
"""Given the keyring, a size of the log and the time: makes sure of what has to be outside up to that size."""


class Integrator:
    """Extends the tree and its checkpoints. One call at a time per process."""

    def __init__(self, database: Database, outside: OutsideCheckpoint, before: Before | None = None) -> None:
        """``before`` is called before a checkpoint is kept outside; when it raises, none is."""
        self._database = database
        self._outside = outside
        self._before = before

    def integrate(self, keyring: Keyring, now_us: int) -> Progress | None:
        """Integrate what has been appended; None when another node was faster.

        Everything is read and verified in a snapshot; the lock is held only to
        write the result, and only if the tree is still where it was.
        Raises TamperDetectedError when something does not verify: nothing is
        signed then, and nothing will be until an operator has looked at it. It may
        also mean that ``keyring`` is older than what was read: whoever has a newer
        one tries again with that. StaleRevisionError when a key of it that would
        have signed the result is out of use by now.
        """
        keys = log_keys(keyring)
        kept = self._outside.read(*keys)
        with self._database.reading() as connection:
            before = log.read_tree(connection)
            frontier, writers = open_tree(before, keyring)
            start = frontier.size
            note = log.read_last_checkpoint(connection)
            _require_tip(note, frontier, keys)
            _require_last_unit(connection, start, writers)
            behind = _extend(connection, frontier, writers, keyring)
            if not behind and frontier.size != self._database.counter(connection).next_index:
                raise TamperDetectedError("an index is missing from the log", reference=str(frontier.size))
            if kept is not None:
                _require_continuation(connection, frontier.size, kept, keys)
        if frontier.size > start:
            signed = Checkpoint(keyring.signer.name, frontier.size, frontier.root())
            note = sign_checkpoint(signed, *keyring.signers)
            after = _closed_tree(frontier, writers, keyring)
            used = (
                (KeyKind.AUTHORITY, "", keyring.authority.active_version),
                (KeyKind.LOG_SIGNING, keyring.signer.name, keyring.signer.version),
            )
            if not self._store(before, after, used, size=frontier.size, note=note, now_us=now_us):
                return None
        if note is not None:
            if self._before is not None:
                self._before(keyring, frontier.size, now_us)
            self._outside.advance(note, *keys)
        return Progress(frontier.size, note, behind)

    def _store(
        self,
        before: log.TreeRow,
        after: log.TreeRow,
        used: tuple[tuple[KeyKind, str, int], ...],
        *,
        size: int,
        note: str,
        now_us: int,
    ) -> bool:
        """Write the tree and its checkpoint; say whether the tree was still where it was.

        Raises StaleRevisionError when one of the keys ``used`` was replaced
        meanwhile: what it has sealed last could outlive it and verify nowhere.
        """
        with self._database.writing() as connection:
            if log.lock_tree(connection) != before:
                return False
            # With the tree locked: whoever ends a key locks it too, and looks what the tree hangs on.
            require_in_use(connection, *used)
            log.update_tree(connection, after)
            log.insert_checkpoint(connection, size=size, note=note, now_us=now_us)
        return True


def tree_key_version(tree: log.TreeRow, keyring: Keyring) -> int | None:
    """Return the version of the authority key that vouches for ``tree``; None for an empty one.

    Raises TamperDetectedError when no usable one does.
    """
    try:
        frontier = Frontier.from_bytes(tree.frontier)
        if frontier.size == 0:
            return None
        row = sha256(tree.frontier + tree.writers[MAC_LENGTH:]).digest()
        code = tree.writers[:MAC_LENGTH]
        return keyring.authority.verify(TREE, "1", version=frontier.size, row=row, code=code)
    except (MalformedFrontierError, KeysError):
        raise TamperDetectedError("the tree of the log was changed") from None


def open_tree(tree: log.TreeRow, keyring: Keyring) -> tuple[Frontier, dict[bytes, int]]:
    """Return frontier and writers' counters of the tree row. Raises TamperDetectedError if not ours."""
    if tree_key_version(tree, keyring) is None:
        return Frontier(), {}
    return Frontier.from_bytes(tree.frontier), _decode_writers(tree.writers[MAC_LENGTH:])


def _closed_tree(frontier: Frontier, writers: dict[bytes, int], keyring: Keyring) -> log.TreeRow:
    """Return the tree row: the writers' counters stand behind a MAC over both columns (log-entry.md 9.5)."""
    recent = dict(list(writers.items())[-WRITERS:])
    edge, counters = frontier.to_bytes(), msgspec.msgpack.encode(recent)
    row = sha256(edge + counters).digest()
    code = keyring.authority.mac(TREE, "1", version=frontier.size, row=row)
    return log.TreeRow(edge, code + counters)


def _extend(connection: Connection, frontier: Frontier, writers: dict[bytes, int], keyring: Keyring) -> bool:
    """Verify the units after ``frontier`` and extend it; say whether more waits."""
    start = frontier.size
    units = log.read_units(connection, start, limit=UNITS)
    while len(units) > 1 and units[-1].first - start > ENTRIES:
        units.pop()
    stop = units[-1].first + units[-1].size if units else start
    entries = {entry.idx: entry for entry in log.read_entries(connection, start, stop)}
    for unit in units:
        _take(unit, entries, frontier, writers=writers, keyring=keyring)
    require_tombstones(connection, entries.values())
    return bool(units) and log.read_units(connection, stop, limit=1) != []


def _require_last_unit(connection: Connection, size: int, writers: Mapping[bytes, int]) -> None:
    """Raise TamperDetectedError unless the tree ends with the unit that it ended with when it was built.

    A tail that was cut off and written anew has the right number of entries,
    and none of them would be looked at again.
    """
    last = log.read_unit_before(connection, size)
    if size == 0 and last is None:
        return
    intact = last is not None and last.first + last.size == size
    if last is None or not intact or writers.get(last.writer) != last.writer_seq:
        raise TamperDetectedError("the end of the log was written anew", reference=str(size))


def _require_tip(note: str | None, frontier: Frontier, keys: tuple[NoteKey, ...]) -> None:
    """Raise TamperDetectedError unless the newest checkpoint is the one signed over this very tree."""
    if note is None and frontier.size == 0:
        return
    try:
        tip = open_checkpoint(note or "", *keys)
    except NoteError:
        raise TamperDetectedError("the newest checkpoint does not verify") from None
    if (tip.size, tip.root) != (frontier.size, frontier.root()):
        raise TamperDetectedError("the newest checkpoint is not that of the tree")


def _require_continuation(
    connection: Connection, size: int, kept: Checkpoint, keys: tuple[NoteKey, ...]
) -> None:
    """Raise TamperDetectedError unless the database's log contains the one seen before.

    The checkpoint stored at that size was signed over this tree when it was
    integrated, so it need not be computed again.
    """
    stored = log.read_checkpoint_at(connection, kept.size)
    if kept.size > size or stored is None:
        raise TamperDetectedError("the database holds less of the log than has been seen before")
    try:
        if open_checkpoint(stored, *keys).root == kept.root:
            return
    except NoteError:
        pass
    raise TamperDetectedError("the database holds another log than has been seen before")


def _take(
    unit: log.UnitRow,
    stored: Mapping[int, log.EntryRow],
    frontier: Frontier,
    *,
    writers: dict[bytes, int],
    keyring: Keyring,
) -> None:
    """Verify one unit and extend the frontier by it."""
    if unit.first != frontier.size or unit.size < 1:
        raise TamperDetectedError("an index is missing from the log", reference=str(frontier.size))
    leaves = []
    for index in range(unit.first, unit.first + unit.size):
        entry = stored.get(index)
        leaf = None if entry is None else leaf_hash(entry.body)
        if entry is None or leaf is None or entry.leaf != leaf:
            raise TamperDetectedError("an entry of the log was changed", reference=str(index))
        leaves.append(leaf)
    if unit.writer_seq != writers.get(unit.writer, -1) + 1:
        raise TamperDetectedError("a unit of the log is missing", reference=str(unit.first))
    try:
        keyring.log_mac.verify(unit.writer, unit.writer_seq, leaves, code=unit.mac)
    except KeysError:
        raise TamperDetectedError("a unit of the log is not ours", reference=str(unit.first)) from None
    # Taken out first, so that the map is in order of last use.
    writers.pop(unit.writer, None)
    writers[unit.writer] = unit.writer_seq
    frontier.extend(leaves)
