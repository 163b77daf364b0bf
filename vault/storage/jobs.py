"""Rows of background work: taken by one node at a time, moved on only by the node that has them.

Every change names the holder and the cursor it expects. A node that stood still
past its lease finds its change refused, so no portion is ever counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Row, insert, or_, select, update

from vault.storage import tables
from vault.storage.database import Connection

_COLUMN = tables.job.c


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job. Times are microseconds since the epoch."""

    id: str
    kind: str
    target: str
    """What it works towards, as its kind writes it."""
    state: str
    cursor: str
    """Where the next portion begins, as its kind writes it."""
    total: int
    """Items there were when it started."""
    done: int
    failed: int
    holder: str
    """The node that has it; empty when none has."""
    lease_until: int
    """When others may take it."""
    beat_at: int
    """When it moved last."""
    started_by: str
    started_at: int
    ended_at: int | None


def insert_job(connection: Connection, job: JobRow) -> None:
    """Insert a new job. Raises RolledBackError when one of its kind is running."""
    connection.execute(insert(tables.job), [{name: getattr(job, name) for name in JobRow.__slots__}])


def read_job(connection: Connection, job_id: str) -> JobRow | None:
    """Read one job."""
    row = connection.execute(select(tables.job).where(_COLUMN.id == job_id)).one_or_none()
    return None if row is None else _job(row)


def read_running(connection: Connection, kind: str = "") -> list[JobRow]:
    """Read what is running, of one ``kind`` or of all."""
    wanted = select(tables.job).where(_COLUMN.state == "running").order_by(_COLUMN.started_at, _COLUMN.id)
    if kind:
        wanted = wanted.where(_COLUMN.kind == kind)
    return [_job(row) for row in connection.execute(wanted)]


def read_last(connection: Connection, kind: str) -> JobRow | None:
    """Read the job of this kind that started last."""
    wanted = select(tables.job).where(_COLUMN.kind == kind).order_by(_COLUMN.started_at.desc(), _COLUMN.id)
    row = connection.execute(wanted.limit(1)).one_or_none()
    return None if row is None else _job(row)


def take_lease(connection: Connection, job: JobRow, holder: str, *, now_us: int, until_us: int) -> bool:
    """Give ``job`` to ``holder``, unless another has it; say whether it is theirs now."""
    taken = connection.execute(
        update(tables.job)
        .where(
            _COLUMN.id == job.id,
            _COLUMN.state == "running",
            or_(
                _COLUMN.holder == holder,
                _COLUMN.holder == "",
                _COLUMN.lease_until < now_us,
                _COLUMN.lease_until > now_us + 2 * (until_us - now_us),
            ),
        )
        .values(holder=holder, lease_until=until_us)
    )
    return taken.rowcount == 1


def move(connection: Connection, before: JobRow, after: JobRow) -> bool:
    """Store ``after`` in the place of ``before``; say whether its holder still had it there."""
    moved = connection.execute(
        update(tables.job)
        .where(
            _COLUMN.id == before.id,
            _COLUMN.state == "running",
            _COLUMN.holder == before.holder,
            _COLUMN.cursor == before.cursor,
            _COLUMN.done == before.done,
        )
        .values({name: getattr(after, name) for name in JobRow.__slots__ if name != "id"})
    )
    return moved.rowcount == 1


def release(connection: Connection, holder: str) -> None:
    """Let others take at once what ``holder`` has: it is stopping."""
    connection.execute(
        update(tables.job)
        .where(_COLUMN.holder == holder, _COLUMN.state == "running")
        .values(holder="", lease_until=0)
    )


def _job(row: Row[tuple[object, ...]]) -> JobRow:
    return JobRow(**row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for it
