"""Grants and approvals: who may do what, and who has agreed to it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from api.v1 import asked, told
from api.v1.calls import (
    NO_BODY,
    ApprovalPath,
    Asked,
    GrantPath,
    answer,
    logged,
    moment,
    moment_or_none,
    reading,
)
from api.v1.documents import documented
from vault.domain.actions import Action
from vault.domain.errors import InvalidInputError
from vault.service.approvals import ApprovalRow
from vault.service.grants import GrantRow, Terms

router: Final = APIRouter(tags=["rights"])

_MEMBERS: Final = {"kind": "actor_kind", "days": "valid_days", "holder": "actor_id"}
"""What the vault's words for parts of a grant are called in a body."""


@router.get(
    "/v1/grants", **documented(Action.GRANT_LIST, "List grants as they are now", answer=told.GrantList)
)
def list_grants(call: Asked) -> Response:
    """Every grant, ended ones included."""
    made = call.vault.grants.list(call.request)
    return answer(told.GrantList(items=tuple(map(_grant, made.value)), **logged(made)))


@router.post(
    "/v1/grants",
    **documented(
        Action.GRANT_PROPOSE,
        "Propose a grant",
        body=asked.GrantBody,
        answer=told.ProposedAnswer,
        status=201,
        errors=(404, 409),
    ),
)
def propose_grant(call: Asked, body: Annotated[asked.GrantBody, reading(asked.GrantBody)]) -> Response:
    """Propose a grant. One that yields plaintext, or opens anything to a service, awaits the officer."""
    terms = Terms(
        holder_kind=body.actor_kind,
        holder=body.actor_id,
        actions=tuple(body.actions),
        fields=tuple(body.fields),
        purposes=tuple(body.purposes),
        reason=body.reason,
        reveal=body.reveal,
        networks=tuple(body.networks),
        days=body.valid_days,
    )
    try:
        made = call.vault.grants.propose(call.request, terms)
    except InvalidInputError as error:
        name = _MEMBERS.get(error.rule) or _MEMBERS.get(error.field) or error.field
        raise type(error)(error.detail, field=name, rule=error.rule) from None
    proposed = made.value
    shown = told.ProposedAnswer(
        grant_id=proposed.grant_id,
        state=proposed.state,
        valid_until=moment(proposed.valid_until),
        approval_id=proposed.approval_id or None,
        **logged(made),
    )
    return answer(shown, 201)


@router.post(
    "/v1/grants/{grant_id}/revoke",
    dependencies=[NO_BODY],
    **documented(
        Action.GRANT_REVOKE,
        "End a grant, or withdraw one that waits",
        answer=told.Logged,
        errors=(404, 409),
    ),
)
def revoke_grant(call: Asked, grant_id: GrantPath) -> Response:
    """End a grant. Nothing is released under it once this is answered, on any node."""
    return answer(told.Logged(**logged(call.vault.grants.revoke(call.request, grant_id))))


@router.get(
    "/v1/approvals",
    **documented(Action.APPROVAL_LIST, "List what waits and what was decided", answer=told.ApprovalList),
)
def list_approvals(call: Asked) -> Response:
    """Every approval, oldest first."""
    made = call.vault.approvals.list(call.request)
    return answer(told.ApprovalList(items=tuple(map(_approval, made.value)), **logged(made)))


@router.post(
    "/v1/approvals/{approval_id}",
    **documented(
        Action.APPROVAL_DECIDE,
        "Approve or refuse",
        body=asked.DecisionBody,
        answer=told.ApprovalAnswer,
        errors=(404, 409),
    ),
)
def decide_approval(
    call: Asked,
    approval_id: ApprovalPath,
    body: Annotated[asked.DecisionBody, reading(asked.DecisionBody)],
) -> Response:
    """Decide what somebody else has asked for. For officers; never about oneself."""
    made = call.vault.approvals.decide(call.request, approval_id, approve=body.decision == "approve")
    return answer(told.ApprovalAnswer(approval=_approval(made.value), **logged(made)))


def _grant(row: GrantRow) -> told.GrantView:
    return told.GrantView(
        id=row.id,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        actions=row.actions,
        fields=row.fields,
        purposes=row.purposes,
        reveal=row.reveal or None,
        networks=row.networks,
        valid_from=moment(row.valid_from),
        valid_until=moment(row.valid_until),
        state=row.state,
        proposed_by=row.proposed_by,
        decided_by=row.decided_by or None,
        reason=row.reason,
        changed_at=moment(row.changed_at),
    )


def _approval(row: ApprovalRow) -> told.ApprovalView:
    return told.ApprovalView(
        id=row.id,
        kind=row.kind,
        target=row.target,
        state=row.state,
        proposed_by=row.proposed_by,
        proposed_at=moment(row.proposed_at),
        decided_by=row.decided_by or None,
        decided_at=moment_or_none(row.decided_at),
    )
