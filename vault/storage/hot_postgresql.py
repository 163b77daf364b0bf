"""The hot path on PostgreSQL: libpq, binary, prepared, one connection held by the lane.

A unit that only logs, with or without sealed reasons, is one statement and so
one round trip and one flush: the server commits it by itself. A unit with rows
is BEGIN, one COPY a table, the append, COMMIT. COPY was measured against unnest
at 1,000 rows: 9.4 ms and 14.3 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import psycopg
from psycopg.pq import TransactionStatus

from vault.domain.errors import OutcomeUnknownError, UnavailableError, VaultError
from vault.storage import hot
from vault.storage.append import LogUnit, append_postgresql
from vault.storage.copying import copied
from vault.storage.database import Database, unconfirmed
from vault.storage.errors import OvertakenError, RolledBackError
from vault.storage.prepared import Prepared, bytea_array, int4, int8, int8_array

_TOKENS = (
    "SELECT id, nonce, subject_id, field_id, envelope, created_at, kind, audience_id, spent_at"
    " FROM token WHERE id = ANY($1::int8[])"
)
_SUBJECT_TOKENS = (
    "SELECT t.id, t.nonce, t.subject_id, t.field_id, t.envelope, t.created_at, t.created_by"
    " FROM unnest($1::int8[]) AS s (id) CROSS JOIN unnest($2::int8[]) AS m (id) CROSS JOIN LATERAL"
    " (SELECT * FROM token WHERE subject_id = s.id AND created_by = m.id AND envelope IS NOT NULL"
    " AND kind IS NULL ORDER BY id DESC LIMIT $3::int8) AS t"
)
_AUDIENCE_TOKENS = (
    "SELECT t.id, t.nonce, t.subject_id, t.field_id, t.envelope, t.created_at, t.kind, t.audience_id,"
    " t.spent_at FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS w (subject, field, audience)"
    " JOIN token AS t ON t.subject_id = w.subject AND t.field_id = w.field::int2"
    " AND t.audience_id = w.audience::int2 AND t.audience_id IS NOT NULL"
)
_AUDIENCES = "SELECT id, name FROM audience"
_ADD_AUDIENCE = (
    "INSERT INTO audience (id, name) SELECT coalesce(max(id), 0) + 1, $1::text FROM audience"
    " ON CONFLICT DO NOTHING"
)
_KEYS = (
    "SELECT s.id, k.generation, k.epoch, k.wrapped, s.state, s.log_subject, s.nonce, s.kind,"
    " k.suspect::int4"
    " FROM subject s LEFT JOIN data_key k ON k.subject_id = s.id WHERE s.id = ANY($1::int8[])"
)
_MATCHES = (
    "SELECT t.id, t.nonce, t.subject_id, t.field_id, d.digest, t.audience_id"
    " FROM unnest($1::bytea[]) AS d (digest) CROSS JOIN LATERAL"
    " (SELECT id, nonce, subject_id, field_id, audience_id FROM token WHERE digest = d.digest"
    " AND envelope IS NOT NULL ORDER BY id LIMIT $2::int8) AS t"
)
_REFERENCES = "SELECT ref_digest, id, ref_envelope FROM subject WHERE ref_digest = ANY($1::bytea[])"
_REPLAYS = (
    "SELECT scope, body_mac, created_at, log_index, result FROM idempotency WHERE scope = ANY($1::bytea[])"
)
_IDS = (
    "INSERT INTO id_block (partition, next_sequence) VALUES ($1::int4, 1 + $2::int8)"
    " ON CONFLICT (partition) DO UPDATE SET next_sequence = id_block.next_sequence + $2::int8"
    " RETURNING next_sequence - $2::int8"
)

_TOKEN_TYPES: Final = ("int8", "bytea", "int8", "int2", "int8", "int8", "int2", "bytea", "bytea")
_COPIES: Final = (
    (
        "subjects",
        "subject",
        hot.SUBJECT_COLUMNS,
        ("int8", "bytea", "text", "int2", "bytea", "bytea", "bytea", "int8", "int2"),
    ),
    ("data_keys", "data_key", hot.DATA_KEY_COLUMNS, ("int8", "int4", "int4", "bytea")),
    ("tokens", "token", hot.TOKEN_COLUMNS, _TOKEN_TYPES),
    ("kinded", "token", hot.KINDED_COLUMNS, (*_TOKEN_TYPES, "int2", "int2")),
)
_COPY_TEXT: Final = {
    attribute: f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    for attribute, table, columns, _ in _COPIES
}
_ONE_PER_AUDIENCE: Final = "uq_token_audience"
_REPLACE = (
    "UPDATE token AS t SET digest_version = nullif(x.version, 0)::int2, digest = nullif(x.digest, ''::bytea),"
    " envelope = x.envelope FROM unnest($1::int8[], $2::int8[], $3::bytea[], $4::bytea[])"
    " AS x (id, version, digest, envelope) WHERE t.id = x.id AND t.envelope IS NOT NULL RETURNING t.id"
)
_SPEND = (
    "UPDATE token AS t SET envelope = NULL, digest = NULL, digest_version = NULL, spent_at = x.at"
    " FROM unnest($1::int8[], $2::int8[]) AS x (id, at)"
    " WHERE t.id = x.id AND t.envelope IS NOT NULL AND t.kind = 2 RETURNING t.id"
)
_REVOKE = (
    "UPDATE token SET envelope = NULL, digest = NULL, digest_version = NULL, audience_id = NULL"
    " WHERE id = ANY($1::int8[]) AND envelope IS NOT NULL RETURNING id"
)
_REPLAY_INSERT = (
    "INSERT INTO idempotency (scope, body_mac, created_at, log_index, result)"
    " VALUES ($1::bytea, $2::bytea, $3::int8, $4::int8, $5::bytea)"
)


_CERTAIN: Final = frozenset({"22", "23", "40"})
"""Classes of errors that some work of the unit brought about: data, constraint, deadlock."""


_SESSION: Final = (
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_mergejoin = off;"
    " SET enable_hashjoin = off; SET max_parallel_workers_per_gather = 0; SET jit = off"
)
"""Every statement here finds its rows by an index, however many they are: planned once, not at each call.

