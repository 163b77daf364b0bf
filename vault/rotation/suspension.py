"""Suspend a wrapping-key epoch of which nobody knows yet whether it is safe, and resume it.

Nothing opens under a suspended epoch: whoever may have it could have planted
what hangs on it. It narrows, so one administrator is enough, and it raises the
revision: on every node, nothing that is logged later was opened under it. What
hangs on it stays where it is, until the epoch is resumed or known to be
compromised (NIST SP 800-57 Part 1 Rev. 5, 7.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keys.errors import IllegalTransitionError
from keys.keyring import KeyKind, KeyRecord
from keys.states import KeyState, require_transition
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError, NotFoundError
from vault.rotation.compromise import Also, replaced, succeed
from vault.rotation.names import require_reason
from vault.storage import keys as rows


@dataclass(frozen=True, slots=True)
class Doubted:
    """An epoch that was suspended or resumed."""

    key: str
    """Its name."""
    successor: int | None
    """Epoch that is in force in its place; None when it was not in force."""
    data_keys: int
    """Data keys that hang on it."""


def suspend(changes: Changes, request: Request, *, kind: KeyKind, version: int) -> Made[Doubted]:
    """Have nothing open under an epoch any more; a successor is in force where it was. For administrators.

    Raises AccessDeniedError, NotFoundError, InvalidInputError (another kind of
    key, no reason), ConflictError for one that is suspended, or known to be bad, already.
    """

    def move(attempt: Attempt, record: KeyRecord, epochs: list[KeyRecord]) -> tuple[int | None, Also]:
        try:
            require_transition(record.state, KeyState.SUSPENDED)
        except IllegalTransitionError:
            raise ConflictError(f"the key is {record.state.value} already") from None
        rows.set_key_state(attempt.connection, record, KeyState.SUSPENDED, now_us=attempt.now_us)
        successor = succeed(changes, attempt, record, epochs)
        return successor, replaced(record, successor)

    return _moved(
        changes, request, Action.KEY_SUSPEND, kind=kind, version=version, to=KeyState.SUSPENDED, move=move
    )


def resume(changes: Changes, request: Request, *, kind: KeyKind, version: int) -> Made[Doubted]:
    """Have what hangs on a suspended epoch open again. It does not come into force again. For administrators.

    Raises AccessDeniedError, NotFoundError, InvalidInputError (another kind of
    key, no reason), ConflictError for one that is not suspended.
    """

    def move(attempt: Attempt, record: KeyRecord, _epochs: list[KeyRecord]) -> tuple[int | None, Also]:
        if record.state is not KeyState.SUSPENDED:
            raise ConflictError(f"the key is {record.state.value}; only a suspended one can be resumed")
        rows.set_key_state(attempt.connection, record, KeyState.DEACTIVATED, now_us=attempt.now_us)
        return None, ()

    return _moved(
        changes, request, Action.KEY_RESUME, kind=kind, version=version, to=KeyState.DEACTIVATED, move=move
    )


Move = Callable[[Attempt, KeyRecord, list[KeyRecord]], tuple[int | None, Also]]
"""Moves one of the epochs there are; returns its successor, and what else the log says."""


def _moved(
    changes: Changes,
    request: Request,
    action: Action,
    *,
    kind: KeyKind,
    version: int,
    to: KeyState,
    move: Move,
) -> Made[Doubted]:
    target = {"key": f"{kind.value}//{version}"}
    # Before, and once: nobody may have to wait for the suspension until everything is counted in it.
    hanging = changes.foresee(
        request, action, lambda connection, _: rows.count_hanging(connection).get(version, 0), target=target
    )

    def act(attempt: Attempt) -> Change[Doubted]:
        require_reason(request)
        if kind is not KeyKind.WRAPPING:
            raise InvalidInputError(
                "kind: only a wrapping key can be suspended", field="kind", rule="wrapping_only"
            )
        epochs = [record for record in rows.read_keys(attempt.connection) if record.kind is kind]
        record = next((record for record in epochs if record.version == version), None)
        if record is None:
            raise NotFoundError("there is no such key")
        successor, also = move(attempt, record, epochs)
        said = {**target, "from": record.state.value, "to": to.value, "data_keys": str(hanging)}
        return Change(Doubted(record.name, successor, hanging), said, revises=True, also=also)

    return changes.make(request, action, act, target=target)
