"""The hot path on SQLite: one sqlite3 connection held by the lane, WAL, ``synchronous=FULL``.

Reads happen before ``BEGIN IMMEDIATE``; the revision compared by the append
makes that safe. There is no network between the call and the file, so an error
of COMMIT is a certain rollback, but for one: when the disk fails, the frames of
the transaction may be in the write-ahead log all the same, for the next start
to find.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from vault.domain.errors import OutcomeUnknownError, UnavailableError
from vault.storage import hot
from vault.storage.append import LogUnit, append_sqlite
from vault.storage.database import Database, disk_failed
from vault.storage.errors import OvertakenError, RolledBackError

# A column of SQLite holds whatever somebody writes there: CAST sees to the type, decryption to the rest.
_TOKENS = (
    "SELECT t.id, CAST(t.nonce AS BLOB), CAST(t.subject_id AS INTEGER), CAST(t.field_id AS INTEGER),"
    " CAST(t.envelope AS BLOB), t.created_at, t.kind, t.audience_id, t.spent_at"
    " FROM json_each(?) AS j CROSS JOIN token AS t ON t.id = j.value"
)
_SUBJECT_TOKENS = (
    "SELECT id, nonce, subject_id, field_id, envelope, created_at, created_by FROM token"
    " WHERE subject_id = ? AND created_by = ? AND envelope IS NOT NULL AND kind IS NULL"
    " ORDER BY id DESC LIMIT ?"
)
_AUDIENCE_TOKENS = (
    "SELECT id, CAST(nonce AS BLOB), subject_id, field_id, CAST(envelope AS BLOB), created_at, kind,"
    " audience_id, spent_at FROM token"
    " WHERE subject_id = ? AND field_id = ? AND audience_id = ? AND audience_id IS NOT NULL"
)
_AUDIENCES = "SELECT id, name FROM audience"
_ADD_AUDIENCE = (
    "INSERT INTO audience (id, name) SELECT coalesce(max(id), 0) + 1, ? FROM audience WHERE true"
    " ON CONFLICT DO NOTHING"
)
_KEYS = (
    "SELECT s.id, CAST(k.generation AS INTEGER), CAST(k.epoch AS INTEGER), CAST(k.wrapped AS BLOB),"
    " CAST(s.state AS INTEGER), CAST(s.log_subject AS BLOB), CAST(s.nonce AS BLOB), s.kind,"
    " CAST(k.suspect AS INTEGER)"
    " FROM subject s LEFT JOIN data_key k ON k.subject_id = s.id"
    " WHERE s.id IN (SELECT value FROM json_each(?))"
)
_MATCHES = (
    "SELECT id, nonce, subject_id, field_id, digest, audience_id FROM token"
    " WHERE digest = ? AND envelope IS NOT NULL ORDER BY id LIMIT ?"
)
_REFERENCES = "SELECT ref_digest, id, ref_envelope FROM subject WHERE ref_digest IN ({})"
_REPLAYS = "SELECT scope, body_mac, created_at, log_index, result FROM idempotency WHERE scope IN ({})"
_IDS = (
    "INSERT INTO id_block (partition, next_sequence) VALUES (?1, 1 + ?2)"
    " ON CONFLICT (partition) DO UPDATE SET next_sequence = next_sequence + ?2"
    " RETURNING next_sequence - ?2"
)
_BLOB_CHUNK: Final = 500
"""Blobs cannot travel in JSON; this many placeholders stay far below SQLite's limit."""


def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - constants


_INSERTS: Final = (
    ("subjects", _insert("subject", hot.SUBJECT_COLUMNS)),
    ("data_keys", _insert("data_key", hot.DATA_KEY_COLUMNS)),
    ("tokens", _insert("token", hot.TOKEN_COLUMNS)),
    ("notes", _insert("log_note", hot.NOTE_COLUMNS)),
)
_KINDED = (
    f"{_insert('token', hot.KINDED_COLUMNS)}"
    " ON CONFLICT (subject_id, field_id, audience_id) WHERE audience_id IS NOT NULL DO NOTHING"
)
_REPLACE = (
    "UPDATE token SET digest_version = ?2, digest = ?3, envelope = ?4 WHERE id = ?1 AND envelope IS NOT NULL"
)
_SPEND = (
    "UPDATE token SET envelope = NULL, digest = NULL, digest_version = NULL, spent_at = ?2"
    " WHERE id = ?1 AND envelope IS NOT NULL AND kind = 2"
)
_REVOKE = (
    "UPDATE token SET envelope = NULL, digest = NULL, digest_version = NULL, audience_id = NULL"
    " WHERE id = ?1 AND envelope IS NOT NULL"
)
_REPLAY_INSERT = _insert("idempotency", hot.REPLAY_COLUMNS)


