"""Background work on keys: started by a person, done by whichever node holds the lease.

A job goes portion by portion. Each is one transaction with its log entry, and
moves the job's cursor in it; whatever stops a node, another goes on from there
when the lease has run out, or at once when the node was stopped in order. A
node that comes back late cannot write: its portion names a holder and a cursor
that are no longer the job's.

How big a portion is, and how long the rest after it: :mod:`vault.rotation.pace`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol

from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import VAULT, Request, entry, own_origin
from vault.access.identities import SECOND_US
from vault.access.sealing import Alarm, usable_keys
from vault.access.standing import Standing
from vault.audit.entry import Entry
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, NotFoundError, VaultError
from vault.rotation import cursors, redigest, reencrypt, reseal, rewrap
from vault.rotation.names import named, require_scope
from vault.rotation.pace import IDLE_PORTION, IDLE_PORTION_ONE_WRITER, Pace
from vault.storage import jobs as rows
from vault.storage.database import Connection
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.jobs import JobRow

LEASE_US: Final = 15 * SECOND_US
"""So long a node may be silent before another takes its work over."""

ASIDE_US: Final = 10 * SECOND_US
"""So long a job that failed lets the others of its node go first."""

_LONGEST_PORTION: Final = MappingProxyType({"postgresql": IDLE_PORTION, "sqlite": IDLE_PORTION_ONE_WRITER})

_JOB_ID: Final = re.compile(r"job_[0-9a-f]{20}").fullmatch
_TARGET: Final = re.compile(r"[A-Za-z0-9_./-]{1,200}").fullmatch


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as an operator sees it. Times are microseconds since the epoch."""

    id: str
    kind: str
    target: str
    state: Literal["running", "done"]
    total: int
    done: int
    failed: int
    node: str
    """The node that has it; empty when none has."""
    started_by: str
    started_at: int
    beat_at: int
    ended_at: int | None

    @property
    def rate(self) -> float:
        """Items per second since it started; 0 before the first portion."""
        took = self.beat_at - self.started_at
        return self.done * SECOND_US / took if took > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time left at that rate; None while nobody can tell."""
        if self.state == "done":
            return 0.0
        return (self.total - self.done) / self.rate if self.rate else None


class Kind(Protocol):
    """One kind of job: a module with these functions."""

    def prepare(self, connection: Connection, standing: Standing, job: JobRow, size: int) -> Any:
        """Read the next items and work on them in memory."""
        ...

    def write(self, connection: Connection, job: JobRow, portion: Any, *, now_us: int) -> JobRow:
        """Write them in the open transaction; return the job as it is after it."""
        ...


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {rewrap.KIND: rewrap, redigest.KIND: redigest, reencrypt.KIND: reencrypt, reseal.KIND: reseal}
)
ACTIONS: Final = MappingProxyType(
    {
        rewrap.KIND: Action.KEY_REWRAP,
        redigest.KIND: Action.KEY_REDIGEST,
        reencrypt.KIND: Action.KEY_REENCRYPT,
        reseal.KIND: Action.KEY_RESEAL,
    }
)


def start_rewrap(changes: Changes, request: Request) -> Made[JobView]:
    """Start the re-wrap of every data key that hangs on another epoch, or join the one under way.

    Raises AccessDeniedError, ConflictError, UnavailableError.
    """
    total = changes.foresee(
        request, Action.KEY_REWRAP, lambda connection, seen: rewrap.outstanding(connection, seen.keyring)
    )

    def act(attempt: Attempt) -> Change[JobView]:
        epoch = attempt.keyring.active_epoch().epoch
        running = running_jobs(attempt, rewrap.KIND)
        if running:
            return Change(view(running[0]), {"job": running[0].id}, revises=False)
        start = cursors.start(rewrap.NUMBERS, 0).text()
        job = begin(attempt, rewrap.KIND, str(epoch), cursor=start, total=total)
        target = {"job": job.id, "epoch": str(epoch), "data_keys": str(job.total)}
        return Change(view(job), target, revises=False)

    return changes.make(request, Action.KEY_REWRAP, act)


def start_redigest(changes: Changes, request: Request, scope: str) -> Made[JobView]:
    """Start to digest anew what hangs on older lookup keys of ``scope``, or join it.

    Raises AccessDeniedError, NotFoundError, ConflictError while another scope's runs.
    """
    target = named("lookup", require_scope(scope))

    def look(connection: Connection, standing: Standing) -> int:
        if not redigest.is_scope(standing, scope):
            raise NotFoundError("there is no lookup key of this scope")
        return redigest.outstanding(connection, standing, scope)

    total = changes.foresee(request, Action.KEY_REDIGEST, look, target=target)

    def act(attempt: Attempt) -> Change[JobView]:
        running = running_jobs(attempt, redigest.KIND)
        if running and running[0].target != scope:
            raise ConflictError(f"the digests of {running[0].target} are being made anew: wait for that")
        if running:
            return Change(view(running[0]), {**target, "job": running[0].id}, revises=False)
        start = cursors.start(redigest.NUMBERS, 0).text()
        job = begin(attempt, redigest.KIND, scope, cursor=start, total=total)
        return Change(view(job), {**target, "job": job.id, "digests": str(total)}, revises=False)

    return changes.make(request, Action.KEY_REDIGEST, act, target=target)


def start_reseal(changes: Changes, request: Request, kind: str) -> Made[JobView]:
    """Start to seal anew what hangs on older keys of ``kind``, or join it.

    Raises AccessDeniedError, InvalidInputError for a kind whose things cannot
    be sealed anew, ConflictError while another kind's runs.
    """

    def look(connection: Connection, standing: Standing) -> int:
        return reseal.outstanding(connection, standing.keyring, reseal.require_kind(kind))

    total = changes.foresee(request, Action.KEY_RESEAL, look)

    def act(attempt: Attempt) -> Change[JobView]:
        running = running_jobs(attempt, reseal.KIND)
        if running and running[0].target != kind:
            raise ConflictError(f"what hangs on keys of kind {running[0].target} is moved: wait for that")
        if running:
            return Change(view(running[0]), {"kind": kind, "job": running[0].id}, revises=False)
        job = begin(attempt, reseal.KIND, kind, cursor=reseal.start(0).text(), total=total)
        return Change(view(job), {"kind": kind, "job": job.id, "rows": str(total)}, revises=False)

    return changes.make(request, Action.KEY_RESEAL, act)


def running_jobs(attempt: Attempt, kind: str) -> list[JobRow]:
    """Return the jobs of a kind that run.

    A row that no node would take ends here, with an alarm: it stands in the way of every other of its kind.
    """
    ours = []
    for job in rows.read_running(attempt.connection, kind):
        if _is_ours(job, attempt.standing):
            ours.append(job)
        elif rows.move(attempt.connection, job, replace(job, state="done", ended_at=attempt.now_us)):
            attempt.alarms.append(Alarm("job", job.id))
    return ours


def begin(attempt: Attempt, kind: str, target: str, *, cursor: str, total: int) -> JobRow:
    """Insert a job that has ``total`` to do. Raises RolledBackError while another of its kind runs."""
    job = JobRow(
        id="job_" + secrets.token_hex(10),
        kind=kind,
        target=target,
        state="running",
        cursor=cursor,
        total=total,
        done=0,
        failed=0,
        holder="",
        lease_until=0,
        beat_at=attempt.now_us,
        started_by=attempt.request.actor.id,
        started_at=attempt.now_us,
        ended_at=None,
    )
    rows.insert_job(attempt.connection, job)
    return job


def list_jobs(changes: Changes, request: Request) -> Made[tuple[JobView, ...]]:
    """Return what is running, and of each kind what ran last. Raises AccessDeniedError."""

    def look(connection: Connection, _standing: Standing) -> tuple[JobView, ...]:
        last = (rows.read_last(connection, kind) for kind in KINDS)
        return tuple(view(job) for job in last if job is not None)

    return changes.observe(request, Action.KEY_JOBS, look)


def view(job: JobRow) -> JobView:
    """Return what is shown of ``job``."""
    return JobView(
        id=job.id,
        kind=job.kind,
        target=job.target,
        state="running" if job.state == "running" else "done",
        total=job.total,
        done=job.done,
        failed=job.failed,
        node=job.holder,
        started_by=job.started_by,
        started_at=job.started_at,
        beat_at=job.beat_at,
        ended_at=job.ended_at,
    )


@dataclass(frozen=True, slots=True)
class _Stuck:
    code: str
    until_us: int
    """So long the other jobs go first."""


class Worker:
    """Does the vault's background work on one node, one portion at a time. For one thread."""

    def __init__(self, changes: Changes, clock: Callable[[], datetime]) -> None:
        self._changes = changes
        self._clock = clock
        self._node = secrets.token_hex(8)
        self._stuck: dict[str, _Stuck] = {}
        self._pace = Pace(longest_portion=_LONGEST_PORTION[changes.database.dialect])

    def portion(self, *, size: int | None = None) -> float | None:
        """Do the next portion of whatever this node may do; None when there is nothing.

        Returns the seconds to rest before the next. Raises RolledBackError when
        another node has taken the job over, StaleRevisionError and
        UnavailableError; nothing was written then, and asking again is right.
        """
        now_us = self._now_us()
        standing = self._changes.standing(now_us)
        job = self._take(standing, now_us)
        if job is None:
            return None
        try:
            index = self._do(job, standing, size or self._pace.size, now_us)
        except (StaleRevisionError, RolledBackError):
            self._pace.overtaken()
            raise
        except Exception as error:
            code = error.code if isinstance(error, VaultError) else VaultError.code
            self._stuck[job.id] = _Stuck(code, now_us + ASIDE_US)
            raise
        self._stuck.pop(job.id, None)
        return self._pace.after(index, began_us=now_us, ended_us=self._now_us())

    @property
    def stuck(self) -> Mapping[str, str]:
        """The jobs whose last portion this node could not do, by id, and the code of what went wrong."""
        return {job_id: stuck.code for job_id, stuck in self._stuck.items()}

    def _do(self, job: JobRow, standing: Standing, size: int, now_us: int) -> int:
        """Do one portion of ``job``; return the index of its entry."""
        kind = KINDS[job.kind]
        with usable_keys(), self._changes.database.reading() as connection:
            portion = kind.prepare(connection, standing, job, size)
        # Before the portion: if this node dies in between they are said twice, and never not at all.
        self._changes.alarms.report(portion.alarms, now_us=now_us)
        with self._changes.journal.unit() as unit:
            after = kind.write(unit.connection, job, portion, now_us=now_us)
            after = replace(after, beat_at=now_us, lease_until=now_us + LEASE_US)
            if not rows.move(unit.connection, job, after):
                raise RolledBackError("another node has this job now")
            unit.append([_entry(job, after, now_us)], revision=standing.revision, revise=False)
        return unit.receipts[0].index

    def release(self) -> None:
        """Give up every lease: others go on at once."""
        with self._changes.database.writing() as connection:
            rows.release(connection, self._node)

    def _take(self, standing: Standing, now_us: int) -> JobRow | None:
        """Return a running job that this node has, or has just taken."""
        with self._changes.database.reading() as connection:
            running = rows.read_running(connection)
        ours = [job for job in running if _is_ours(job, standing)]
        self._stuck = {job.id: self._stuck[job.id] for job in ours if job.id in self._stuck}
        # One that fails holds up none of the others.
        for job in sorted(
            ours, key=lambda job: job.id in self._stuck and self._stuck[job.id].until_us > now_us
        ):
            if job.holder == self._node and job.lease_until > now_us:
                return job
            with self._changes.database.writing() as connection:
                until_us = now_us + LEASE_US
                # A lease that ends later than any of ours was taken by a clock that goes wrong.
                if rows.take_lease(connection, job, self._node, now_us=now_us, until_us=until_us):
                    return rows.read_job(connection, job.id)
            # Another node has it: what goes wrong there is said there.
            self._stuck.pop(job.id, None)
        return None

    def _now_us(self) -> int:
        return int(self._clock().timestamp() * SECOND_US)


def _is_ours(job: JobRow, standing: Standing) -> bool:
    """Say whether a row is one that this code writes: somebody else's would stop the work of every node."""
    if job.kind == reseal.KIND and job.target not in reseal.RESEALED:
        return False
    if job.kind == redigest.KIND and not redigest.is_scope(standing, job.target):
        return False
    return job.kind in KINDS and _JOB_ID(job.id) is not None and _TARGET(job.target) is not None


def _entry(before: JobRow, after: JobRow, now_us: int) -> Entry:
    request = Request(actor=VAULT, origin=own_origin(), now_us=now_us)
    target = {
        "job": after.id,
        "target": after.target,
        "moved": str(after.done - before.done),
        "done": str(after.done),
        "failed": str(after.failed),
        "state": after.state,
    }
    return entry(request, ACTIONS[after.kind], target=target)