Of tables that grew since they were last analysed the planner knows nothing: it would read the whole of a
second one instead of looking up a few rows in it, or start a process to help, for every request.
"""


class PostgresqlHotConnection:
    """See :class:`vault.storage.hot.HotConnection`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: psycopg.Connection[Any] | None = None
        self._copying: psycopg.Cursor[Any] | None = None
        self._statements: Prepared | None = None
        self._unconfirmed = False

    def read_tokens(self, ids: Sequence[int]) -> list[hot.TokenRow]:
        """See the protocol."""
        return self._read(_TOKENS, int8_array(ids))

    def read_subject_tokens(self, subject_ids: Sequence[int], makers: Sequence[int]) -> list[hot.OwnedRow]:
        """See the protocol."""
        return self._read(_SUBJECT_TOKENS, int8_array(subject_ids), int8_array(makers), int8(hot.OWNED_LIMIT))

    def read_audience_tokens(self, wanted: Sequence[hot.Triple]) -> list[hot.TokenRow]:
        """See the protocol."""
        return self._read(
            _AUDIENCE_TOKENS, *(int8_array([triple[at] for triple in wanted]) for at in range(3))
        )

    def read_audiences(self) -> list[tuple[int, str]]:
        """See the protocol."""
        return self._read(_AUDIENCES)

    def add_audience(self, name: str) -> None:
        """See the protocol."""
        self._read(_ADD_AUDIENCE, name.encode())

    def read_keys(self, subject_ids: Sequence[int]) -> list[hot.KeyRow]:
        """See the protocol."""
        return self._read(_KEYS, int8_array(subject_ids))

    def read_matches(self, digests: Sequence[bytes]) -> list[hot.MatchRow]:
        """See the protocol."""
        return self._read(_MATCHES, bytea_array(digests), int8(hot.MATCH_LIMIT))

    def read_references(self, digests: Sequence[bytes]) -> list[hot.ReferenceRow]:
        """See the protocol."""
        return self._read(_REFERENCES, bytea_array(digests))

    def read_replays(self, scopes: Sequence[bytes]) -> list[hot.ReplayRow]:
        """See the protocol."""
        return self._read(_REPLAYS, bytea_array(scopes))

    def take_ids(self, partition: int, count: int) -> int:
        """See the protocol."""
        ((first,),) = self._read(_IDS, int4(partition), int8(count))
        return int(first)

    def commit(self, unit: LogUnit, writes: hot.Writes, revision: int) -> int:
        """See the protocol."""
        self._unconfirmed = False
        if writes.only_notes:
            with self._guarded(committing=True) as statements:
                first = append_postgresql(
                    statements, unit, revision=revision, revise=False, notes=writes.notes
                )
            self._confirm()
            return first
        with self._guarded(committing=False) as statements:
            statements.command("BEGIN")
            _copy(self._copying, writes)
            _change(statements, writes)
            first = append_postgresql(
                statements, unit, revision=revision, revise=bool(writes.revoked), notes=writes.notes
            )
            for scope, body_mac, created_at, position, result in writes.replays:
                values = (scope, body_mac, int8(created_at), int8(first + position), result)
                statements.run(_REPLAY_INSERT, values)
            transaction = statements
        with self._guarded(committing=True) as statements:
            if statements is not transaction:
                # Opened anew: a COMMIT would succeed there and commit nothing.
                raise UnavailableError("the database connection was lost")
            if statements.command("COMMIT") != "COMMIT":
                raise UnavailableError("the database rolled back")
        self._confirm()
        return first

    def close(self) -> None:
        """See the protocol."""
        if self._connection is not None:
            self._connection.close()
            self._connection = self._copying = self._statements = None

    def _read(self, statement: str, *values: bytes) -> list[Any]:
        with self._guarded(committing=False) as statements:
            return statements.run(statement, values)

    @contextmanager
    def _guarded(self, *, committing: bool) -> Iterator[Prepared]:
        """Give the statements; on any error leave no transaction open and say what became of it."""
        statements = self._open()
        try:
            yield statements
        except psycopg.Error as error:
            raise self._classified(error, committing=committing) from None
        except BaseException:
            self._roll_back()
            raise

    def _classified(self, error: psycopg.Error, *, committing: bool) -> VaultError:
        """Name what happened: only an ERROR on a live connection proves the rollback."""
        alive = self._connection is not None and not self._connection.closed
        # FATAL ends the session: it can arrive after the commit it interrupts.
        if not alive or error.sqlstate is None or error.diag.severity_nonlocalized != "ERROR":
            self.close()
            if committing:
                return OutcomeUnknownError("the database did not answer a commit")
            return UnavailableError("the database connection was lost")
        self._roll_back()
        if error.diag.constraint_name == _ONE_PER_AUDIENCE:
            return OvertakenError("a token for this audience was made meanwhile")
        if error.sqlstate[:2] in _CERTAIN:
            return RolledBackError(f"the database refused a statement ({error.sqlstate})")
        return UnavailableError(f"the database cannot serve now ({error.sqlstate})")

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.info.transaction_status != TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def _confirm(self) -> None:
        """Refuse a commit that the server itself calls unconfirmed by its standby."""
        if self._unconfirmed:
            self._unconfirmed = False
            raise OutcomeUnknownError("the synchronous standby did not confirm")

    def _open(self) -> Prepared:
        if self._statements is not None and self._connection is not None and not self._connection.closed:
            return self._statements
        connection = cast("psycopg.Connection[Any]", self._database.hold())
        connection.autocommit = True
        connection.add_notice_handler(self._notice)
        statements = Prepared(connection)
        try:
            statements.command(_SESSION)
        except psycopg.Error:
            connection.close()
            raise UnavailableError("the database connection was lost") from None
        self._connection, self._copying, self._statements = connection, connection.cursor(), statements
        return statements

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if unconfirmed(notice):
            self._unconfirmed = True


