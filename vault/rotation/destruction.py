"""Destroy a key for good: two administrators, and a census of zero.

One administrator proposes, another approves; the census is taken at both. The
entry that ends the key names it, what hung on it (nothing), and both people;
the next checkpoint signs it with the log. After that the row keeps the name
and dates of the key, and no material (NIST SP 800-57 Part 1 Rev. 5, 8.3.4).
"""

from __future__ import annotations

from dataclasses import dataclass

from keys.errors import IllegalTransitionError
from keys.keyring import KeyKind, KeyRecord
from keys.states import KeyState, require_transition
from vault.access.approvals import Decided, Decider
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.access.identities import new_approval_id
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError, NotFoundError
from vault.domain.model import Role
from vault.rotation.names import require_reason, require_scope
from vault.storage import census
from vault.storage import keys as rows
from vault.storage.approvals import ApprovalRow
from vault.storage.database import Connection

KIND = "key"
COUNTED = frozenset({KeyKind.WRAPPING, KeyKind.LOOKUP})
"""Kinds with a census. The others cannot be shown to be unused, so they are not destroyed here."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """A destruction that waits for another administrator."""

    approval_id: str
    key: str


def propose(changes: Changes, request: Request, *, kind: str, scope: str, version: int) -> Made[Proposed]:
    """Ask for the destruction of a key that nothing hangs on. For administrators.

    Raises AccessDeniedError, NotFoundError, InvalidInputError (a kind without a
    census, no reason), ConflictError (in use, something hangs on it, or it waits already).
    """
    target = {"key": f"{kind}/{require_scope(scope)}/{version}"}

    def act(attempt: Attempt) -> Change[Proposed]:
        require_reason(request)
        record = _found(attempt.connection, kind, scope, version)
        _require_ready(attempt.connection, record)
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
        return Change(Proposed(row.id, record.name), {**target, "approval": row.id}, revises=True)

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
    _require_ready(attempt.connection, record)
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
    for record in rows.read_keys(connection):
        if (record.kind.value, record.scope, record.version) == (kind, scope, version):
            return record
    raise NotFoundError("there is no such key")


def _require_ready(connection: Connection, record: KeyRecord) -> None:
    """Raise unless ``record`` may be destroyed now and nothing hangs on it."""
    if record.kind not in COUNTED:
        known = ", ".join(sorted(COUNTED))
        raise InvalidInputError(f"kind: one of {known}", field="kind", rule="not_counted")
    try:
        require_transition(record.state, KeyState.DESTROYED)
    except IllegalTransitionError:
        state = "destroyed already" if record.state is KeyState.DESTROYED else record.state.value
        raise ConflictError(f"the key is {state}; only one that is out of use can be destroyed") from None
    if record.kind is KeyKind.WRAPPING:
        # Whoever holds the database can write another epoch beside a key, not into its header: the header
        # is what tells which epoch opens it.
        stated = rows.count_data_keys(connection).get(record.version, 0)
        hanging, what = max(stated, rows.count_sealed_under(connection, record.version)), "data keys"
    else:
        hanging, what = census.count_digests(connection).get((record.scope, record.version), 0), "digests"
    if hanging:
        raise ConflictError(f"{hanging:,} {what} still hang on this key: move them first, see the census")
