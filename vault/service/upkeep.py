"""What a running vault does by itself, once a second: integrate the log, report what it noticed.

A failure here never stops the vault and is never silent: it is what
``health`` reports until the next round succeeds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from vault.access.alarms import sweep
from vault.access.changes import Changes
from vault.access.identities import DAY_US, MINUTE_US
from vault.access.sealing import Alarm
from vault.access.throttle import tidy
from vault.audit.integrator import Integrator, Progress
from vault.domain.errors import TamperDetectedError, VaultError
from vault.domain.faults import describe
from vault.storage.errors import StaleRevisionError
from vault.storage.maintenance import forget_replays

LOGGER: Final = logging.getLogger("piivault")

PERIOD_S: Final = 0.5
SWEEP_US: Final = 10 * MINUTE_US
REPLAYS_US: Final = DAY_US
"""Idempotency records are kept for a day."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the last round went."""

    integrated: int
    """Entries the tree covers."""
    trouble: str
    """Code of what went wrong first in the last round; empty when nothing did."""
    since_us: int
    """When the last round that succeeded ended; 0 before the first."""


class Upkeep:
    """A thread that works until it is stopped."""

    def __init__(self, changes: Changes, integrator: Integrator, clock: Callable[[], datetime]) -> None:
        self._changes = changes
        self._integrator = integrator
        self._clock = clock
        self._stop = threading.Event()
        self._next_sweep = 0
        self._next_replays = 0
        self._integrated = 0
        self.health = Health(0, "", 0)
        self._thread = threading.Thread(target=self._loop, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Do one last round, with what is still counted, and end. Without a start there is nothing to end."""
        self._stop.set()
        if self._thread.ident is None:
            return
        self._thread.join()
        self.round(last=True)

    def round(self, *, last: bool = False) -> None:
        """Do everything that is due. What fails keeps nothing else from being done."""
        now_us = int(self._clock().timestamp() * 1_000_000)
        changes = self._changes
        troubles = [
            # Also when nobody asks anything: a planted row is reported as soon as it could count.
            self._try(changes.standing, now_us),
            self._try(partial(changes.strangers.flush, everything=last), now_us),
            self._try(self._integrate, now_us),
            self._try(self._sweep, now_us),
            self._try(self._forget, now_us),
        ]
        trouble = next(filter(None, troubles), "")
        self.health = Health(self._integrated, trouble, self.health.since_us if trouble else now_us)

    def _try(self, step: Callable[[int], object], now_us: int) -> str:
        """Do one step; return the code of what went wrong, empty when nothing did."""
        try:
            step(now_us)
        except VaultError as error:
            if isinstance(error, TamperDetectedError):
                self._report(error, now_us)
            return error.code
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the upkeep in silence
            LOGGER.error("upkeep failed: %s", describe(error))  # noqa: TRY400 - a traceback quotes values
            return VaultError.code
        return ""

    def _integrate(self, now_us: int) -> None:
        behind = True
        while behind:
            progress = self._integrate_once(now_us)
            if progress is None:
                return
            self._integrated, behind = progress.size, progress.behind

    def _integrate_once(self, now_us: int) -> Progress | None:
        standings = self._changes.standings
        known = standings.current
        try:
            return self._integrator.integrate(known.keyring, now_us)
        except (TamperDetectedError, StaleRevisionError):
            # What was read may be under a key that was put in force a moment ago. Once, and only then: what
            # does not verify under the newest keys either is what it seems.
            fresh = standings.refresh()
            if fresh is known:
                raise
            return self._integrator.integrate(fresh.keyring, now_us)

    def _sweep(self, now_us: int) -> None:
        if now_us >= self._next_sweep:
            standings = self._changes.standings
            known = standings.current
            found = sweep(self._changes.database, known.keyring)
            if found and standings.refresh() is not known:
                # Rows may be under a key that was put in force while they were read.
                found = sweep(self._changes.database, standings.current.keyring)
            self._changes.alarms.report(found, now_us=now_us)
            self._next_sweep = now_us + SWEEP_US

    def _forget(self, now_us: int) -> None:
        if now_us >= self._next_replays:
            with self._changes.database.writing() as connection:
                tidy(connection, now_us)
                forget_replays(connection, before_us=now_us - REPLAYS_US)
            self._next_replays = now_us + MINUTE_US

    def _report(self, error: TamperDetectedError, now_us: int) -> None:
        """Say in the log that the log does not verify. Where that cannot be said, health says it."""
        try:
            self._changes.alarms.report([Alarm("log", error.reference or "0")], now_us=now_us)
        except VaultError as failure:
            LOGGER.error("an alarm could not be logged: %s", failure.code)  # noqa: TRY400 - as above

    def _loop(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.round()
