"""Staff and services: who may come at all."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from api.v1 import asked, told
from api.v1.calls import (
    NO_BODY,
    Asked,
    ServicePath,
    StaffPath,
    answer,
    logged,
    moment,
    moment_or_none,
    reading,
)
from api.v1.documents import documented
from vault.domain.actions import Action
from vault.service import Made
from vault.service.services import Secret, ServiceAccount
from vault.service.staff import Invited, Person, StaffMember, parse_role

router: Final = APIRouter(tags=["people"])


@router.get(
    "/v1/staff",
    **documented(Action.STAFF_LIST, "List everybody, those who left included", answer=told.StaffList),
)
def list_staff(call: Asked) -> Response:
    """Everybody of the register. For administrators, officers and reviewers."""
    made = call.vault.staff.list(call.request)
    return answer(told.StaffList(items=tuple(map(_member, made.value)), **logged(made)))


@router.post(
    "/v1/staff",
    **documented(
        Action.STAFF_INVITE,
        "Register a person",
        body=asked.InviteBody,
        answer=told.InvitedAnswer,
        status=201,
        errors=(409,),
    ),
)
def invite(call: Asked, body: Annotated[asked.InviteBody, reading(asked.InviteBody)]) -> Response:
    """Invite a person. The code is shown this once; the login is theirs for ever."""
    person = Person(
        login=body.login,
        name=body.name,
        role=parse_role(body.role),
        team=body.team,
        employer=body.employer,
    )
    return _invited(call.vault.staff.invite(call.request, person))


@router.post(
    "/v1/staff/{staff_id}/invitation",
    dependencies=[NO_BODY],
    **documented(
        Action.STAFF_INVITE,
        "Invite a person again",
        answer=told.InvitedAnswer,
        status=201,
        errors=(404, 409),
    ),
)
def invite_again(call: Asked, staff_id: StaffPath) -> Response:
    """Invite somebody again who lost code, password or authenticator. Whatever they had ends."""
    return _invited(call.vault.staff.invite_again(call.request, staff_id))


@router.post(
    "/v1/staff/{staff_id}/leave",
    dependencies=[NO_BODY],
    **documented(Action.STAFF_LEAVE, "Let a person go", answer=told.Logged, errors=(404, 409)),
)
def leave(call: Asked, staff_id: StaffPath) -> Response:
    """End a person's sessions, grants, services and proposals at once."""
    return answer(told.Logged(**logged(call.vault.staff.leave(call.request, staff_id))))


@router.get(
    "/v1/services",
    **documented(Action.SERVICE_LIST, "List services, revoked ones included", answer=told.ServiceList),
)
def list_services(call: Asked) -> Response:
    """Every service with its secrets' lifetimes."""
    made = call.vault.services.list(call.request)
    return answer(told.ServiceList(items=tuple(map(_service, made.value)), **logged(made)))


@router.post(
    "/v1/services",
    **documented(
        Action.SERVICE_CREATE,
        "Register a service",
        body=asked.ServiceBody,
        answer=told.CredentialAnswer,
        status=201,
        errors=(404, 409),
    ),
)
def create_service(call: Asked, body: Annotated[asked.ServiceBody, reading(asked.ServiceBody)]) -> Response:
    """Register a service with an owner and its first secret, which is shown this once."""
    made = call.vault.services.create(
        call.request,
        name=body.name,
        owner=body.owner,
        networks=body.networks,
        days=body.expires_in_days,
    )
    return answer(_credential(made), 201)


@router.post(
    "/v1/services/{service_id}/rotate",
    **documented(
        Action.SERVICE_ROTATE,
        "Give a service its next secret",
        body=asked.RotateBody,
        answer=told.CredentialAnswer,
        errors=(404, 409),
    ),
)
def rotate_service(
    call: Asked,
    service_id: ServicePath,
    body: Annotated[asked.RotateBody, reading(asked.RotateBody, optional=True)],
) -> Response:
    """Give a service its next secret. The one before it stays good for the overlap, at most two at once."""
    made = call.vault.services.rotate(
        call.request, service_id, days=body.expires_in_days, overlap_hours=body.overlap_hours
    )
    return answer(_credential(made))


@router.post(
    "/v1/services/{service_id}/revoke",
    dependencies=[NO_BODY],
    **documented(Action.SERVICE_REVOKE, "Stop a service for good", answer=told.Logged, errors=(404, 409)),
)
def revoke_service(call: Asked, service_id: ServicePath) -> Response:
    """Stop a service with its secrets, access tokens and grants."""
    return answer(told.Logged(**logged(call.vault.services.revoke(call.request, service_id))))


def _invited(made: Made[Invited]) -> Response:
    invited = made.value
    shown = told.InvitedAnswer(
        staff_id=invited.staff_id,
        invitation=invited.code.expose(),
        expires_at=moment(invited.expires_us),
        **logged(made),
    )
    return answer(shown, 201)


def _credential(made: Made[Secret]) -> told.CredentialAnswer:
    secret = made.value
    return told.CredentialAnswer(
        service_id=secret.service_id,
        client_secret=secret.client_secret.expose(),
        credential_id=secret.credential_id,
        expires_at=moment(secret.expires_us),
        **logged(made),
    )


def _member(member: StaffMember) -> told.StaffView:
    row = member.row
    return told.StaffView(
        id=row.id,
        login=row.login,
        name=row.name,
        team=row.team,
        employer=row.employer,
        roles=row.roles,
        state=row.state,
        created_at=moment(row.created_at),
        password_set_at=moment_or_none(member.password_set_at),
    )


def _service(account: ServiceAccount) -> told.ServiceView:
    row = account.row
    return told.ServiceView(
        id=row.id,
        name=row.name,
        owner=row.owner,
        networks=row.networks,
        state=row.state,
        created_at=moment(row.created_at),
        credentials=tuple(
            told.CredentialView(
                id=credential.id,
                created_at=moment(credential.created_at),
                expires_at=moment(credential.expires_at),
                ends_at=moment_or_none(credential.revoked_at or None),
                ended=credential.ended,
            )
            for credential in account.credentials
        ),
    )
