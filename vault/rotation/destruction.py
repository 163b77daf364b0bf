"""Destroy a key for good: two administrators, and a census of zero.

One administrator proposes, another approves; the census is taken at both. The
entry that ends the key names it, what hung on it (nothing), and both people;
the next checkpoint signs it with the log. After that the row keeps the name
and dates of the key, and no material (NIST SP 800-57 Part 1 Rev. 5, 8.3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from keys.errors import IllegalTransitionError
from keys.keyring import KeyKind, KeyRecord
from keys.states import KeyState, require_transition
from vault.access import throttle
from vault.access.accounts import login_text
from vault.access.approvals import Decided, Decider
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.access.identities import SECOND_US, new_approval_id
from vault.audit import hanging as of_log
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError, NotFoundError
from vault.domain.model import Role
from vault.rotation import hanging
from vault.rotation.names import require_reason, require_scope
from vault.storage import census
from vault.storage import keys as rows
from vault.storage.approvals import ApprovalRow
from vault.storage.database import Connection

KIND = "key"
NEVER = MappingProxyType(
    {KeyKind.TOKEN: "a key of tokens never ends: every token made with it needs it, and nobody counts those"}
)
"""Kinds whose keys are not destroyed, and why."""

_HOLDING_THE_TREE = frozenset({KeyKind.AUTHORITY, KeyKind.LOG_SIGNING})
"""Kinds that the tree of the log hangs on: it is held while one of their keys ends."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A destruction that waits for another administrator."""

    approval_id: str
    key: str


def propose(changes: Changes, request: Request, *, kind: str, scope: str, version: int) -> Made[Proposed]:
    """Ask for the destruction of a key that nothing hangs on. For administrators.

    Without a ``scope`` the log signing key is found by its version alone.
    Raises AccessDeniedError, NotFoundError, InvalidInputError (a kind that never
    ends, no reason), ConflictError (in use, something hangs on it, held, or it waits already).
    """
    target = {"key": f"{kind}/{require_scope(scope)}/{version}"}

    def act(attempt: Attempt) -> Change[Proposed]:
        require_reason(request)
        record = _found(attempt.connection, kind, scope, version)
        _require_ready(attempt, record)
        waiting = attempt.authority.approvals.values()
        if any(row.state == "open" and (row.kind, row.target) == (KIND, record.name) for row in waiting):
            raise ConflictError("this waits for another administrator already")
        row = attempt.put(
            ApprovalRow(
                id=new_approval_id(),
                kind=KIND,
                target=record.name,
                proposed_by=attempt.request.actor.id,
                proposed_at=attempt.now_us,
                state="open",
                decided_by="",
                decided_at=None,
                version=1,
                mac=b"",
            )
        )
        said = {"key": record.name, "approval": row.id}
        return Change(Proposed(row.id, record.name), said, revises=True)

    return changes.make(request, Action.KEY_DESTROY, act, target=target)


def carry_out(attempt: Attempt, row: ApprovalRow, *, approve: bool) -> Decided:
    """Destroy what ``row`` proposes, if that was approved. Raises ConflictError, NotFoundError."""
    if not approve:
        return ()
    proposer = attempt.authority.staff.get(row.proposed_by)
    if proposer is None or proposer.row.state != "active" or Role.ADMINISTRATOR not in proposer.row.roles:
        raise ConflictError("whoever proposed this is no administrator any more: refuse it")
    kind, _, rest = row.target.partition("/")
    scope, _, version = rest.rpartition("/")
    record = _found(attempt.connection, kind, scope, int(version))
    _require_ready(attempt, record)
    if record.kind is KeyKind.SESSION:
        _carry_over_failures(attempt, record.version)
    rows.destroy_key(attempt.connection, record, now_us=attempt.now_us)
    record_of_it = {
        "key": record.name,
        "from": record.state.value,
        "to": KeyState.DESTROYED.value,
        "census": "0",
        "proposed_by": row.proposed_by,
        "approved_by": attempt.request.actor.id,
        "approval": row.id,
    }
    return ((Action.KEY_DESTROY, record_of_it),)


DECIDER = Decider(role=Role.ADMINISTRATOR, carry_out=carry_out)


def _found(connection: Connection, kind: str, scope: str, version: int) -> KeyRecord:
    found = []
    for record in rows.read_keys(connection):
        any_scope = record.kind is KeyKind.LOG_SIGNING and not scope
        if (record.kind.value, record.version) == (kind, version) and (any_scope or record.scope == scope):
            found.append(record)
    if not found:
        raise NotFoundError("there is no such key")
    if len(found) > 1:
        raise ConflictError("several logs have a key of this version: name the scope, see the census")
    return found[0]


def _require_ready(attempt: Attempt, record: KeyRecord) -> None:
    """Raise unless ``record`` may be destroyed now and nothing hangs on it."""
    connection = attempt.connection
    if record.kind in NEVER:
        raise InvalidInputError(f"kind: {NEVER[record.kind]}", field="kind", rule="never_ends")
    try:
        require_transition(record.state, KeyState.DESTROYED)
    except IllegalTransitionError:
        state = "destroyed already" if record.state is KeyState.DESTROYED else record.state.value
        raise ConflictError(f"the key is {state}; only one that is out of use can be destroyed") from None
    if record.kind in hanging.KINDS:
        _require_unused(attempt, record)
        return
    if record.kind is KeyKind.WRAPPING:
        number, what = rows.count_hanging(connection).get(record.version, 0), "data keys"
    else:
        number, what = census.count_digests(connection).get((record.scope, record.version), 0), "digests"
    if number:
        raise ConflictError(f"{number:,} {what} still hang on this key: move them first, see the census")


def _require_unused(attempt: Attempt, record: KeyRecord) -> None:
    """Raise ConflictError while anything hangs on a key that is not one of values, or it is held."""
    connection = attempt.connection
    if record.kind in _HOLDING_THE_TREE:
        of_log.lock(connection)
    dates = rows.read_key_dates(connection)
    scene = hanging.Scene(connection, attempt.keyring, dates, attempt.now_us)
    load = hanging.KINDS[record.kind](scene)(record)
    for what, number in load.counts.items():
        if number:
            things = what.replace("_", " ")
            raise ConflictError(f"{number:,} {things} still hang on this key, see the census")
    if load.held_until_us is not None:
        until = datetime.fromtimestamp(load.held_until_us / SECOND_US, UTC)
        raise ConflictError(f"the key may still be needed: not before {until:%Y-%m-%d %H:%M} UTC")


def _carry_over_failures(attempt: Attempt, version: int) -> None:
    """Count the failed logins of everybody registered under the key in force: a lock-out outlives a key."""
    sessions = attempt.keyring.sessions
    for member in attempt.authority.staff.values():
        text = login_text(member.row.login)
        older = sessions.session_digest_under(version, text)
        throttle.carry_over(attempt.connection, sessions.session_digest(text), (older,))
