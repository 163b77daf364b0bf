"""Issue and show certificates of destruction.

A certificate is signed once its tombstone is outside the database and its entry
under a checkpoint. What it says comes from rows of the erasure's transaction,
each verified, and from the schedule of keys at the time of issue.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from keys.keyring import Keyring
from vault.access.changes import Changes
from vault.access.entries import VAULT, Request, entry, own_origin
from vault.access.sealing import Alarm, seal, usable_keys, verify
from vault.access.standing import Standing
from vault.audit.certificate import Certificate, sign_certificate, time_text
from vault.audit.merkle import leaf_hash
from vault.domain.actions import Action
from vault.domain.errors import NotFoundError, TamperDetectedError
from vault.lifecycle.bound import Bound, read_bound
from vault.storage import certificates as stored
from vault.storage import rows
from vault.storage.database import Connection
from vault.storage.log import read_entries
from vault.storage.tombstones import ERASE, CertificateRow

PAGE: Final = 100
"""Certificates issued in one transaction, and listed at once."""


_ID: Final = re.compile("crt_[0-9a-f]{20}").fullmatch


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate as it is shown."""

    id: str
    seq: int
    """Number of its tombstone."""
    facts: dict[str, Any]
    """Those of the erasure's transaction; none where the row does not verify, in a list."""
    note: str | None
    """The signed text; None until the tombstone is outside the database."""

    @property
    def verifies(self) -> bool:
        """Whether the row is the vault's own."""
        return bool(self.facts)


