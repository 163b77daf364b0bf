"""Open a database and hold its two ways in: reading and writing.

Guarantees
- SQLite: WAL, ``synchronous=FULL`` (a commit is on disk before it returns),
  ``secure_delete``, foreign keys; every write transaction starts with
  ``BEGIN IMMEDIATE``; readers have an engine of their own and cannot write.
- PostgreSQL: READ COMMITTED, ``lock_timeout`` and ``statement_timeout`` set, a
  server that does not flush at commit is refused.
- An error of the driver becomes a :class:`~vault.domain.errors.VaultError`
  without the statement or its parameters.
- A commit whose answer is lost, that the disk failed, or that the synchronous
  standby did not confirm is :class:`~vault.domain.errors.OutcomeUnknownError`,
  never retried here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.pq import Format
from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from vault.domain.errors import OutcomeUnknownError, UnavailableError
from vault.storage import tables
from vault.storage.errors import RolledBackError, SchemaError

__all__ = ["Connection", "Counter", "Database", "translated"]

MINIMUM_SQLITE: Final = (3, 37, 0)
"""RETURNING came with 3.35; 3.37 is the oldest release the conformance suite has run on."""

MINIMUM_POSTGRESQL: Final = 140000
"""Oldest release that its project still maintains."""

_KEEPALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that has gone without a word is found out within half a minute, as a lost connection."""

LOCK_TIMEOUT_MS: Final = 5_000
STATEMENT_TIMEOUT_MS: Final = 30_000

_DRIVERS: Final = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
_UNCONFIRMED: Final = "unconfirmed"
_SYNC_WAIT_CANCELLED: Final = "01000"
"""Warning class with which PostgreSQL says that it committed here but no standby confirmed."""


_BINARY: Final = "vault_binary"

IN_BINARY: Final = {_BINARY: True}
"""Execution options of a read of many bytes: PostgreSQL sends them as hexadecimal text unless asked."""


@dataclass(frozen=True, slots=True)
class Counter:
    """The counter row: identity of the vault, next log index, revision, seal."""

    vault_id: bytes
    next_index: int
    revision: int
    sealed: bool


class Database:
    """One database, opened. Thread-safe; connections come from pools."""

    def __init__(self, url: URL) -> None:
        self.dialect: Final = url.get_backend_name()
        url = url.set(drivername=_DRIVERS.get(self.dialect, url.drivername))
        self._snapshot: dict[str, Any] = {}
        if self.dialect == "sqlite":
            self._writer, self._reader = _sqlite_engines(url)
        elif self.dialect == "postgresql":
            self._writer = self._reader = _postgresql_engine(url)
            self._snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        else:
            raise SchemaError("the database is neither SQLite nor PostgreSQL")

    @classmethod
    def open(cls, url: str) -> Database:
        """Open ``url`` (SQLAlchemy form). Raises SchemaError on a server too old or unsafe."""
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise SchemaError("the URL of the database is not one") from None
        database = cls(parsed)
        try:
            with database.reading() as connection:
                _check_server(database.dialect, connection)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def engine(self) -> Engine:
        """The writing engine, for migrations and for the connection the lane holds."""
        return self._writer

    def hold(self) -> Any:
        """Give a driver connection of the caller's own, outside the pool.

        Raises UnavailableError when the database cannot be reached now.
        """
        try:
            fairy = self._writer.raw_connection()
        except Exception:  # noqa: BLE001 - pool, driver and operating system errors alike
            raise UnavailableError("the database cannot be reached") from None
        connection = fairy.driver_connection
        fairy.detach()
        return connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database and cannot write."""
        with translated(), self._reader.connect() as connection:
            yield connection.execution_options(**self._snapshot)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give the connection of one write transaction; commit on leaving, roll back on error."""
        with translated(), self._writer.connect() as connection:
            transaction = connection.begin()
            try:
                yield connection
            except BaseException:
                with suppress_lost(connection):
                    transaction.rollback()
                raise
            _commit(connection, transaction)

    @contextmanager
    def settled(self) -> Iterator[Connection]:
        """Give a connection that sees how every append under way has ended; nothing can be written on it.

        A server may still work on a commit whose answer was lost. Until that is over it holds the counter
        row, which is waited for here. Raises UnavailableError when that takes too long.
        """
        with translated(), self._writer.connect() as connection:
            connection.execute(select(tables.counter.c.id).with_for_update())
            # Rolled back in the end: a commit would wait for a standby in turn.
            yield connection

    def waits_for_standby(self, connection: Connection) -> bool:
        """Say whether a commit is to be on another server, too, before it is acknowledged."""
        if self.dialect == "sqlite":
            return False
        return bool(connection.execute(text("SHOW synchronous_standby_names")).scalar_one())

    def counter(self, connection: Connection) -> Counter:
        """Read the counter row. Raises SchemaError on a vault that was never initialised."""
        row = connection.execute(select(tables.counter)).one_or_none()
        if row is None:
            raise SchemaError("the vault has not been initialised")
        return Counter(bytes(row.vault_id), row.next_index, row.revision, bool(row.sealed))

    def close(self) -> None:
        """Close every pooled connection."""
        self._writer.dispose()
        self._reader.dispose()


