"""One data subject: what is kept, restrict it, ask the officer to lift that or to erase everything."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from api.v1 import told_subjects
from api.v1.asked import SubjectBody
from api.v1.calls import NO_BODY, Asked, answer, logged, moment, reading
from api.v1.documents import documented
from api.v1.told_subjects import LiveTokens, RestrictedAnswer, SubjectProposal
from vault.domain.actions import Action
from vault.service import Made
from vault.service.subjects import Ask, Proposed

router: Final = APIRouter(tags=["subjects"])

SubjectPath = Annotated[str, Path(max_length=64, description="text of the subject's id")]
PurposeQuery = Annotated[str, Query(max_length=64, description="purpose, where the grant is limited to some")]
Body = Annotated[SubjectBody, reading(SubjectBody)]


@router.get(
    "/v1/subjects/{subject}",
    dependencies=[NO_BODY],
    **documented(
        Action.SUBJECT_SHOW,
        "Show what is kept of a data subject, without a value",
        answer=told_subjects.SubjectAnswer,
        errors=(404,),
    ),
)
def show_subject(call: Asked, subject: SubjectPath, purpose: PurposeQuery = "") -> Response:
    """Show state and number of live tokens. 404 for one that is unknown, and for one not for this caller."""
    made = call.vault.subjects.show(call.request, Ask(subject, purpose))
    seen = made.value
    shown = told_subjects.SubjectAnswer(
        subject=seen.subject,
        kind=seen.kind,
        state=seen.state,
        since=moment(seen.since),
        created_at=moment(seen.created_at),
        fields=tuple(LiveTokens(name, count) for name, count in seen.live.items()),
        certificate=seen.certificate or None,
        **logged(made),
    )
    return answer(shown)


@router.post(
    "/v1/subjects/{subject}/erase",
    **documented(
        Action.SUBJECT_ERASE,
        "Ask the officer to erase a data subject",
        body=SubjectBody,
        answer=SubjectProposal,
        status=202,
        errors=(404, 409, 410),
    ),
)
def erase_subject(call: Asked, subject: SubjectPath, body: Body) -> Response:
    """Propose it. When the officer approves, keys, values and digests are destroyed for good."""
    return _proposed(call.vault.subjects.erase(call.request, _ask(subject, body)))


@router.post(
    "/v1/subjects/{subject}/restrict",
    **documented(
        Action.SUBJECT_RESTRICT,
        "Restrict the processing of a data subject",
        body=SubjectBody,
        answer=RestrictedAnswer,
        errors=(404, 409, 410),
    ),
)
def restrict_subject(call: Asked, subject: SubjectPath, body: Body) -> Response:
    """Restrict. Nothing of the person is released once this is answered, on any node."""
    made = call.vault.subjects.restrict(call.request, _ask(subject, body))
    return answer(RestrictedAnswer(subject=made.value, **logged(made)))


@router.post(
    "/v1/subjects/{subject}/lift",
    **documented(
        Action.SUBJECT_LIFT,
        "Ask the officer to lift a restriction",
        body=SubjectBody,
        answer=SubjectProposal,
        status=202,
        errors=(404, 409, 410),
    ),
)
def lift_restriction(call: Asked, subject: SubjectPath, body: Body) -> Response:
    """Propose it. Nothing is released before the officer approves."""
    return _proposed(call.vault.subjects.lift(call.request, _ask(subject, body)))


def _ask(subject: str, body: SubjectBody) -> Ask:
    return Ask(subject, body.purpose, body.ground, body.reason or "")


def _proposed(made: Made[Proposed]) -> Response:
    proposed = made.value
    return answer(SubjectProposal(proposed.approval_id, proposed.subject, **logged(made)), 202)
