"""Build the tree over what was appended, and sign how far it has come.

Whichever node holds the tree's row does it, within a second. Only what
verifies is signed: every leaf hash against the entry's bytes, every unit
against its MAC, every writer's counter without a hole, every index without a
gap, and never less than the checkpoint kept outside the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from keys.errors import KeysError
from keys.keyring import Keyring
from vault.audit.merkle import Frontier, leaf_hash
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

UNITS: Final = 2_000
ENTRIES: Final = 10_000
"""Taken at most in one go, give or take a unit: a backlog is worked off in several transactions."""

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


def log_key(keyring: Keyring) -> NoteKey:
    """Return the public key of the log."""
    return parse_vkey(vkey(keyring.signer))


class Integrator:
    """Extends the tree and its checkpoints. One call at a time per process."""

    def __init__(self, database: Database, outside: OutsideCheckpoint) -> None:
        self._database = database
        self._outside = outside

    def integrate(self, keyring: Keyring, now_us: int) -> Progress | None:
        """Integrate what has been appended; None when another node is at it.

        Raises TamperDetectedError when something does not verify: nothing is
        signed then, and nothing will be until an operator has looked at it.
        """
        with self._database.writing() as connection:
            tree = log.lock_tree(connection)
            if tree is None:
                return None
            frontier = Frontier.from_bytes(tree.frontier)
            before = frontier.size
            writers = _decode_writers(tree.writers)
            units = log.read_units(connection, before, limit=UNITS)
            while len(units) > 1 and units[-1].first - before > ENTRIES:
                units.pop()
            stop = units[-1].first + units[-1].size if units else before
            entries = {entry.index: entry for entry in log.read_entries(connection, before, stop)}
            for unit in units:
                _take(unit, entries, frontier, writers, keyring)
            behind = bool(units) and log.read_units(connection, stop, limit=1) != []
            note = self._sign(connection, frontier, before, keyring, now_us)
            if frontier.size > before:
                log.update_tree(connection, log.TreeRow(frontier.to_bytes(), msgspec.msgpack.encode(writers)))
        if note is not None:
            self._outside.advance(note, log_key(keyring))
        return Progress(frontier.size, note, behind=behind)

    def _sign(
        self, connection: Connection, frontier: Frontier, before: int, keyring: Keyring, now_us: int
    ) -> str | None:
        key = log_key(keyring)
        kept = self._outside.read(key)
        if kept is not None:
            _require_continuation(connection, frontier, kept, key)
        if frontier.size == before:
            return log.read_last_checkpoint(connection)
        signer = keyring.signer
        note = sign_checkpoint(Checkpoint(signer.name, frontier.size, frontier.root()), signer)
        log.insert_checkpoint(connection, size=frontier.size, note=note, now_us=now_us)
        return note


def _require_continuation(connection: Connection, frontier: Frontier, kept: Checkpoint, key: NoteKey) -> None:
    """Raise TamperDetectedError unless the database's log contains the one seen before.

    The checkpoint stored at that size was signed over this tree when it was
    integrated, so it need not be computed again.
    """
    stored = log.read_checkpoint_at(connection, kept.size)
    if kept.size > frontier.size or stored is None:
        raise TamperDetectedError("the database holds less of the log than has been seen before")
    try:
        if open_checkpoint(stored, key).root == kept.root:
            return
    except NoteError:
        pass
    raise TamperDetectedError("the database holds another log than has been seen before")


def _take(
    unit: log.UnitRow,
    stored: Mapping[int, log.EntryRow],
    frontier: Frontier,
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
    writers[unit.writer] = unit.writer_seq
    frontier.extend(leaves)
