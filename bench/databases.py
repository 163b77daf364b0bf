"""A private PostgreSQL with its durability on and room for a million values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

from tests.support.postgres import PostgresCluster

SETTINGS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
}


@contextmanager
def private_postgresql() -> Iterator[PostgresCluster]:
    """Give a PostgreSQL of its own, on a socket, as an unprivileged user, gone afterwards."""
    with PostgresCluster() as cluster:
        with psycopg.connect(_dsn(cluster), autocommit=True) as connection:
            for name, value in SETTINGS.items():
                statement = sql.SQL("ALTER SYSTEM SET {} = {}")
                connection.execute(statement.format(sql.Identifier(name), sql.Literal(value)))
        cluster.stop()
        cluster.start()
        yield cluster


def server_pid(cluster: PostgresCluster) -> int:
    """Return the process id of the server's first process, the parent of all others."""
    lines = (cluster.folder / "data" / "postmaster.pid").read_text().splitlines()
    return int(lines[0])


def server_version(cluster: PostgresCluster) -> str:
    """Return the version of the server."""
    with psycopg.connect(_dsn(cluster)) as connection:
        return str(connection.info.parameter_status("server_version"))


def sqlite_version() -> str:
    """Return the version of SQLite that the vault uses: Python's own."""
    return sqlite3.sqlite_version


def _dsn(cluster: PostgresCluster) -> str:
    return f"host={cluster.folder} user=postgres dbname=postgres"
