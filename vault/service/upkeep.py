"""What a running vault does by itself, twice a second: integrate the log, report what it noticed.

A sealed one does as much as it can without keys: it looks whether it may open
by itself, and whether shares have waited too long. One that was sealed since
integrates the log up to that entry with the keys it held, and drops them.

A failure here never stops the vault and is never silent: it is what
``health`` reports until the next round succeeds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from keys.keyring import Keyring
from vault.access.alarms import sweep
from vault.access.changes import Changes
from vault.access.identities import DAY_US, MINUTE_US
from vault.access.leases import HolderError
from vault.access.sealing import Alarm
from vault.access.throttle import tidy
from vault.audit.integrator import Integrator, Progress
from vault.domain.errors import (
    ConflictError,
    SealedError,
    TamperDetectedError,
    UnavailableError,
    VaultError,
)
from vault.domain.faults import describe
from vault.lifecycle.certificates import Issuing
from vault.lifecycle.filing import Filing
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.keys import publish_keys
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

    def __init__(
        self,
        changes: Changes,
        integrator: Integrator,
        clock: Callable[[], datetime],
        *,
        tidy: Callable[[int], object] = lambda _now_us: None,
        drop_keys: Callable[[], object] = lambda: None,
        filing: Filing | None = None,
    ) -> None:
        """``tidy`` is called in each round while sealed, ``drop_keys`` once after a seal.

        ``filing`` is what ``integrator`` calls; without it no certificate is signed.
        """
        self._changes = changes
        self._tidy = tidy
        self._drop_keys = drop_keys
        self._said = ""
        self._integrator = integrator
        self._clock = clock
        self._filing = filing
        self._issuing = Issuing(changes)
        self._stop = threading.Event()
        self._next_sweep = 0
        self._next_replays = 0
        self._published = False
        self._integrated = 0
        self.health = Health(0, "", 0)
        self._thread = threading.Thread(target=self._loop, name="upkeep", daemon=True)
        self._renewal = threading.Thread(name="renewal")

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
        # At the end nothing is opened any more.
        sealed = changes.standings.sealed is not None
        troubles = [
            # Also when nobody asks anything: a planted row is reported as soon as it could count.
            "" if last and sealed else self._try(self._stand, now_us, alarming=not sealed),
            self._try(self._leave, now_us),
        ]
        if changes.standings.sealed is None:
            troubles += [
                self._try(partial(changes.strangers.flush, everything=last), now_us),
                self._after(self._try(self._integrate, now_us), now_us),
                self._try(self._certify, now_us),
                self._try(self._publish, now_us),
                self._try(self._sweep, now_us),
                self._try(self._forget, now_us),
                "" if last else self._try(self._renew, now_us),
            ]
        trouble = next(filter(None, troubles), "")
        self.health = Health(self._integrated, trouble, self.health.since_us if trouble else now_us)

    def _stand(self, now_us: int) -> None:
        """Read what is in force; sealed, open if no person is needed. Raises SealedError while one is."""
        standings = self._changes.standings
        if standings.sealed is None:
            self._changes.standing(now_us)
            return
        self._tidy(now_us)
        try:
            sealed = standings.try_to_open()
        except (UnavailableError, TamperDetectedError) as error:
            self._say(error.detail)
            raise
        if sealed is None:
            self._say("the vault is open")
        else:
            detail = f": {sealed.detail}" if sealed.detail else ""
            self._say(f"the vault is sealed: {sealed.why.value}{detail}")
            raise SealedError("the vault is sealed")

    def _say(self, text: str) -> None:
        """Tell the operator, once until it changes: a sealed vault has no other log to say it in."""
        if text != self._said:
            self._said = text
            LOGGER.warning("%s", text)

    def _leave(self, now_us: int) -> None:
        """Do the last that takes the keys a seal has ended, and let go of them."""
        leaving = self._changes.standings.take_leaving()
        if leaving is None:
            return
        self._drop_keys()
        self._integrate(now_us, leaving.keyring)

    def _try(self, step: Callable[[int], object], now_us: int, *, alarming: bool = True) -> str:
        """Do one step; return the code of what went wrong, empty when nothing did.

        Not ``alarming`` where a sealed vault has said already what it cannot log.
        """
        try:
            step(now_us)
        except VaultError as error:
            if isinstance(error, TamperDetectedError) and alarming:
                self._report(error, now_us)
            return error.code
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the upkeep in silence
            LOGGER.error("upkeep failed: %s", describe(error))  # noqa: TRY400 - a traceback quotes values
            return VaultError.code
        return ""

    def _after(self, trouble: str, now_us: int) -> str:
        """Return ``trouble``; a process whose database went back under it serves nothing from then on."""
        if trouble == TamperDetectedError.code:
            self._try(self._give_up, now_us)
        return trouble

    def _give_up(self, _now_us: int) -> None:
        if self._changes.standings.give_up_if_behind():
            self._drop_keys()
            LOGGER.error("the database went back in time: the vault is sealed")

    def _integrate(self, now_us: int, keyring: Keyring | None = None) -> None:
        behind = True
        while behind:
            progress = (
                self._integrate_once(now_us)
                if keyring is None
                else self._integrator.integrate(keyring, now_us)
            )
            if progress is None:
                return
            self._integrated, behind = progress.size, progress.behind

    def _certify(self, now_us: int) -> None:
        if self._filing is None:
            return
        # Another node was faster, or keys have changed: the next round does it.
        with suppress(StaleRevisionError, RolledBackError, ConflictError):
            self._issuing.issue(filed=self._filing.filed, size=self._integrated, now_us=now_us)

    def _publish(self, _now_us: int) -> None:
        """Store the public keys of the log for the day that this vault is sealed, once a process."""
        if not self._published:
            with self._changes.database.writing() as connection:
                publish_keys(connection, self._changes.standings.current.keyring.signers)
            self._published = True

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

    def _renew(self, now_us: int) -> None:
        """Have the lease prolonged, and say how the last time went. Waits for no slow holder."""
        roots = self._changes.standings.roots
        if roots.renewal_is_due() and not self._renewal.is_alive():
            self._renewal = threading.Thread(
                target=self._try, args=(lambda _now_us: roots.renew(), now_us), name="renewal", daemon=True
            )
            self._renewal.start()
        try:
            roots.require_renewed()
        except HolderError as error:
            self._say(error.detail)
            raise

    def _report(self, error: TamperDetectedError, now_us: int) -> None:
        """Say in the log what does not verify. Where that cannot be said, health says it."""
        try:
            self._changes.alarms.report([Alarm(error.table, error.reference or "0")], now_us=now_us)
        except VaultError as failure:
            LOGGER.error("an alarm could not be logged: %s", failure.code)  # noqa: TRY400 - as above

    def _loop(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.round()


__all__ = ["Health", "HolderError", "Upkeep"]
