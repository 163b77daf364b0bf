"""Show what is kept of a data subject: state, and number of live tokens in each field. No value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from keys.datakeys import Binding
from keys.errors import KeysError
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.domain.actions import Action
from vault.domain.model import SubjectState
from vault.lifecycle.asking import Ask, Found, on_subject, said, text_of
from vault.storage import keys as key_rows
from vault.storage import tombstones as stones
from vault.storage.subjects import SubjectRow
from vault.storage.tombstones import TombstoneRow

_LEADS_TO: Final = MappingProxyType(
    {
        stones.ERASE: SubjectState.ERASED,
        stones.RESTRICT: SubjectState.RESTRICTED,
        stones.LIFT: SubjectState.OPEN,
    }
)
_NEEDS_STONE: Final = frozenset({SubjectState.ERASED, SubjectState.RESTRICTED})


State = Literal["open", "restricted", "archived", "erased"]
_NAMES: Final[Mapping[SubjectState, State]] = MappingProxyType(
    {
        SubjectState.OPEN: "open",
        SubjectState.RESTRICTED: "restricted",
        SubjectState.ARCHIVED: "archived",
        SubjectState.ERASED: "erased",
    }
)


@dataclass(frozen=True, slots=True)
class SubjectView:
    """What is shown of a subject. Times are microseconds since the epoch."""

    subject: str
    """Text of the id."""
    kind: str
    state: State
    since: int
    """When it came into this state."""
    created_at: int
    live: dict[str, int]
    """Number of live tokens by field."""
    certificate: str
    """Id of the certificate of an erasure; else empty."""


def show(changes: Changes, request: Request, ask: Ask) -> Made[SubjectView]:
    """Show a subject. Raises what ``on_subject`` raises, TamperDetectedError where its rows contradict."""

    def act(attempt: Attempt, found: Found) -> Change[SubjectView]:
        row = found.row
        stone = _checked(attempt, row, found.state)
        view = SubjectView(
            subject=text_of(attempt, row),
            kind=row.kind,
            state=_NAMES[found.state],
            since=row.created_at if stone is None else stone.at_us,
            created_at=row.created_at,
            live=found.live,
            certificate=_certificate(attempt, stone),
        )
        return Change(view, {}, revises=False, said=said(ask, found, "shown", linked=True))

    return on_subject(changes, request, Action.SUBJECT_SHOW, ask=ask, act=act)


def _checked(attempt: Attempt, row: SubjectRow, state: SubjectState) -> TombstoneRow | None:
    """Return the latest tombstone, once keys and tombstone agree with the stored state.

    Keys on a suspended epoch say nothing of it until they open again.
    """
    for subject_id, generation, epoch, wrapped, _ in key_rows.read_data_keys_of(attempt.connection, {row.id}):
        try:
            if state is SubjectState.ERASED:
                raise attempt.tampered("data_key", row.id)
            if epoch in attempt.keyring.suspended_epochs:
                continue
            attempt.keyring.epoch(epoch).unwrap(Binding(subject_id, generation, row.state), wrapped)
        except KeysError:
            raise attempt.tampered("data_key", row.id) from None
    stone = stones.last_tombstone_of(attempt.connection, row.id)
    if stone is None:
        if state in _NEEDS_STONE:
            raise attempt.tampered("subject", row.id)
        return None
    if _LEADS_TO[attempt.genuine(stone).act] is not state:
        raise attempt.tampered("subject", row.id)
    return stone


def _certificate(attempt: Attempt, stone: TombstoneRow | None) -> str:
    if stone is None or stone.act != stones.ERASE:
        return ""
    row = stones.certificate_of(attempt.connection, stone.seq)
    return "" if row is None else attempt.genuine(row).id