class SqliteHotConnection:
    """See :class:`vault.storage.hot.HotConnection`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: sqlite3.Connection | None = None

    def read_tokens(self, ids: Sequence[int]) -> list[hot.TokenRow]:
        """See the protocol."""
        return self._read(_TOKENS, (_json_array(ids),))

    def read_subject_tokens(self, subject_ids: Sequence[int], makers: Sequence[int]) -> list[hot.OwnedRow]:
        """See the protocol. A query a pair costs nothing here: there is no network."""
        return [
            row
            for subject_id in subject_ids
            for maker in makers
            for row in self._read(_SUBJECT_TOKENS, (subject_id, maker, hot.OWNED_LIMIT))
        ]

    def read_audience_tokens(self, wanted: Sequence[hot.Triple]) -> list[hot.TokenRow]:
        """See the protocol. A query each costs nothing here: there is no network."""
        return [row for triple in wanted for row in self._read(_AUDIENCE_TOKENS, triple)]

    def read_audiences(self) -> list[tuple[int, str]]:
        """See the protocol."""
        return self._read(_AUDIENCES, ())

    def add_audience(self, name: str) -> None:
        """See the protocol."""
        with self._guarded() as connection:
            connection.execute(_ADD_AUDIENCE, (name,))

    def read_keys(self, subject_ids: Sequence[int]) -> list[hot.KeyRow]:
        """See the protocol."""
        return self._read(_KEYS, (_json_array(subject_ids),))

    def read_matches(self, digests: Sequence[bytes]) -> list[hot.MatchRow]:
        """See the protocol. A query a digest costs nothing here: there is no network."""
        return [row for digest in digests for row in self._read(_MATCHES, (digest, hot.MATCH_LIMIT))]

    def read_references(self, digests: Sequence[bytes]) -> list[hot.ReferenceRow]:
        """See the protocol."""
        return self._read_blobs(_REFERENCES, digests)

    def read_replays(self, scopes: Sequence[bytes]) -> list[hot.ReplayRow]:
        """See the protocol."""
        return self._read_blobs(_REPLAYS, scopes)

    def take_ids(self, partition: int, count: int) -> int:
        """See the protocol."""
        with self._guarded() as connection:
            row = connection.execute(_IDS, (partition, count)).fetchall()[0]
        return int(row[0])

    def commit(self, unit: LogUnit, writes: hot.Writes, revision: int) -> int:
        """See the protocol."""
        with self._guarded() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for attribute, statement in _INSERTS:
                rows = getattr(writes, attribute)
                if rows:
                    connection.executemany(statement, rows)
            _write_each(connection, _KINDED, writes.kinded)
            _write_each(connection, _REPLACE, writes.latest())
            _write_each(connection, _SPEND, writes.spent)
            _write_each(connection, _REVOKE, [(row_id,) for row_id in writes.revoked])
            first = append_sqlite(connection, unit, revision=revision, revise=bool(writes.revoked))
            for scope, body_mac, created_at, position, result in writes.replays:
                connection.execute(_REPLAY_INSERT, (scope, body_mac, created_at, first + position, result))
            _commit(connection)
        return first

    def close(self) -> None:
        """See the protocol."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        with self._guarded() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _read_blobs(self, statement: str, values: Sequence[bytes]) -> list[Any]:
        rows: list[Any] = []
        for start in range(0, len(values), _BLOB_CHUNK):
            chunk = tuple(values[start : start + _BLOB_CHUNK])
            rows += self._read(statement.format(",".join("?" * len(chunk))), chunk)
        return rows

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """Give the connection; on any error leave no transaction open and say what became of it."""
        connection = self._open()
        try:
            yield connection
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeError):
            self._roll_back()
            raise RolledBackError("the database refused a statement") from None
        except sqlite3.Error:
            self._roll_back()
            raise UnavailableError("the database cannot serve now") from None
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = cast("sqlite3.Connection", self._database.hold())
        return self._connection


def _write_each(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write ``rows``, each of which is to change one row. Raises OvertakenError."""
    if rows and connection.executemany(statement, rows).rowcount != len(rows):
        raise OvertakenError("a token was written meanwhile")


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if disk_failed(error):
            raise OutcomeUnknownError("the disk failed a commit") from None
        raise


def _json_array(values: Sequence[int]) -> str:
    return str(list(values))  # of integers, and so JSON too