class Issuing:
    """Signs the certificates that wait. The upkeep of a process calls it, one call at a time."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._settled = 0
        """Certificates of tombstones below this number have their note."""

    def issue(self, *, filed: int, size: int, now_us: int) -> None:
        """Sign what waits, of the first ``filed`` tombstones and with an entry below ``size``.

        At most ``PAGE`` in one call, in one transaction with an entry each. A row
        that does not fit the others keeps no other from being signed, and raises
        TamperDetectedError then. Raises StaleRevisionError or ConflictError when
        another node was faster or keys have changed: the next call does it.
        """
        if self._settled >= filed:
            return
        found = self._look(filed, size, now_us)
        if found.ready:
            _store(self._changes, found.standing, found.ready, now_us)
        if found.fault is not None:
            raise found.fault
        self._settled = found.settled

    def _look(self, filed: int, size: int, now_us: int) -> _Waiting:
        standing = self._changes.standings.current
        found = _Waiting(standing, [], filed)
        with usable_keys(), self._changes.database.reading() as connection:
            rows = stored.certificates_without_note(connection, start=self._settled, below=filed, limit=PAGE)
            if len(rows) == PAGE:
                found.settled = rows[-1].seq + 1
            bound = read_bound(connection, standing.authority.policy.cryptoperiods) if rows else Bound(())
            for row in rows:
                try:
                    if _facts(standing.keyring, row)["log_index"] < size:
                        found.ready.append(
                            (row, _signed(connection, standing.keyring, row, bound=bound, now_us=now_us))
                        )
                    else:
                        found.settled = min(found.settled, row.seq)
                except TamperDetectedError as error:
                    found.fault = found.fault or error
        return found


@dataclass(slots=True)
class _Waiting:
    """What one look has found."""

    standing: Standing
    ready: list[tuple[CertificateRow, str]]
    settled: int
    """Where the next look begins, once the notes are stored."""
    fault: TamperDetectedError | None = None


def list_certificates(changes: Changes, request: Request, before: int) -> list[CertificateView]:
    """Return up to ``PAGE`` certificates of tombstones below number ``before``, the newest first. Logged.

    A row that does not verify hides no other: it is listed as that, with an alarm. Raises AccessDeniedError.
    """

    def look(connection: Connection, standing: Standing) -> list[CertificateView]:
        found = stored.certificates_before(connection, before, PAGE)
        return [_listed(changes, standing, row, request.now_us) for row in found]

    return changes.observe(request, Action.CERTIFICATE_LIST, look).value


def show_certificate(changes: Changes, request: Request, certificate_id: str) -> CertificateView:
    """Return one certificate. Logged. Raises AccessDeniedError, NotFoundError, TamperDetectedError."""

    def look(connection: Connection, standing: Standing) -> CertificateView:
        row = stored.one_certificate(connection, certificate_id)
        if row is None:
            raise NotFoundError("there is no such certificate")
        return _view(changes, standing, row, request.now_us)

    # What a caller made up is no code of the log.
    target = {"certificate": certificate_id} if _ID(certificate_id) else {}
    return changes.observe(request, Action.CERTIFICATE_SHOW, look, target=target).value


def _listed(changes: Changes, standing: Standing, row: CertificateRow, now_us: int) -> CertificateView:
    try:
        return _view(changes, standing, row, now_us)
    except TamperDetectedError:
        # Its id is what somebody wrote there.
        return CertificateView(row.id if _ID(row.id) else "", row.seq, {}, None)


def _view(changes: Changes, standing: Standing, row: CertificateRow, now_us: int) -> CertificateView:
    try:
        facts = _facts(standing.keyring, row)
    except TamperDetectedError:
        changes.alarms.report([Alarm(row.table.name, row.row_id)], now_us=now_us)
        raise
    return CertificateView(row.id, row.seq, facts, row.note)


def _facts(keyring: Keyring, row: CertificateRow) -> dict[str, Any]:
    verify(keyring.authority, row)
    facts: dict[str, Any] = json.loads(row.facts)
    return facts


def _signed(
    connection: Connection, keyring: Keyring, row: CertificateRow, *, bound: Bound, now_us: int
) -> str:
    """Return the note of one certificate, once its rows fit each other."""
    facts = _facts(keyring, row)
    stone = stored.tombstone_at(connection, row.seq)
    said = (ERASE, facts["log_index"], facts["at_us"])
    if stone is None or (stone.act, stone.log_index, stone.at_us) != said:
        raise _contradiction(row)
    verify(keyring.authority, stone)
    found = read_entries(connection, stone.log_index, stone.log_index + 1)
    if not found or found[0].leaf != leaf_hash(found[0].body):
        raise _contradiction(row)
    signer = keyring.signer
    lines = {
        "certificate": row.id,
        "act": stone.act,
        "subject": facts["subject"],
        "ground": facts["ground"],
        "proposed by": facts["proposed_by"],
        "approved by": facts["approved_by"],
        "approval": facts["approval"],
        "decided at": time_text(stone.at_us),
        "data keys destroyed": str(facts["data_keys"]),
        "values destroyed": str(facts["values"]),
        "digests destroyed": str(facts["digests"]),
        "references destroyed": str(facts["references"]),
        "log index": str(stone.log_index),
        "leaf hash": found[0].leaf.hex(),
        "tombstone": str(stone.seq),
        "issued at": time_text(now_us),
        "copies dead by": bound.told(now_us),
    }
    hangs_on = tuple(part.told(now_us) for part in bound.parts)
    return sign_certificate(Certificate(signer.name, lines, hangs_on), signer)


def _store(
    changes: Changes, standing: Standing, ready: list[tuple[CertificateRow, str]], now_us: int
) -> None:
    """Write the notes, with an entry each, if nothing has changed since they were made.

    Another node that was faster has left another version: then this is done again, with nothing to do.
    """
    request = Request(actor=VAULT, origin=own_origin(), now_us=now_us)
    entries = []
    with usable_keys(), changes.journal.unit() as unit:
        for row, note in ready:
            after = CertificateRow(row.id, row.seq, row.facts, note, row.created_at, row.version + 1, b"")
            rows.replace(unit.connection, row, seal(standing.keyring.authority, after))
            target = {
                "certificate": row.id,
                "note": sha256(note.encode()).hexdigest(),
                "tombstone": str(row.seq),
            }
            entries.append(entry(request, Action.CERTIFICATE_ISSUE, target=target))
        unit.append(entries, revision=standing.revision, revise=False)


def _contradiction(row: CertificateRow) -> TamperDetectedError:
    return TamperDetectedError(
        "a certificate does not fit its tombstone", reference=row.id, table=row.table.name
    )
