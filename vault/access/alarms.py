"""Put rows that do not verify into the log, once each per process.

``sweep`` looks at every sealed row, also those no decision has read yet, so
that a planted row is found on a timer and not only when it would have counted.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Final

from keys.keyring import Keyring
from vault.access.entries import VAULT, Request, entry, own_origin
from vault.access.sealing import Alarm, sift
from vault.audit.journal import Journal
from vault.domain.actions import Action
from vault.storage.approvals import ApprovalRow
from vault.storage.database import Database
from vault.storage.grants import GrantRow, PolicyRow
from vault.storage.rows import SealedRow
from vault.storage.services import CredentialRow, ServiceRow
from vault.storage.sessions import SessionRow
from vault.storage.staff import InvitationRow, StaffRow, StaffSecretRow
from vault.storage.tombstones import CertificateRow, TombstoneRow

SEALED: Final[tuple[type[SealedRow], ...]] = (
    StaffRow,
    StaffSecretRow,
    InvitationRow,
    SessionRow,
    ServiceRow,
    CredentialRow,
    GrantRow,
    ApprovalRow,
    PolicyRow,
    TombstoneRow,
    CertificateRow,
)
"""Every kind of row that a decision reads or that proves what was done."""

MAX_ENTRIES: Final = 500
"""So many alarms go into one unit; the next unit takes the rest."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")

_LONGEST_ID: Final = 100


class Alarms:
    """Remembers which rows have been reported. Thread-safe."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._reported: set[Alarm] = set()

    def report(self, alarms: Iterable[Alarm], *, now_us: int) -> int:
        """Append an entry for each row not reported yet; return how many there were.

        Raises UnavailableError; what could not be written is reported again later.
        """
        with self._lock:
            fresh = sorted(set(alarms) - self._reported)
            for start in range(0, len(fresh), MAX_ENTRIES):
                chunk = fresh[start : start + MAX_ENTRIES]
                self._append(chunk, now_us)
                self._reported.update(chunk)
            return len(fresh)

    def _append(self, alarms: list[Alarm], now_us: int) -> None:
        request = Request(actor=VAULT, origin=own_origin(), now_us=now_us)
        entries = [
            entry(
                request,
                Action.INTEGRITY_ALARM,
                target={"table": alarm.table, "row": _printable(alarm.row_id)},
            )
            for alarm in alarms
        ]
        self._journal.say(entries)


def sweep(database: Database, keyring: Keyring) -> tuple[Alarm, ...]:
    """Verify every sealed row of the database, history included, and return those that fail."""
    found: set[Alarm] = set()
    with database.reading() as connection:
        for kind in SEALED:
            sift(keyring.authority, kind.everything(connection), found)
    return tuple(sorted(found))


def _printable(row_id: str) -> str:
    """Return the id as a code of the log; whoever planted the row may have chosen anything."""
    return _UNSAFE.sub(".", row_id)[:_LONGEST_ID] or "."
