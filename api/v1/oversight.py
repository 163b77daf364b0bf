"""The log for reviewers, and the state of the vault for everybody who may log in."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from api.v1 import told
from api.v1.calls import Asked, answer, logged, moment, moment_or_none
from api.v1.documents import PUBLIC, documented
from vault.domain.actions import Action
from vault.service.audit import PAGE, Filters

router: Final = APIRouter(tags=["oversight"])

FURTHEST: Final = (1 << 62) - 1

Index = Annotated[int, Query(ge=0, le=FURTHEST)]
Position = Annotated[int, Path(ge=0, le=FURTHEST)]
Word = Annotated[str, Query(max_length=200)]


@router.get(
    "/v1/audit/entries",
    **documented(Action.AUDIT_LIST, "List entries of the log, the newest first", answer=told.EntryPage),
)
def list_entries(
    call: Asked,
    *,
    before: Annotated[int | None, Query(ge=0, le=FURTHEST)] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    actor: Word = "",
    action: Word = "",
    outcome: Word = "",
    request: Word = "",
    purpose: Word = "",
) -> Response:
    """One page. A page may hold fewer than asked for, and ``next`` all the same: go on until it is none."""
    filters = Filters(actor=actor, action=action, outcome=outcome, request=request, purpose=purpose)
    page = call.vault.audit.list(call.request, filters, before=before, limit=limit)
    return answer(told.EntryPage(items=page.entries, next=page.next))


@router.get(
    "/v1/audit/entries/{index}",
    **documented(Action.AUDIT_SHOW, "Show one entry with its reason", answer=told.EntryAnswer, errors=(404,)),
)
def show_entry(call: Asked, index: Position) -> Response:
    """Show one entry, with the reason that was given for it."""
    return answer(call.vault.audit.show(call.request, index))


@router.get(
    "/v1/audit/export",
    **documented(
        Action.AUDIT_EXPORT, "Export the next stretch of the log", answer=told.ExportAnswer, errors=(404,)
    ),
)
def export_entries(call: Asked, start: Index = 0) -> Response:
    """Give stored bytes from ``start`` on, with the checkpoints on the first page: all a verifier needs."""
    page = call.vault.audit.export_page(call.request, start=start)
    return answer(
        told.ExportAnswer(
            start=page.start,
            size=page.size,
            entries=[b64encode(body).decode("ascii") for body in page.bodies],
            checkpoints=page.checkpoints,
        )
    )


@router.get(
    "/v1/audit/key",
    **documented(None, "Show the public key of the log", answer=told.VkeyAnswer, security=PUBLIC),
)
def show_key(call: Asked) -> Response:
    """Show the key. Note it down elsewhere: one that comes with what it is to verify proves nothing.

    After a rotation ``keys`` has the one before as well: both sign until that is destroyed. A sealed
    process says what stands in the database and has checked nothing.
    """
    keys = call.vault.audit.public_keys()
    views = (told.LogKeyView(key.vkey, moment(key.since_us), moment_or_none(key.replaced_us)) for key in keys)
    return answer(told.VkeyAnswer(keys[0].vkey, tuple(views)))


@router.get(
    "/v1/status", **documented(Action.VAULT_STATUS, "Show the state of the vault", answer=told.StatusAnswer)
)
def show_status(call: Asked) -> Response:
    """State of the vault, for everybody who can log in."""
    made = call.vault.show_status(call.request)
    status = made.value
    return answer(
        told.StatusAnswer(
            vault_id=status.vault_id,
            database=status.database,
            root_key=status.root_key,
            revision=status.revision,
            sealed=status.sealed,
            next_index=status.next_index,
            integrated=status.health.integrated,
            trouble=status.health.trouble,
            log_key=status.log_key,
            keys=status.keys.value,
            late_keys=status.late,
            compromised_keys=status.compromised,
            suspended_keys=status.suspended,
            **logged(made),
        )
    )
