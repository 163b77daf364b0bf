"""Notice a database that went back in time: it holds less than was seen outside of it.

Such a database is not served. Whoever put it back settles it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from keys.rootkey import RootKey
from vault.access.standing import WENT_BACK
from vault.audit.note import Checkpoint, NoteError, NoteKey, open_checkpoint
from vault.backup.newlog import generation, log_signers, public
from vault.backup.outside import Outside, count_tombstones, newest_checkpoint
from vault.domain.errors import ConflictError, TamperDetectedError
from vault.storage.database import Connection, Counter
from vault.storage.keys import read_keys
from vault.storage.log import read_checkpoint_at
from vault.storage.tombstones import next_seq

BEHIND: Final = (
    "the database is older than what was seen outside of it: a copy was put back. Stop every node and run:"
    " piivault restore --raw"
)


def require_in_step(connection: Connection, counter: Counter, root: RootKey, outside: Outside) -> None:
    """Return unless checkpoint or tombstones know more than the database.

    Raises TamperDetectedError that names the command to run.
    """
    if _is_behind(connection, counter, root, outside):
        raise TamperDetectedError(BEHIND, reference=WENT_BACK)


def require_behind(connection: Connection, counter: Counter, root: RootKey, outside: Outside) -> None:
    """Return if the database is behind. Raises ConflictError: nothing was put back then."""
    if not _is_behind(connection, counter, root, outside):
        raise ConflictError(
            "the database is not behind the checkpoint or the tombstones: there is nothing to settle"
        )


def _is_behind(connection: Connection, counter: Counter, root: RootKey, outside: Outside) -> bool:
    signers = log_signers(read_keys(connection), counter.vault_id, root)
    keys: Sequence[NoteKey] = [*public(signers), *outside.keys]
    ours = max(generation(signer.name) for signer in signers)
    newest = newest_checkpoint(outside.checkpoints, keys)
    # Of another log: somebody restored, and not this. Not had: the log was longer, or grew differently.
    if newest is not None and (generation(newest.origin) != ours or not _has(connection, newest, keys)):
        return True
    return count_tombstones(outside, keys) > next_seq(connection)


def agreed_size(
    connection: Connection, counter: Counter, newest: Checkpoint | None, keys: Sequence[NoteKey], *, log: str
) -> int:
    """Return how many entries of the database's ``log`` are those of ``newest``: 0 if it forked."""
    if newest is None or newest.size > counter.next_index or generation(newest.origin) != generation(log):
        return counter.next_index
    return counter.next_index if _has(connection, newest, keys) else 0


def _has(connection: Connection, seen: Checkpoint, keys: Sequence[NoteKey]) -> bool:
    """Say whether the database has this checkpoint: each is stored before it is kept outside."""
    stored = read_checkpoint_at(connection, seen.size)
    for key in keys:
        # One by one: they may be those of several logs.
        with suppress(NoteError):
            return stored is not None and open_checkpoint(stored, key).root == seen.root
    return False
