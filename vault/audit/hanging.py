"""What the log still needs of a key: units not yet in the tree, its own code, the newest checkpoint."""

from __future__ import annotations

from collections import Counter
from typing import Final

from keys.errors import KeysError
from keys.keyring import Keyring
from vault.audit.integrator import log_key, tree_key_version
from vault.audit.merkle import Frontier, MalformedFrontierError
from vault.audit.note import NoteError, open_checkpoint
from vault.domain.errors import TamperDetectedError
from vault.storage import log
from vault.storage.database import Connection

UNITS: Final = 2_000
"""Units looked at one by one: the tree is behind by that much only when something is wrong."""


def units_waiting(connection: Connection, keyring: Keyring) -> tuple[Counter[int], int]:
    """Count the units that the tree does not cover yet, by the log MAC key that they verify under.

    The second number is of those that verify under none, or were not looked at.
    Nobody looks at the MAC of a unit again once the tree covers it.
    """
    start = _size(log.read_tree(connection))
    found: Counter[int] = Counter()
    broken = 0
    units = log.read_units(connection, start, limit=UNITS)
    leaves = dict(log.read_leaves(connection, start, units[-1].first + units[-1].size)) if units else {}
    for unit in units:
        hashes = [leaves.get(index, b"") for index in range(unit.first, unit.first + unit.size)]
        try:
            found[keyring.log_mac.verify(unit.writer, unit.writer_seq, hashes, code=unit.mac)] += 1
        except KeysError:
            broken += 1
    return found, broken + log.count_units_from(connection, start) - len(units)


def tree_hangs_on(connection: Connection, keyring: Keyring) -> int | None:
    """Return the version of the authority key that vouches for the tree; 0: none does, None: it is empty."""
    try:
        return tree_key_version(log.read_tree(connection), keyring)
    except TamperDetectedError:
        return 0


def newest_is_signed(connection: Connection, keyring: Keyring) -> bool:
    """Say whether the newest checkpoint carries the signature of the key in force."""
    try:
        open_checkpoint(log.read_last_checkpoint(connection) or "", log_key(keyring))
    except NoteError:
        return False
    return True


def lock(connection: Connection) -> None:
    """Hold the tree until the transaction ends, so that nobody signs or seals it meanwhile."""
    log.read_tree_locked(connection)


def _size(tree: log.TreeRow) -> int:
    """Return how many entries the tree covers; none when it is not ours, so that everything counts."""
    try:
        return Frontier.from_bytes(tree.frontier).size
    except MalformedFrontierError:
        return 0
