"""Keys, for administrators: list, rotate, suspend, compromise, move and count what hangs on them, destroy."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from api.v1 import asked, suspicion, told
from api.v1.calls import NO_BODY, Asked, Call, answer, logged, moment, moment_or_none, reading
from api.v1.documents import documented
from api.v1.told_bound import BoundPart, BoundView
from vault.domain.actions import Action
from vault.domain.errors import InvalidInputError
from vault.service import Made
from vault.service.keys import Bound, Compromised, Hanging, JobView, KeyInfo

router: Final = APIRouter(tags=["keys"])


@router.get(
    "/v1/keys", **documented(Action.KEY_LIST, "List keys and what hangs on each", answer=told.KeyList)
)
def list_keys(call: Asked) -> Response:
    """Every key and its state, never its material; and when copies of the database of today are dead."""
    listing = call.vault.keys.list(call.request)
    bound = _bound(listing.bound, call.request.now_us)
    return answer(told.KeyList(items=tuple(map(_key, listing.keys)), bound=bound))


@router.post(
    "/v1/keys/rotate",
    **documented(
        Action.KEY_ROTATE,
        "Make and activate the next version of a key",
        body=asked.RotateKeyBody,
        answer=told.RotatedAnswer,
        errors=(404,),
    ),
)
def rotate_keys(
    call: Asked, body: Annotated[asked.RotateKeyBody, reading(asked.RotateKeyBody, optional=True)]
) -> Response:
    """Rotate: what is new hangs on the new key at once.

    The rest moves with ``rewrap``, ``redigest`` or ``reseal``, or ends by itself: see the census.
    """
    made = call.vault.keys.rotate(call.request, kind=body.kind, scope=body.scope, reason=body.reason)
    return answer(told.RotatedAnswer(made.value.old, made.value.new, **logged(made)))


@router.post(
    "/v1/keys/suspend",
    **documented(
        Action.KEY_SUSPEND,
        "Have nothing open under a wrapping key until it is known to be safe",
        body=suspicion.DoubtBody,
        answer=suspicion.SuspendedAnswer,
        errors=(404, 409),
    ),
)
def suspend_key(call: Asked, body: Annotated[suspicion.DoubtBody, reading(suspicion.DoubtBody)]) -> Response:
    """At once, on every node: what hangs on it is refused with ``key_suspended``; a successor is in force."""
    made = call.vault.keys.suspend(call.request, kind=body.kind, version=body.version, reason=body.reason)
    done = made.value
    return answer(
        suspicion.SuspendedAnswer(
            key=done.key, successor=done.successor, data_keys=done.data_keys, **logged(made)
        )
    )


@router.post(
    "/v1/keys/resume",
    **documented(
        Action.KEY_RESUME,
        "Have what hangs on a suspended wrapping key open again",
        body=suspicion.DoubtBody,
        answer=suspicion.ResumedAnswer,
        errors=(404, 409),
    ),
)
def resume_key(call: Asked, body: Annotated[suspicion.DoubtBody, reading(suspicion.DoubtBody)]) -> Response:
    """Have it unwrap again, as a key that was replaced does: it does not come into force again."""
    made = call.vault.keys.resume(call.request, kind=body.kind, version=body.version, reason=body.reason)
    return answer(suspicion.ResumedAnswer(key=made.value.key, data_keys=made.value.data_keys, **logged(made)))


@router.post(
    "/v1/keys/compromise",
    **documented(
        Action.KEY_COMPROMISE,
        "Say that somebody else may have a key",
        body=suspicion.CompromiseKeyBody,
        answer=suspicion.CompromisedAnswer,
        errors=(404, 409),
    ),
)
def compromise_key(
    call: Asked, body: Annotated[suspicion.CompromiseKeyBody, reading(suspicion.CompromiseKeyBody)]
) -> Response:
    """At once nothing new hangs on it; a successor is in force; what hangs on it moves in the background."""
    made = _compromised(call, body)
    done = made.value
    job = None if done.job is None else _job(done.job)
    return answer(
        suspicion.CompromisedAnswer(
            key=done.key, successor=done.successor, suspect=done.suspect, job=job, **logged(made)
        )
    )


def _compromised(call: Call, body: suspicion.CompromiseKeyBody) -> Made[Compromised]:
    keys = call.vault.keys
    if body.subject:
        if body.version is not None or body.scope or body.all:
            raise InvalidInputError("subject: goes with nothing else", field="subject", rule="alone")
        return keys.compromise_subject(call.request, body.subject, reason=body.reason)
    if body.version is None:
        raise InvalidInputError("version: or a subject", field="version", rule="required")
    return keys.compromise(
        call.request,
        kind=body.kind,
        scope=body.scope,
        version=body.version,
        reason=body.reason,
        everybody=body.all,
    )


@router.post(
    "/v1/keys/reencrypt",
    dependencies=[NO_BODY],
    **documented(
        Action.KEY_REENCRYPT,
        "Start to seal anew what hangs on suspect data keys",
        answer=told.JobAnswer,
    ),
)
def reencrypt(call: Asked) -> Response:
    """Start it, or join the one under way. It has begun by itself when a key was said to be compromised."""
    made = call.vault.keys.reencrypt(call.request)
    return answer(told.JobAnswer(job=_job(made.value), **logged(made)))


@router.post(
    "/v1/keys/rewrap",
    dependencies=[NO_BODY],
    **documented(
        Action.KEY_REWRAP,
        "Start the re-wrap of data keys under the epoch in force",
        answer=told.JobAnswer,
    ),
)
def rewrap_keys(call: Asked) -> Response:
    """Start it, or join the one under way. A node does it in the background: see ``/v1/keys/jobs``."""
    made = call.vault.keys.rewrap(call.request)
    return answer(told.JobAnswer(job=_job(made.value), **logged(made)))


@router.post(
    "/v1/keys/redigest",
    **documented(
        Action.KEY_REDIGEST,
        "Start to digest values anew under the lookup key in force",
        body=asked.RedigestBody,
        answer=told.JobAnswer,
        errors=(404, 409),
    ),
)
def redigest(call: Asked, body: Annotated[asked.RedigestBody, reading(asked.RedigestBody)]) -> Response:
    """Start it, or join the one under way. Search finds by both keys meanwhile."""
    made = call.vault.keys.redigest(call.request, body.scope)
    return answer(told.JobAnswer(job=_job(made.value), **logged(made)))


@router.post(
    "/v1/keys/reseal",
    **documented(
        Action.KEY_RESEAL,
        "Start to seal anew what hangs on older authority or staff-data keys",
        body=asked.ResealBody,
        answer=told.JobAnswer,
        errors=(409,),
    ),
)
def reseal(call: Asked, body: Annotated[asked.ResealBody, reading(asked.ResealBody)]) -> Response:
    """Start it, or join the one under way. Everything is good under both keys meanwhile."""
    made = call.vault.keys.reseal(call.request, body.kind)
    return answer(told.JobAnswer(job=_job(made.value), **logged(made)))


@router.get(
    "/v1/keys/jobs",
    **documented(Action.KEY_JOBS, "Show background work on keys", answer=told.JobList),
)
def list_jobs(call: Asked) -> Response:
    """Show what runs, and of each kind what ran last, with its rate and the time left."""
    made = call.vault.keys.jobs(call.request)
    return answer(told.JobList(items=tuple(map(_job, made.value)), **logged(made)))


@router.get(
    "/v1/keys/census",
    **documented(Action.KEY_CENSUS, "Count what hangs on each key", answer=told.CensusAnswer),
)
def take_census(call: Asked) -> Response:
    """Count data keys, values, digests and whatever else hangs on a key, in one state of the database."""
    made = call.vault.keys.census(call.request)
    return answer(told.CensusAnswer(items=tuple(map(_hanging, made.value)), **logged(made)))


@router.post(
    "/v1/keys/destroy",
    **documented(
        Action.KEY_DESTROY,
        "Propose the destruction of a key",
        body=asked.DestroyKeyBody,
        answer=told.DestructionAnswer,
        errors=(404, 409),
    ),
)
def destroy_key(
    call: Asked, body: Annotated[asked.DestroyKeyBody, reading(asked.DestroyKeyBody)]
) -> Response:
    """Propose it: refused unless nothing hangs on the key; another administrator approves and ends it."""
    made = call.vault.keys.destroy(
        call.request, kind=body.kind, scope=body.scope, version=body.version, reason=body.reason
    )
    proposed = made.value
    return answer(told.DestructionAnswer(proposed.approval_id, proposed.key, **logged(made)))


def _key(info: KeyInfo) -> told.KeyView:
    return told.KeyView(
        kind=info.kind,
        scope=info.scope,
        version=info.version,
        state=info.state,
        created_at=info.created_at,
        changed_at=info.changed_at,
        data_keys=info.data_keys,
        due_at=info.due_at,
        light=None if info.light is None else info.light.value,
    )


def _bound(bound: Bound, now_us: int) -> BoundView:
    parts = tuple(
        BoundPart(part.name, part.state, moment_or_none(part.at_us), part.told(now_us))
        for part in bound.parts
    )
    return BoundView(at=moment_or_none(bound.at_us), told=bound.told(now_us), parts=parts)


def _job(job: JobView) -> told.JobState:
    left = job.seconds_left
    return told.JobState(
        id=job.id,
        kind=job.kind,
        target=job.target,
        state=job.state,
        total=job.total,
        done=job.done,
        failed=job.failed,
        rate=round(job.rate, 1),
        seconds_left=None if left is None else round(left, 1),
        node=job.node,
        started_by=job.started_by,
        started_at=moment(job.started_at),
        beat_at=moment(job.beat_at),
        ended_at=moment_or_none(job.ended_at),
    )


def _hanging(found: Hanging) -> told.HangingView:
    return told.HangingView(
        kind=found.kind,
        scope=found.scope,
        version=found.version,
        state=found.state,
        data_keys=found.data_keys,
        values=found.values,
        digests=found.digests,
        suspect_data_keys=found.suspect_data_keys,
        suspect_values=found.suspect_values,
        counts=dict(found.counts),
        held_until=moment_or_none(found.held_until_us),
        total=found.total,
    )
