"""Refusals of the unauthenticated, counted and logged in bulk.

Somebody who has no account can make the vault refuse as often as they like, so
one entry stands for all refusals of one source, kind and minute. The number of
sources held is capped: those that come later share one count.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vault.access.entries import Request, entry, own_origin
from vault.access.identities import MINUTE_US
from vault.access.networks import source_of
from vault.audit.entry import Decision, Entry
from vault.audit.journal import Journal
from vault.domain.actions import Action
from vault.domain.model import STRANGER, Origin, Outcome

MAX_SOURCES: Final = 10_000
MAX_ENTRIES: Final = 500
MANY: Final = "many-sources"

_UNSAFE: Final = re.compile(r"[^0-9A-Za-z.:_-]")
_LONGEST_ADDRESS: Final = 64


@dataclass(frozen=True, slots=True)
class _Kind:
    minute: int
    source: str
    action: Action
    error: str
    rule: str


class Strangers:
    """Counts until they are flushed, by a timer and once more at the end. Thread-safe."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._counts: dict[_Kind, tuple[int, int]] = {}

    def note(self, action: Action, address: str, now_us: int, *, error: str, rule: str = "") -> None:
        """Count one refusal. Costs no query and no entry."""
        minute = now_us // MINUTE_US
        kind = _Kind(minute, source_of(address), action, error, rule)
        with self._lock:
            if kind not in self._counts and len(self._counts) >= MAX_SOURCES:
                kind = _Kind(minute, MANY, action, error, rule)
            count, _ = self._counts.get(kind, (0, 0))
            self._counts[kind] = (count + 1, now_us)

    def flush(self, now_us: int, *, everything: bool = False) -> int:
        """Log the minutes that are over, or ``everything`` at the end; return the number of entries.

        Raises UnavailableError; what could not be written is kept and tried again.
        """
        with self._flushing:
            minute = now_us // MINUTE_US
            with self._lock:
                due = [kind for kind in self._counts if everything or kind.minute < minute]
            for start in range(0, len(due), MAX_ENTRIES):
                self._append(due[start : start + MAX_ENTRIES])
            return len(due)

    def _append(self, kinds: Iterable[_Kind]) -> None:
        with self._lock:
            taken = {kind: self._counts.pop(kind) for kind in kinds}
        try:
            self._journal.say([_entry(kind, *counted) for kind, counted in taken.items()])
        except BaseException:
            with self._lock:
                for kind, (count, last) in taken.items():
                    more, later = self._counts.get(kind, (0, 0))
                    self._counts[kind] = (count + more, max(last, later))
            raise


def _entry(kind: _Kind, count: int, last_us: int) -> Entry:
    origin = Origin(request=own_origin().request, address=printable_address(kind.source))
    return entry(
        Request(actor=STRANGER, origin=origin, now_us=last_us),
        kind.action,
        decision=Decision(rule=kind.rule),
        outcome=Outcome.REFUSED,
        error=kind.error,
        count=count,
    )


def printable_address(source: str) -> str:
    """Return ``source`` as an address of the log: an IPv6 network by its first address."""
    return _UNSAFE.sub("_", source.partition("/")[0])[:_LONGEST_ADDRESS] or "unknown"
