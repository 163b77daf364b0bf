"""The log for reviewers: list, show, export. Reading the log is itself logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from keys.errors import MalformedError
from keys.keyring import KeyKind
from keys.states import VERIFYING, KeyState
from vault.access.changes import Changes
from vault.access.entries import Request
from vault.access.standing import Standing
from vault.audit.folder import Written, write_export
from vault.audit.integrator import log_key
from vault.audit.note import checkpoint_unverified, public_vkey
from vault.audit.reasons import open_reason
from vault.domain.actions import Action
from vault.domain.errors import InvalidInputError, NotFoundError, SealedError, TamperDetectedError
from vault.storage import log
from vault.storage.database import Connection
from vault.storage.keys import read_key_dates, read_keys

PAGE: Final = 100
EXPORT_PAGE: Final = 1_000
SCANNED: Final = 20_000
"""Entries looked through for one page; the cursor says where the next page goes on."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a page of the log is narrowed to. Empty means everything."""

    actor: str = ""
    action: str = ""
    outcome: str = ""
    request: str = ""
    purpose: str = ""

    def match(self, body: dict[str, Any]) -> bool:
        """Say whether an entry belongs to the page."""
        return (
            self.actor in {"", body["actor"]["id"], body["actor"]["name"]}
            and self.action in {"", body["action"]}
            and self.outcome in {"", body["outcome"]}
            and self.request in {"", body["request"]}
            and self.purpose in {"", body["purpose"]}
        )


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries, the newest first, and where to go on."""

    entries: list[dict[str, Any]]
    next: int | None
    """Pass as ``before`` for the next page; None at the beginning of the log."""


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Stored bytes of consecutive entries, and the checkpoints on the first page."""

    start: int
    bodies: list[bytes]
    checkpoints: list[str]
    size: int
    """Entries that the newest checkpoint covers: an export ends there."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key that signs checkpoints. Times are microseconds since the epoch."""

    vkey: str
    since_us: int
    replaced_us: int | None
    """When another took over; it signs beside that one until it is destroyed. None: it is in force."""


class Audit:
    """Thread-safe."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def list(self, request: Request, filters: Filters, *, before: int | None, limit: int) -> LogPage:
        """Return a page of entries. Raises AccessDeniedError, InvalidInputError."""
        if not 1 <= limit <= PAGE:
            raise InvalidInputError(f"limit: 1 to {PAGE}", field="limit", rule="range")

        def look(connection: Connection, _standing: Standing) -> LogPage:
            return _page(connection, filters, before=before, limit=limit)

        return self._changes.observe(request, Action.AUDIT_LIST, look).value

    def show(self, request: Request, index: int) -> dict[str, Any]:
        """Return one entry, with the reason that was given. Raises NotFoundError."""

        def look(connection: Connection, standing: Standing) -> dict[str, Any]:
            found = log.read_entries(connection, index, index + 1)
            if not found:
                raise NotFoundError("the log has no entry of this index")
            entry = _view(found[0])
            entry["reason"] = _reason(connection, standing, entry)
            return entry

        return self._changes.observe(request, Action.AUDIT_SHOW, look, target={"index": str(index)}).value

    def export_page(self, request: Request, *, start: int) -> ExportPage:
        """Return the next stretch of an export; the whole of it is start 0 and on. Raises NotFoundError."""

        def look(connection: Connection, _standing: Standing) -> ExportPage:
            newest = log.read_last_checkpoint(connection)
            if newest is None:
                raise NotFoundError("the log has no checkpoint yet")
            size = checkpoint_unverified(newest).size
            stop = min(start + EXPORT_PAGE, size)
            entries = log.read_entries(connection, start, stop)
            notes = list(log.read_checkpoints(connection, up_to=size)) if start == 0 else []
            bodies = [entry.body for entry in entries]
            return ExportPage(start, bodies, notes, size)

        return self._changes.observe(request, Action.AUDIT_EXPORT, look, target={"from": str(start)}).value

    def public_key(self) -> str:
        """Return the public key of the log, as ``vkey`` text. Not secret, not logged. As ``public_keys``."""
        return self.public_keys()[0].vkey

    def public_keys(self) -> tuple[LogKey, ...]:
        """Return every key that signs checkpoints: the one in force first. Not secret, not logged.

        While sealed, as they stand in the database: nothing can vouch for them then.
        Raises SealedError when none stands there, TamperDetectedError for what is
        none, UnavailableError.
        """
        if self._changes.standings.sealed is not None:
            return self._stored_public_keys()
        standing = self._changes.standings.current
        halves = [
            (f"{KeyKind.LOG_SIGNING}/{signer.name}/{signer.version}", signer.name, signer.public)
            for signer in standing.keyring.signers
        ]
        return _log_keys(halves, standing.key_dates)

    def _stored_public_keys(self) -> tuple[LogKey, ...]:
        with self._changes.database.reading() as connection:
            dates = read_key_dates(connection)
            records = [
                record
                for record in read_keys(connection)
                if record.kind is KeyKind.LOG_SIGNING and record.state in VERIFYING and record.public
            ]
        active = next((record for record in records if record.state is KeyState.ACTIVE), None)
        if active is None:
            raise SealedError("the vault is sealed")
        # They come in order of version; a log from before a restore has another scope.
        older = [record for record in reversed(records) if record.scope == active.scope and record != active]
        halves = [(record.name, record.scope, record.public) for record in (active, *older)]
        try:
            return _log_keys(halves, dates)
        except MalformedError:
            raise TamperDetectedError("a public key of the log was changed", table="key") from None


def _log_keys(
    halves: Sequence[tuple[str, str, bytes]], dates: Mapping[str, tuple[int, int]]
) -> tuple[LogKey, ...]:
    """Return what is told of these keys: the name of each, the log's name and the public half."""
    found = []
    for at, (name, log_name, public) in enumerate(halves):
        made_us, changed_us = dates[name]
        found.append(LogKey(public_vkey(log_name, public), made_us, changed_us if at else None))
    return tuple(found)


def _page(connection: Connection, filters: Filters, *, before: int | None, limit: int) -> LogPage:
    found: list[dict[str, Any]] = []
    at = before if before is not None else 1 << 62
    scanned = 0
    while len(found) < limit and scanned < SCANNED:
        rows = log.read_entries_before(connection, at, limit=log.PAGE)
        scanned += len(rows)
        for row in rows:
            at = row.idx
            body = _view(row)
            if filters.match(body):
                found.append(body)
                if len(found) == limit:
                    break
        if not rows or at == 0:
            return LogPage(found, at if len(found) == limit and at > 0 else None)
    return LogPage(found, at if at > 0 else None)


def _view(row: log.EntryRow) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(row.body)
    return {"index": row.idx, "leaf_hash": row.leaf.hex(), **body}


def _reason(connection: Connection, standing: Standing, entry: dict[str, Any]) -> str:
    """Open the sealed reason of an entry; empty when none was given or it has been erased."""
    if not entry["note"]:
        return ""
    sealed = log.read_note(connection, bytes.fromhex(entry["note"]))
    if sealed is None:
        return ""
    return open_reason(standing.keyring, entry["id"], sealed)


__all__ = ["Audit", "ExportPage", "Filters", "LogKey", "LogPage", "Written", "log_key", "write_export"]