def _copy(cursor: psycopg.Cursor[Any] | None, writes: hot.Writes) -> None:
    assert cursor is not None  # a transaction has begun on its connection
    for attribute, _, _, types in _COPIES:
        rows = getattr(writes, attribute)
        if rows:
            with cursor.copy(_COPY_TEXT[attribute]) as copy:
                copy.write(copied(types, writes.ordered() if rows is writes.kinded else rows))


def _change(statements: Prepared, writes: hot.Writes) -> None:
    """Replace, spend and revoke what another node has not been faster with. Raises OvertakenError."""
    if writes.replaced:
        ids, versions, digests, envelopes = zip(*writes.latest(), strict=True)
        values = (
            int8_array(ids),
            int8_array([version or 0 for version in versions]),
            bytea_array([digest or b"" for digest in digests]),
            bytea_array(envelopes),
        )
        _require_all(statements.run(_REPLACE, values), ids)
    if writes.spent:
        ids, times = zip(*sorted(writes.spent), strict=True)
        _require_all(statements.run(_SPEND, (int8_array(ids), int8_array(times))), ids)
    if writes.revoked:
        _require_all(statements.run(_REVOKE, (int8_array(writes.revoked),)), writes.revoked)


def _require_all(changed: Sequence[Any], ids: Sequence[int]) -> None:
    if len(changed) != len(ids):
        raise OvertakenError("a token was written meanwhile")