@contextmanager
def suppress_lost(connection: Connection) -> Iterator[None]:
    """Let a rollback fail only because the connection is gone, which is a rollback too."""
    try:
        yield
    except DBAPIError:
        connection.invalidate()


def _commit(connection: Connection, transaction: Any) -> None:
    """Commit. After COMMIT was sent an error no longer proves a rollback, so it is never retried."""
    connection.info.pop(_UNCONFIRMED, None)
    try:
        transaction.commit()
    except DBAPIError as error:
        certain = isinstance(error.orig, sqlite3.Error) and not disk_failed(error.orig)
        connection.invalidate()
        if certain:
            raise UnavailableError("the database could not commit") from None
        raise OutcomeUnknownError("the database did not answer a commit") from None
    if connection.info.pop(_UNCONFIRMED, False):
        raise OutcomeUnknownError("the synchronous standby did not confirm")


def disk_failed(error: sqlite3.Error) -> bool:
    """Say whether SQLite met an I/O error: at a commit it leaves open what is on disk."""
    # Errors of the Python module itself, before SQLite was asked, have no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def unconfirmed(notice: psycopg.errors.Diagnostic) -> bool:
    """Say whether PostgreSQL gave up waiting for its synchronous standby after a commit."""
    return notice.sqlstate == _SYNC_WAIT_CANCELLED and notice.severity_nonlocalized == "WARNING"


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors into the vault's own: they quote statements and parameters."""
    try:
        yield
    except PoolTimeoutError:
        raise UnavailableError("no database connection was free") from None
    except (IntegrityError, DataError):
        raise RolledBackError("the database refused a statement") from None
    except DBAPIError:
        raise UnavailableError("the database cannot be used now") from None


def _sqlite_engines(url: URL) -> tuple[Engine, Engine]:
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        raise SchemaError("this Python's SQLite library is older than 3.37")
    writer = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=4,
        connect_args={"timeout": LOCK_TIMEOUT_MS / 1000, "check_same_thread": False},
        hide_parameters=True,
    )
    reader = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=8,
        connect_args={"timeout": LOCK_TIMEOUT_MS / 1000, "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(writer, "connect")
    def prepare_writer(connection: sqlite3.Connection, _record: object) -> None:
        prepare_sqlite(connection)

    @event.listens_for(reader, "connect")
    def prepare_reader(connection: sqlite3.Connection, _record: object) -> None:
        prepare_sqlite(connection)
        connection.execute("PRAGMA query_only=ON")

    @event.listens_for(writer, "begin")
    def begin_writer(connection: Connection) -> None:
        # A deferred transaction that upgrades fails at once with SQLITE_BUSY_SNAPSHOT.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(reader, "begin")
    def begin_reader(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return writer, reader


def prepare_sqlite(connection: sqlite3.Connection) -> None:
    """Set what the promises of durability and erasure need on one SQLite connection."""
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA cache_size=-65536")
    connection.execute("PRAGMA mmap_size=268435456")


def _postgresql_engine(url: URL) -> Engine:
    options = (
        f"-c lock_timeout={LOCK_TIMEOUT_MS} -c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC"
        r" -c default_transaction_isolation=read\ committed"
    )
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=8,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"options": options, "connect_timeout": 5, **_KEEPALIVE},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def watch(connection: psycopg.Connection[Any], record: ConnectionPoolEntry) -> None:
        def note(notice: psycopg.errors.Diagnostic) -> None:
            if unconfirmed(notice):
                record.info[_UNCONFIRMED] = True

        connection.add_notice_handler(note)
        _require_durable(connection)

    @event.listens_for(engine, "before_cursor_execute")
    def choose_form(*call: Any) -> None:
        _, cursor, _, _, context, _ = call
        if context is not None and context.execution_options.get(_BINARY):
            cursor.format = Format.BINARY

    return engine


def _require_durable(connection: psycopg.Connection[Any]) -> None:
    """Refuse a connection whose commits are not flushed: a role or database can be altered at any time."""
    row = connection.execute("SHOW synchronous_commit").fetchone()
    connection.rollback()
    if row is None or row[0] == "off":
        connection.close()
        raise UnavailableError("with synchronous_commit=off commits would not be durable")


def _check_server(dialect: str, connection: Connection) -> None:
    if dialect == "sqlite":
        mode = connection.execute(text("PRAGMA journal_mode")).scalar_one()
        if mode != "wal":
            raise SchemaError("the SQLite database cannot use a write-ahead log here")
        return
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if version < MINIMUM_POSTGRESQL:
        raise SchemaError("the PostgreSQL server is older than 14")
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if connection.execute(text(f"SHOW {name}")).scalar_one() == "off":
            raise SchemaError(f"the PostgreSQL server runs with {name}=off: commits would not be durable")
