"""Rows of staff sessions, and the counts of failed logins."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar, Final

from sqlalchemy import Connection, Table, case, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from vault.storage import tables
from vault.storage.rows import SealedRow

RECENT_SESSIONS: Final = 10
"""So many sessions of a person, the newest, are looked through for an address known already.

Few, because a login is to take no longer for a person who logs in often.
"""


@dataclass(frozen=True, slots=True)
class SessionRow(SealedRow):
    """A staff session; its secret as a keyed MAC."""

    table: ClassVar[Table] = tables.session
    uncovered: ClassVar[frozenset[str]] = frozenset({"last_seen_at", "closed_at", "key_version"})

    id: str
    secret_mac: bytes = field(repr=False)
    staff_id: str
    address: str
    created_at: int
    expires_at: int
    last_seen_at: int
    closed_at: int | None
    key_version: int
    """Version of the session key that ``secret_mac`` is made with."""
    version: int
    mac: bytes = field(repr=False)


def session_by_macs(connection: Connection, secret_macs: list[bytes]) -> SessionRow | None:
    """Return the session whose secret has one of these MACs (one per usable key version)."""
    return SessionRow.one(
        connection, select(tables.session).where(tables.session.c.secret_mac.in_(secret_macs))
    )


def sessions_since(connection: Connection, staff_id: str, since: int) -> list[SessionRow]:
    """Return a person's newest sessions opened at or after ``since``."""
    column = tables.session.c
    statement = (
        select(tables.session)
        .where(column.staff_id == staff_id, column.created_at >= since)
        .order_by(column.created_at.desc())
        .limit(RECENT_SESSIONS)
    )
    return SessionRow.all(connection, statement)


def touch_session(connection: Connection, session_id: str, now_us: int) -> None:
    """Set when the session was last used; never back, never on a closed one."""
    column = tables.session.c
    connection.execute(
        tables.session.update()
        .where(column.id == session_id, column.last_seen_at < now_us, column.closed_at.is_(None))
        .values(last_seen_at=now_us)
    )


def close_session(connection: Connection, session_id: str, now_us: int) -> None:
    """Close one session; one closed already stays as it is."""
    column = tables.session.c
    connection.execute(
        tables.session.update()
        .where(column.id == session_id, column.closed_at.is_(None))
        .values(closed_at=now_us)
    )


def close_sessions_of(connection: Connection, staff_id: str, now_us: int) -> int:
    """Close every open session of one person and return how many there were."""
    column = tables.session.c
    statement = tables.session.update().where(column.staff_id == staff_id, column.closed_at.is_(None))
    return connection.execute(statement.values(closed_at=now_us)).rowcount


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed attempts counted under one account and source."""

    account: bytes
    source: str
    window_start: int
    failures: int
    locked_until: int


def count_failure(
    connection: Connection,
    account: bytes,
    source: str,
    *,
    now_us: int,
    window_us: int,
    sliding: bool = False,
) -> Failures:
    """Count one attempt in one statement, starting a new window when the last one is over.

    A ``sliding`` window starts again with every attempt. Concurrent attempts
    are counted one after the other, so each sees its own number.
    """
    table = tables.login_failure
    make = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    fresh = table.c.window_start <= now_us - window_us
    statement = make(table).values(
        account=account, source=source, window_start=now_us, failures=1, locked_until=0
    )
    counted = statement.on_conflict_do_update(
        index_elements=[table.c.account, table.c.source],
        set_={
            "window_start": now_us if sliding else case((fresh, now_us), else_=table.c.window_start),
            "failures": case((fresh, 1), else_=table.c.failures + 1),
        },
    ).returning(*table.c)
    return Failures(*connection.execute(counted).one())


def take_failures(connection: Connection, accounts: Collection[bytes]) -> list[Failures]:
    """Take the counts of these accounts away and return them; each goes to one caller only."""
    table = tables.login_failure
    statement = table.delete().where(table.c.account.in_(accounts)).returning(*table.c)
    return [Failures(*row) for row in connection.execute(statement)]


def add_failures(connection: Connection, found: Failures) -> None:
    """Add counts to those of the same account and source: both count, and the longer wait holds."""
    table = tables.login_failure
    make = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = make(table).values({name: getattr(found, name) for name in Failures.__slots__})
    column = table.c
    # Written out: the two databases name the greater of two numbers differently.
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[column.account, column.source],
            set_={
                "failures": column.failures + found.failures,
                "window_start": case(
                    (column.window_start < found.window_start, found.window_start),
                    else_=column.window_start,
                ),
                "locked_until": case(
                    (column.locked_until < found.locked_until, found.locked_until),
                    else_=column.locked_until,
                ),
            },
        )
    )


def uncount(connection: Connection, account: bytes, source: str) -> None:
    """Take one attempt back."""
    column = tables.login_failure.c
    connection.execute(
        tables.login_failure.update()
        .where(column.account == account, column.source == source, column.failures > 0)
        .values(failures=column.failures - 1)
    )


def touch_failure(connection: Connection, account: bytes, source: str) -> None:
    """Write a count as it is."""
    column = tables.login_failure.c
    connection.execute(
        tables.login_failure.update()
        .where(column.account == account, column.source == source)
        .values(failures=column.failures)
    )


def lock(connection: Connection, account: bytes, source: str, until_us: int) -> None:
    """Refuse the account from this source until ``until_us``."""
    column = tables.login_failure.c
    connection.execute(
        tables.login_failure.update()
        .where(column.account == account, column.source == source)
        .values(locked_until=until_us)
    )


def forget_failure(connection: Connection, account: bytes, source: str) -> None:
    """Forget the count of an account under this source."""
    column = tables.login_failure.c
    connection.execute(
        tables.login_failure.delete().where(column.account == account, column.source == source)
    )


def forget_old_failures(
    connection: Connection, before_us: int, *, kept: Collection[str], kept_before_us: int
) -> int:
    """Forget counts whose window started before ``before_us``; return how many.

    Those under a source in ``kept`` go only when it started before ``kept_before_us``.
    """
    column = tables.login_failure.c
    started = case((column.source.in_(kept), kept_before_us), else_=before_us)
    statement = tables.login_failure.delete().where(column.window_start < started)
    return connection.execute(statement).rowcount
