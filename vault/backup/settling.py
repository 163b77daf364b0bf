"""Settle a copy of a vault so that it may be served: the after-steps of every restore.

Everything happens in the transaction of the caller: what was done to people
since is done again, what could act is ended or waits, digests are made again,
and the log goes on under another name with an entry that says all of it. Until
the commit nobody is served by it; after it, nothing is left to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keys.passwords import Passwords
from keys.rootkey import RootKey
from vault.access.accounts import Shown
from vault.access.authority import StaffMember
from vault.access.changes import Attempt
from vault.access.entries import Request, entry
from vault.access.sealing import usable_keys
from vault.access.standing import Standing, standing_in
from vault.access.vouching import require
from vault.audit.journal import Unit
from vault.audit.writer import Writer
from vault.backup import newlog
from vault.backup.carrying import Carried, carry
from vault.backup.digesting import make_digests
from vault.backup.newlog import NewLog
from vault.backup.outside import Gap, Outside, Seen, look, newest_checkpoint
from vault.backup.replaying import replay
from vault.backup.sets import Progress
from vault.backup.standstill import agreed_size
from vault.backup.staying import have_wait, who_stays
from vault.backup.unanswered import Unanswered, unanswered_erasures
from vault.backup.voiding import void
from vault.domain.actions import Action
from vault.domain.errors import ApprovalRequiredError
from vault.domain.model import Role
from vault.storage import keys as key_rows
from vault.storage.database import Connection, Counter
from vault.storage.maintenance import clear_sealed, set_sealed
from vault.storage.snapshots import skip_row_ids
from vault.tokens.rowids import PARTITIONS

SKIPPED: Final = 1 << 32
"""Row ids left out in each partition: more than anybody was given since the copy."""

TOLD: Final = 100
"""So many erasures that waited are named in the entry; ``ended.approvals`` counts all."""

Vouch = Callable[[Gap, Role], Shown]
"""Asks the person of a role, who is present, to vouch for a gap."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a restore rests on beside the copy itself."""

    outside: Outside
    passwords: Passwords
    now_us: Callable[[], int]
    """The time at which somebody shows a code: they take theirs."""
    vouch: Vouch | None = None
    """None: a gap is refused."""
    source: Mapping[str, str] | None = None
    """What the log says of the copy: backup and manifest; None for a raw copy of the database."""
    progress: Progress = lambda _rows: None
    officer: str = ""
    """Login of the officer who stays active; empty: who vouched, or the only one."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done to the rows."""

    new: NewLog
    replayed: Mapping[str, int]
    ended: Mapping[str, int]
    undigested: int
    stays: StaffMember | None
    """The officer who is active; everybody else waits for them."""
    unanswered: tuple[Unanswered, ...]

    def told(self) -> dict[str, str]:
        """Return what the log says of it."""
        said = {"log": self.new.keyring.signer.name, "undigested": str(self.undigested)}
        if self.stays is not None:
            said["stays"] = self.stays.row.id
        said |= {f"replayed.{act}": str(count) for act, count in self.replayed.items()}
        said |= {f"unanswered.{at}": one.approval for at, one in enumerate(self.unanswered[:TOLD], 1)}
        return said | {f"ended.{what}": str(count) for what, count in self.ended.items()}


@dataclass(frozen=True, slots=True)
class Settled:
    """A copy that may be served once its transaction has committed."""

    log_index: int
    done: Done
    gap: Gap | None
    newer: bool
    """Whether the tombstones told of more than the copy and what lay beside it."""
    carried: Carried
    """The tombstone file of the new log's home."""


def settle(
    connection: Connection, counter: Counter, root: RootKey, request: Request, *, terms: Terms
) -> Settled:
    """Do every after-step in the open transaction of ``connection``.

    Raises ApprovalRequiredError for a gap that nobody vouches for,
    AuthenticationError, TamperDetectedError, InvalidInputError, UnavailableError.
    """
    standing = standing_in(connection, counter, root, restoring=True)
    attempt = Attempt(connection, standing, request, [])
    with usable_keys():
        records = key_rows.read_keys(connection)
        keys = newlog.public(newlog.log_signers(records, counter.vault_id, root))
        log = attempt.keyring.signer.name
        trusted = [*keys, *terms.outside.keys]
        newest = newest_checkpoint(terms.outside.checkpoints, trusted)
        # The entries of a backup are those of the vault; a copy put back otherwise may have grown since.
        size = counter.next_index
        if terms.source is None:
            size = agreed_size(connection, counter, newest, trusted, log=log)
        seen = look(terms.outside, keys, newest, log=log, size=size, raw=terms.source is None)
        said = _accounted(seen) | _vouched(attempt, seen, terms) | dict(terms.source or {"backup": "raw"})
        stays = who_stays(attempt, login=terms.officer, vouched=said.get(Role.OFFICER.value, ""))
        done = _make_good(attempt, standing, seen, stays, root=root, terms=terms)
        said |= done.told()
        signing = done.new.keyring
        unit = Unit(connection, Writer(), signing, threading.Event())
        # A copy of a sealed vault is sealed as well: it takes this one entry and stays so.
        was_sealed = clear_sealed(connection)
        unit.append([entry(request, Action.VAULT_RESTORE, target=said)], revision=None, revise=True)
        if was_sealed:
            set_sealed(connection)
        index = unit.indexes[0]
        carried = carry(connection, seen.tombstones, trusted, signing.signer, size=index + 1)
    return Settled(index, done, seen.gap, seen.newer, carried)


def _make_good(
    attempt: Attempt,
    standing: Standing,
    seen: Seen,
    stays: StaffMember | None,
    *,
    root: RootKey,
    terms: Terms,
) -> Done:
    """Do everything but the entry. A raw copy has its digests."""
    connection = attempt.connection
    replayed = replay(attempt, seen.reading.tombstones)
    unanswered = unanswered_erasures(attempt)
    ended = void(attempt)
    if stays is not None:
        ended["staff"] = have_wait(attempt, stays)
    skip_row_ids(connection, SKIPPED, partitions=PARTITIONS)
    undigested = 0 if terms.source is None else make_digests(connection, standing, terms.progress)
    above = max((newlog.generation(key.name) for key in terms.outside.keys), default=0)
    new = newlog.begin(connection, attempt.keyring, root, above=above, now_us=attempt.now_us)
    return Done(new, replayed, ended, undigested, stays, unanswered)


def _accounted(seen: Seen) -> dict[str, str]:
    """Return what the log says of what was known outside."""
    known = {"tombstones": str(len(seen.reading.tombstones))}
    known["tombstones.newer"] = "yes" if seen.newer else "no"
    if seen.checkpoint is not None:
        known |= {"seen.log": seen.checkpoint.origin, "seen.size": str(seen.checkpoint.size)}
        known["seen.root"] = seen.checkpoint.root.hex()
    return known


def _vouched(attempt: Attempt, seen: Seen, terms: Terms) -> dict[str, str]:
    gap = seen.gap
    if gap is None:
        return {}
    if terms.vouch is None:
        raise ApprovalRequiredError(
            f"the tombstone file falls short: entries {gap.start} to {gap.stop - 1} of {gap.log} may have"
            " erased somebody. Look for a newer copy of it (--tombstones); without one, administrator and"
            " officer have to accept the gap together: --accept-gap"
        )
    said = {"gap.from": str(gap.start), "gap.to": str(gap.stop)}
    for role in (Role.ADMINISTRATOR, Role.OFFICER):
        shown = terms.vouch(gap, role)
        said[role.value] = require(attempt, terms.passwords, shown, role, now_us=terms.now_us()).id
    return said
