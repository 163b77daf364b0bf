"""Restrict the processing of a data subject, and lift that again (PIPA Art. 37; GDPR Art. 18).

A restriction narrows, so one person puts it in force, at once. Lifting it
widens, so it waits for the privacy officer. The state is bound into the wrapped
data keys (docs/formats/envelope.md 5.2): to change it is to wrap them anew.
"""

from __future__ import annotations

import os

from keys.datakeys import Binding
from keys.envelope import NONCE_LENGTH
from keys.errors import KeysError
from vault.access.approvals import Decided, Decider
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, KeySuspendedError, SubjectErasedError
from vault.domain.model import Role, SubjectState
from vault.lifecycle import proposals, tombstones
from vault.lifecycle.asking import Ask, Found, on_subject, said, state_of, text_of
from vault.lifecycle.proposals import LIFTING, Proposed
from vault.storage import keys as key_rows
from vault.storage import subjects as rows
from vault.storage import suspects
from vault.storage.approvals import ApprovalRow
from vault.storage.errors import StaleRevisionError
from vault.storage.subjects import SubjectRow

GONE = "the subject was erased"


def restrict(changes: Changes, request: Request, ask: Ask) -> Made[str]:
    """Put a restriction in force; return the text of the subject's id.

    Nothing of the subject is released under a later log index, on any node. Raises what
    ``on_subject`` raises, SubjectErasedError, ConflictError for one who is not open.
    """

    def act(attempt: Attempt, found: Found) -> Change[str]:
        if found.state is SubjectState.ERASED:
            raise SubjectErasedError(GONE)
        if found.state is not SubjectState.OPEN:
            raise ConflictError(f"the subject is {found.state.name.lower()} already")
        move(attempt, found.row, SubjectState.RESTRICTED)
        tombstones.leave(attempt, "restrict", found.row.id)
        target = {"subject": str(found.row.id), "ground": ask.ground}
        return Change(text_of(attempt, found.row), target, revises=True, said=said(ask, found, "restricted"))

    return on_subject(changes, request, Action.SUBJECT_RESTRICT, ask=ask, act=act)


def propose_lifting(changes: Changes, request: Request, ask: Ask) -> Made[Proposed]:
    """Ask the officer to lift a restriction.

    Raises what ``on_subject`` raises, SubjectErasedError, ConflictError for one who is not
    restricted or whose lifting waits already.
    """

    def act(attempt: Attempt, found: Found) -> Change[Proposed]:
        if found.state is SubjectState.ERASED:
            raise SubjectErasedError(GONE)
        _require_restricted(found.state)
        row = proposals.propose(attempt, LIFTING, found.row, ask)
        target = {"subject": str(found.row.id), "ground": ask.ground, "approval": row.id}
        proposed = Proposed(row.id, text_of(attempt, found.row))
        return Change(proposed, target, revises=True, said=said(ask, found, "proposed"))

    return on_subject(changes, request, Action.SUBJECT_LIFT, ask=ask, act=act)


def carry_out(attempt: Attempt, row: ApprovalRow, *, approve: bool) -> Decided:
    """Lift the restriction that ``row`` is about, if that was approved.

    Raises ConflictError, NotFoundError, AccessDeniedError, TamperDetectedError.
    """
    if not approve:
        return ()
    subject, ground = proposals.proposed(attempt, row)
    _require_restricted(state_of(attempt, subject))
    move(attempt, subject, SubjectState.OPEN)
    tombstones.leave(attempt, "lift", subject.id, position=1)
    target = {
        "subject": str(subject.id),
        "ground": ground,
        "proposed_by": row.proposed_by,
        "approved_by": attempt.request.actor.id,
        "approval": row.id,
    }
    return ((Action.SUBJECT_LIFT, target),)


DECIDER = Decider(role=Role.OFFICER, carry_out=carry_out)


def move(attempt: Attempt, subject: SubjectRow, state: SubjectState) -> None:
    """Wrap every data key of the subject for another state, and store that.

    Raises StaleRevisionError where somebody was faster, so that all is read again,
    KeySuspendedError, and TamperDetectedError for a key that does not unwrap where it stands.
    """
    connection, keyring = attempt.connection, attempt.keyring
    active = keyring.active_epoch()
    changed = []
    found = list(key_rows.read_data_keys_of(connection, {subject.id}))
    if not keyring.suspended_epochs.isdisjoint(epoch for _, _, epoch, _, _ in found):
        raise KeySuspendedError("a key of this subject is suspended: nothing of theirs opens anyway")
    if not keyring.compromised_epochs.isdisjoint(epoch for _, _, epoch, _, _ in found):
        # Under another epoch nobody would see that its values are to be sealed anew (envelope.md 4.9).
        suspects.mark_subject(connection, subject.id)
    for subject_id, generation, epoch, wrapped, _ in found:
        binding = Binding(subject_id, generation, subject.state)
        nonce = os.urandom(NONCE_LENGTH)
        try:
            fresh = keyring.epoch(epoch).rewrap(binding, wrapped, to=active, nonce=nonce, state=state)
        except KeysError:
            raise attempt.tampered("data_key", subject.id) from None
        changed.append((subject_id, generation, wrapped, fresh))
    if not changed:
        raise attempt.tampered("data_key", subject.id)
    moved = key_rows.replace_data_keys(connection, active.epoch, changed)
    if moved != len(changed) or not rows.set_state(connection, subject.id, subject.state, state):
        raise StaleRevisionError("the subject's keys changed meanwhile")

    def require_all(_indexes: tuple[int, ...]) -> None:
        # A key that was added meanwhile would be bound to the state of before.
        if rows.count_data_keys_of(connection, subject.id) != len(changed):
            raise StaleRevisionError("the subject has another key by now")

    attempt.after_append(require_all)


def _require_restricted(state: SubjectState) -> None:
    if state is not SubjectState.RESTRICTED:
        raise ConflictError("the subject is not restricted")
