"""What tests of failures look for and do to a PostgreSQL server."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.engine import make_url


def told(error: BaseException) -> str:
    """Return everything that ``error`` says to whoever prints or logs it."""
    printed = "".join(traceback.format_exception(error))
    return f"{error} {error!r} {error.args!r} {vars(error)!r} {printed}"


@contextmanager
def superuser(url: str) -> Iterator[psycopg.Connection]:
    """Give a connection past the vault to the PostgreSQL database of ``url``."""
    parts = make_url(url)
    host = str(parts.query["host"])
    with psycopg.connect(host=host, user="postgres", dbname=parts.database, autocommit=True) as connection:
        yield connection


def terminate_others(url: str) -> int:
    """End every other session on the database of ``url``; return how many there were."""
    with superuser(url) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(ended)
