"""Counts of what hangs on keys that are not those of values. Reads, in the caller's snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import Table, func, or_, select

from vault.storage import tables
from vault.storage.census import take_your_time
from vault.storage.database import Connection

_TOTP_TABLES: Final = (tables.staff_secret, tables.invitation)


def count_credentials(connection: Connection, now_us: int) -> dict[int, int]:
    """Count the client secrets that are good at ``now_us``, by the version of the session key."""
    column = tables.credential.c
    live = (column.expires_at > now_us, or_(column.revoked_at.is_(None), column.revoked_at > now_us))
    return _by_version(connection, tables.credential, *live)


def count_sessions(connection: Connection, now_us: int, *, idle_us: int) -> dict[int, int]:
    """Count the sessions that are open at ``now_us``, by the version of the session key.

    One that was not used for ``idle_us`` is not.
    """
    column = tables.session.c
    live = (column.closed_at.is_(None), column.expires_at > now_us, column.last_seen_at > now_us - idle_us)
    return _by_version(connection, tables.session, *live)


def count_invitations(connection: Connection, now_us: int) -> dict[int, int]:
    """Count the invitations that may be used at ``now_us``, by the version of the session key."""
    column = tables.invitation.c
    return _by_version(connection, tables.invitation, column.used_at.is_(None), column.expires_at > now_us)


def _by_version(connection: Connection, table: Table, *live: object) -> dict[int, int]:
    version = table.c.key_version
    statement = select(version, func.count()).where(*live).group_by(version)  # type: ignore[arg-type]  # conditions
    return {row[0]: row[1] for row in connection.execute(statement)}


def count_replays(connection: Connection, *, until_us: int) -> int:
    """Count the idempotency records made at or before ``until_us``."""
    made = tables.idempotency.c.created_at <= until_us
    return connection.execute(select(func.count()).select_from(tables.idempotency).where(made)).scalar_one()


def count_totp(connection: Connection) -> dict[int, int]:
    """Count the sealed TOTP secrets by the version of the staff-data key in their own header."""
    found: Counter[int] = Counter()
    for table in _TOTP_TABLES:
        found.update(_by_header(connection, table, "totp_sealed"))
    return dict(found)


def count_reasons(connection: Connection) -> dict[int, int]:
    """Count the sealed reasons by the version of the staff-data key in their own header. Takes its time."""
    take_your_time(connection)
    return _by_header(connection, tables.log_note, "sealed")


def _by_header(connection: Connection, table: Table, column: str) -> dict[int, int]:
    version = func.substr(table.c[column], 2, 4)
    rows = connection.execute(select(version, func.count()).group_by(version))
    return {int.from_bytes(header, "big"): count for header, count in rows}


def count_tokens(connection: Connection) -> int:
    """Count the tokens there are, those of people included."""
    take_your_time(connection)
    statement = select(func.count()).select_from
    return sum(connection.execute(statement(table)).scalar_one() for table in (tables.token, tables.subject))


def count_unknown_sealed(connection: Connection, known: Collection[str]) -> Mapping[str, int]:
    """Count the rows of tables with MACs that are not among the ``known``, by table, where there are any."""
    found = {}
    for table in tables.metadata.tables.values():
        if {"version", "mac"} <= set(table.c.keys()) and table.name not in known:
            count = connection.execute(select(func.count()).select_from(table)).scalar_one()
            if count:
                found[table.name] = count
    return found
