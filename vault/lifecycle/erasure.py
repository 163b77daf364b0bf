"""Erase a data subject: destroy the keys, and everything that leads from one to another.

Proposed under a grant, carried out by the privacy officer's approval, in one
transaction (PIPA Art. 21, 36; GDPR Art. 17). What stays is the id of the subject and of each of its tokens,
so that they are known to be gone. The tokens no longer say whose they were, and
the log's name of the subject is in no row any more.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial

from vault.access.approvals import Decided, Decider
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.audit.packing import SUBJECT_SIZE
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, SubjectErasedError
from vault.domain.model import Role, SubjectState
from vault.lifecycle import proposals, tombstones
from vault.lifecycle.asking import Ask, Found, on_subject, said, state_of, text_of
from vault.lifecycle.proposals import ERASURE, Proposed
from vault.lifecycle.restriction import GONE
from vault.storage import subjects as rows
from vault.storage.approvals import ApprovalRow
from vault.storage.database import Connection
from vault.storage.errors import StaleRevisionError
from vault.storage.subjects import Destroyed, SubjectRow
from vault.tokens import replay

SKEW_US = 3600 * 1_000_000
"""So far may the clocks of two nodes be apart for a record to be found that one wrote a moment ago."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Idempotency records that name a subject, as far as the log had come."""

    scopes: frozenset[bytes]
    next_index: int


def propose(changes: Changes, request: Request, ask: Ask) -> Made[Proposed]:
    """Ask the officer to erase a subject; nothing changes until then.

    Raises what ``on_subject`` raises, SubjectErasedError, ConflictError while an erasure waits already.
    """

    def act(attempt: Attempt, found: Found) -> Change[Proposed]:
        if found.state is SubjectState.ERASED:
            raise SubjectErasedError(GONE)
        row = proposals.propose(attempt, ERASURE, found.row, ask)
        target = {"subject": str(found.row.id), "ground": ask.ground, "approval": row.id}
        proposed = Proposed(row.id, text_of(attempt, found.row))
        return Change(proposed, target, revises=True, said=said(ask, found, "proposed"))

    return on_subject(changes, request, Action.SUBJECT_ERASE, ask=ask, act=act)


def scan(changes: Changes, row: ApprovalRow) -> Scan:
    """Look through all idempotency records for those that name the subject of a proposal.

    Outside the transaction: there may be a day's worth of them, and nobody has to wait.
    """
    subject_id = int(row.target.partition("/")[0])
    with changes.database.reading() as connection:
        following = changes.database.counter(connection).next_index
        return Scan(_naming(connection, subject_id), following)


def decider(found: Scan | None) -> Decider:
    """Return who decides erasures and what the decision does, given what was scanned before."""
    return Decider(role=Role.OFFICER, carry_out=partial(carry_out, found=found))


def carry_out(attempt: Attempt, row: ApprovalRow, *, approve: bool, found: Scan | None) -> Decided:
    """Erase the subject that ``row`` proposes, if that was approved.

    Raises ConflictError, NotFoundError, AccessDeniedError, StaleRevisionError (to be tried again).
    """
    if not approve:
        return ()
    subject, ground = proposals.proposed(attempt, row)
    if state_of(attempt, subject) is SubjectState.ERASED:
        raise ConflictError("the subject was erased already")
    connection = attempt.connection
    # Fresh, so that it stands in no entry: the log cannot be joined to what is left.
    gone = rows.destroy(connection, subject.id, log_subject=os.urandom(SUBJECT_SIZE))
    known = found or Scan(frozenset(), 0)
    rows.drop_replays(connection, known.scopes)
    proposals.withdraw_others(attempt, subject.id, row)
    attempt.after_append(partial(_finish, attempt, subject, known))
    told = _told(attempt, row, ground, gone)
    text = text_of(attempt, subject)
    tombstones.leave(attempt, "erase", subject.id, position=1, facts={**told, "subject": text})
    target = {name: str(value) for name, value in told.items()} | {"subject": str(subject.id)}
    return ((Action.SUBJECT_ERASE, target),)


def _told(attempt: Attempt, row: ApprovalRow, ground: str, gone: Destroyed) -> dict[str, str | int]:
    return {
        "data_keys": gone.data_keys,
        "values": gone.values,
        "digests": gone.digests,
        "references": gone.references,
        "ground": ground,
        "proposed_by": row.proposed_by,
        "approved_by": attempt.request.actor.id,
        "approval": row.id,
    }


def _finish(attempt: Attempt, subject: SubjectRow, known: Scan, _indexes: tuple[int, ...]) -> None:
    """Under the log's lock: drop the records made since the scan; raise where anything came in between."""
    connection = attempt.connection
    since_us = attempt.now_us - SKEW_US if known.next_index else 0
    newer = _naming(connection, subject.id, since_us=since_us, start=known.next_index)
    rows.drop_replays(connection, newer)
    if rows.is_left(connection, subject.id):
        raise StaleRevisionError("something of the subject was written meanwhile")


def _naming(
    connection: Connection, subject_id: int, *, since_us: int = 0, start: int = 0
) -> frozenset[bytes]:
    """Return the scopes of the records that name the subject."""
    suspects = rows.find_replays(connection, replay.needle(subject_id), since_us=since_us, start=start)
    return frozenset(scope for scope, kept in suspects if replay.names(kept, subject_id))
