"""A restored log goes on as another one (docs/formats/backup.md section 5).

What the outside has seen of the old log may be longer than what was restored,
and two logs of one name that differ are what a forger would make. So the
restored one gets a signing key of another name, and its own checkpoints from
there on. The entries stay as they were, from index 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key, root_context
from keys.rootkey import RootKey
from keys.signing import SigningKey
from keys.states import VERIFYING, KeyState, require_transition
from vault.audit.integrator import log_keys, open_tree
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
from vault.domain.errors import TamperDetectedError
from vault.storage import keys as key_rows
from vault.storage import log
from vault.storage.database import Connection

_SUCCESSOR: Final = re.compile(r"(.+)/r([1-9][0-9]{0,8})").fullmatch


@dataclass(frozen=True, slots=True)
class NewLog:
    """The log that begins with the restore."""

    keyring: Keyring
    """With its signing key in force."""
    before: str
    """Name of the log it continues."""
    note: str | None
    """Its first checkpoint, over the tree as it was restored; None for an empty tree."""


def generation(name: str) -> int:
    """Return which log of a vault has this name: 0 for the first, N after the Nth restore."""
    match = _SUCCESSOR(name)
    return int(match[2]) if match else 0


def log_signers(records: Sequence[KeyRecord], vault_id: bytes, root: RootKey) -> list[SigningKey]:
    """Return the keys that have signed the log and may still prove anything. Raises DecryptionError."""
    return [
        SigningKey(record.scope, root.unwrap(record.wrapped, root_context(vault_id, record)))
        for record in records
        if record.kind is KeyKind.LOG_SIGNING and record.state in VERIFYING
    ]


def public(signers: Sequence[SigningKey]) -> list[NoteKey]:
    """Return their public halves."""
    return [parse_vkey(vkey(signer)) for signer in signers]


def begin(connection: Connection, before: Keyring, root: RootKey, *, above: int, now_us: int) -> NewLog:
    """Give the log in ``connection`` another name, key and first checkpoint.

    Its generation is higher than ``above`` and than that of any log the vault knows of.

    Raises TamperDetectedError when its tree is not that of its entries, or
    its newest checkpoint not the one over that tree.
    """
    tree = log.read_tree(connection)
    frontier, _ = open_tree(tree, before)
    _require_entries(connection, frontier)
    _require_checkpoint(connection, frontier, before)
    records = key_rows.read_keys(connection)
    new = _next_key(records, before.vault_id, root, above)
    for record in records:
        if record.kind is KeyKind.LOG_SIGNING and record.state is KeyState.ACTIVE:
            require_transition(record.state, KeyState.DEACTIVATED)
            key_rows.set_key_state(connection, record, KeyState.DEACTIVATED, now_us=now_us)
    key_rows.insert_keys(connection, [new], now_us=now_us)
    keyring = Keyring.unlock(before.vault_id, key_rows.read_keys(connection), root)
    log.delete_checkpoints(connection)
    note = None
    if frontier.size:
        signer = keyring.signer
        note = sign_checkpoint(Checkpoint(signer.name, frontier.size, frontier.root()), signer)
        log.insert_checkpoint(connection, size=frontier.size, note=note, now_us=now_us)
    return NewLog(keyring, before.signer.name, note)


def _next_key(records: Sequence[KeyRecord], vault_id: bytes, root: RootKey, above: int) -> KeyRecord:
    names = [record.scope for record in records if record.kind is KeyKind.LOG_SIGNING]
    number = max(above, *map(generation, names)) + 1
    match = _SUCCESSOR(names[0])
    first = match[1] if match else names[0]
    made = generate_key(KeyKind.LOG_SIGNING, f"{first}/r{number}", 1, vault_id=vault_id, root=root)
    return replace(made, state=KeyState.ACTIVE)


def _require_entries(connection: Connection, frontier: Frontier) -> None:
    """Compute the tree anew from the entries it covers. Raises TamperDetectedError unless it is the same."""
    anew = Frontier()
    for start in range(0, frontier.size, log.PAGE):
        entries = log.read_entries(connection, start, min(start + log.PAGE, frontier.size))
        for at, entry in enumerate(entries, start):
            leaf = leaf_hash(entry.body)
            if entry.idx != at or entry.leaf != leaf:
                raise TamperDetectedError("an entry of the log was changed", reference=str(at))
            anew.append(leaf)
    if anew.to_bytes() != frontier.to_bytes():
        raise TamperDetectedError("the entries of the log are not those of its tree")


def _require_checkpoint(connection: Connection, frontier: Frontier, keyring: Keyring) -> None:
    note = log.read_last_checkpoint(connection)
    if note is None and frontier.size == 0:
        return
    try:
        tip = open_checkpoint(note or "", *log_keys(keyring))
    except NoteError:
        raise TamperDetectedError("the newest checkpoint does not verify") from None
    if (tip.size, tip.root) != (frontier.size, frontier.root()):
        raise TamperDetectedError("the newest checkpoint is not that of the tree")
