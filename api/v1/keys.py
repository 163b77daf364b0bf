"""Keys, for administrators: list, rotate, re-wrap, count what hangs on them, destroy."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from api.v1 import asked, told
from api.v1.calls import NO_BODY, Asked, answer, logged, moment, moment_or_none, reading
from api.v1.documents import documented
from vault.domain.actions import Action
from vault.service.keys import Hanging, JobView, KeyInfo

router: Final = APIRouter(tags=["keys"])


@router.get(
    "/v1/keys", **documented(Action.KEY_LIST, "List keys and what hangs on each", answer=told.KeyList)
)
def list_keys(call: Asked) -> Response:
    """Every key and its state, never its material."""
    return answer(told.KeyList(items=tuple(map(_key, call.vault.keys.list(call.request)))))


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
    rotated = call.vault.keys.rotate(call.request, kind=body.kind, scope=body.scope)
    return answer(told.RotatedAnswer(rotated.old, rotated.new))


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
    made = call.vault.keys.destroy(call.request, kind=body.kind, scope=body.scope, version=body.version)
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
        counts=dict(found.counts),
        held_until=moment_or_none(found.held_until_us),
        total=found.total,
    )
