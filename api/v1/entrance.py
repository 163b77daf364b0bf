"""Ways in for people: sessions, passwords, enrolment."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from api.v1 import asked, told
from api.v1.calls import NO_BODY, Asked, Hashing, answer, moment, nothing, reading
from api.v1.documents import PUBLIC, documented
from vault.domain.actions import Action
from vault.service.sessions import Opened

router: Final = APIRouter(tags=["entrance"])

SOON_US: Final = 14 * 24 * 3_600 * 1_000_000
"""So long before a password is past its age its owner is told at each login."""


@router.post(
    "/v1/session",
    **documented(
        Action.SESSION_OPEN,
        "Log in with password and authenticator",
        body=asked.LoginBody,
        answer=told.SessionAnswer,
        status=201,
        errors=(401, 429),
        security=PUBLIC,
    ),
)
async def open_session(
    call: Asked, hashing: Hashing, body: Annotated[asked.LoginBody, reading(asked.LoginBody)]
) -> Response:
    """Open a session. One message for an unknown login, a wrong password and a wrong or used code."""
    opened = await hashing.run(
        lambda: call.vault.sessions.open(
            body.login, password=body.password, code=body.code, origin=call.origin, now_us=call.now_us
        )
    )
    shown = told.SessionAnswer(
        session=opened.secret.expose(),
        session_id=opened.actor.session,
        expires_at=moment(opened.expires_us),
        password_renewal_at=moment(opened.password_renewal_us),
        staff=told.StaffReference(opened.actor.id, opened.actor.name, opened.actor.roles),
        log_index=opened.log_index,
        warnings=_warnings(opened, call.now_us),
    )
    return answer(shown, 201)


@router.delete(
    "/v1/session",
    dependencies=[NO_BODY],
    **documented(Action.SESSION_CLOSE, "Log out", answer=None, status=204),
)
def close_session(call: Asked) -> Response:
    """Close the session that is shown."""
    call.vault.sessions.close(call.request)
    return nothing()


@router.post(
    "/v1/password",
    **documented(
        Action.STAFF_PASSWORD,
        "Set a new password with the old one and a code",
        body=asked.PasswordBody,
        answer=None,
        status=204,
        errors=(401, 429),
        security=PUBLIC,
    ),
)
async def renew_password(
    call: Asked, hashing: Hashing, body: Annotated[asked.PasswordBody, reading(asked.PasswordBody)]
) -> Response:
    """Renew a password. Every open session of its owner ends."""
    await hashing.run(
        lambda: call.vault.sessions.renew_password(
            body.login,
            password=body.password,
            code=body.code,
            new_password=body.new_password,
            origin=call.origin,
            now_us=call.now_us,
        )
    )
    return nothing()


@router.post(
    "/v1/enrolment",
    **documented(
        Action.STAFF_ENROL,
        "Show what the authenticator needs",
        body=asked.InvitationBody,
        answer=told.OfferAnswer,
        errors=(401,),
        security=PUBLIC,
    ),
)
def begin_enrolment(
    call: Asked, body: Annotated[asked.InvitationBody, reading(asked.InvitationBody)]
) -> Response:
    """Begin an enrolment. May be asked again; only the secret shown last enrols."""
    offer = call.vault.staff.begin_enrolment(body.invitation, origin=call.origin, now_us=call.now_us)
    return answer(
        told.OfferAnswer(
            login=offer.login,
            name=offer.name,
            provisioning_uri=offer.provisioning_uri.expose(),
            secret=offer.secret.expose(),
            suggested_password=offer.suggested_password.expose(),
        )
    )


@router.post(
    "/v1/enrolment/finish",
    **documented(
        Action.STAFF_ENROL,
        "Set password and authenticator",
        body=asked.FinishBody,
        answer=told.EnrolledAnswer,
        errors=(401, 429),
        security=PUBLIC,
    ),
)
async def finish_enrolment(
    call: Asked, hashing: Hashing, body: Annotated[asked.FinishBody, reading(asked.FinishBody)]
) -> Response:
    """Finish an enrolment. Burns the invitation; the officer approves, except at the very beginning."""
    enrolled = await hashing.run(
        lambda: call.vault.staff.finish_enrolment(
            body.invitation,
            password=body.password,
            code=body.code,
            origin=call.origin,
            now_us=call.now_us,
        )
    )
    return answer(
        told.EnrolledAnswer(
            staff_id=enrolled.staff_id,
            login=enrolled.login,
            state=enrolled.state,
            log_index=enrolled.log_index,
        )
    )


def _warnings(opened: Opened, now_us: int) -> tuple[str, ...]:
    if opened.password_renewal_us <= now_us:
        return ("password_overdue",)
    return ("password_renewal_due",) if opened.password_renewal_us <= now_us + SOON_US else ()
