"""One open vault: every noun, and its running parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from keys.passwords import Passwords
from vault.access import unsealing
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.enrolment import Enrolment
from vault.access.entries import Request
from vault.access.logins import Logins
from vault.access.password_rules import PasswordRules
from vault.access.roots import Roots
from vault.access.standing import Standings
from vault.audit.integrator import Integrator
from vault.audit.journal import Journal
from vault.audit.outside import OutsideCheckpoint
from vault.audit.tombstone_file import TombstoneFile
from vault.domain.actions import Action
from vault.lifecycle.filing import Filing
from vault.rotation.jobs import Worker
from vault.rotation.periods import Light, due_dates, worst
from vault.service.approvals import Approvals
from vault.service.audit import Audit
from vault.service.background import Background
from vault.service.certificates import Certificates
from vault.service.grants import Grants
from vault.service.keys import Keys
from vault.service.services import Services
from vault.service.sessions import Sessions
from vault.service.staff import Staff
from vault.service.subjects import Subjects
from vault.service.tokens import Tokens
from vault.service.unsealing import Unsealing
from vault.service.upkeep import Health, Upkeep
from vault.storage.database import Connection, Database
from vault.storage.hot_postgresql import PostgresqlHotConnection
from vault.storage.hot_sqlite import SqliteHotConnection
from vault.storage.lane import Lane
from vault.storage.maintenance import set_sealed
from vault.storage.suspects import any_marked
from vault.tokens.preparer import PreparedUnit, UnitPreparer
from vault.tokens.work import HotWork


def system_clock() -> datetime:
    """Return the time now; the only place below the interfaces that asks for it."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Status:
    """What anybody on the host may know about an open vault."""

    vault_id: str
    database: str
    root_key: str
    revision: int
    sealed: bool
    next_index: int
    log_key: str
    health: Health
    """How upkeep goes; its trouble is that of a stuck job where it has none of its own."""
    keys: Light
    """How late the latest key is to be replaced; red while a key is compromised or a data key suspect.
    At least yellow while one is suspended."""
    late: tuple[str, ...]
    """Names of the keys whose cryptoperiod is over."""
    compromised: tuple[str, ...]
    """Names of the keys that somebody else may have; ``data_key`` where data keys are marked suspect."""
    suspended: tuple[str, ...]
    """Names of the keys that open nothing until somebody knows whether they are safe."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What is measured without a key."""

    next_index: int
    revision: int
    integrated: int
    trouble: str
    background_trouble: str
    """Code of what keeps a job from going on here; empty when nothing does."""
    sealed: bool
    """Whether this process serves nothing."""
    sealed_everywhere: bool
    """Whether the vault itself is sealed, on every node."""


class Vault:
    """One vault, sealed until its standing is opened. Thread-safe; ``close`` ends it in order."""

    def __init__(
        self,
        database: Database,
        roots: Roots,
        outside: OutsideCheckpoint,
        *,
        clock: Callable[[], datetime] = system_clock,
        passwords: Passwords | None = None,
    ) -> None:
        self.clock: Final = clock
        self._database = database
        self.standings: Final = Standings(database, roots)
        standings = self.standings
        journal = Journal(database, lambda: standings.current.keyring, renew=standings.refresh)
        self.changes: Final = Changes(database, journal, self.standings)
        hot = PostgresqlHotConnection if database.dialect == "postgresql" else SqliteHotConnection
        preparer = UnitPreparer(self.standings, clock)
        self.tokens: Final = Tokens(Lane[HotWork, PreparedUnit](preparer, hot(database)))
        self.audit: Final = Audit(self.changes)
        self.keys: Final = Keys(self.changes)
        passwords, rules = passwords or Passwords(), PasswordRules()
        self.sessions: Final = Sessions(self.changes, Logins(self.changes, passwords, rules))
        self.staff: Final = Staff(self.changes, Enrolment(self.changes, passwords, rules))
        self.services: Final = Services(self.changes)
        self.grants: Final = Grants(self.changes)
        self.subjects: Final = Subjects(self.changes)
        self.certificates: Final = Certificates(self.changes)
        self.approvals: Final = Approvals(self.changes)
        self.filing: Final = Filing(database, TombstoneFile(outside.tombstones), self.changes.alarms)
        collected = unsealing.Unsealing(database, self.standings, self.changes.strangers)
        self.unsealing: Final = Unsealing(collected)
        self.upkeep: Final = Upkeep(
            self.changes,
            Integrator(database, outside, self.filing.file),
            clock,
            filing=self.filing,
            tidy=collected.tidy,
            drop_keys=self.tokens.forget,
        )
        self.worker: Final = Worker(self.changes, clock)
        self.background: Final = Background(self.worker)

    def start(self) -> None:
        """Begin what a running vault does by itself: upkeep, and background work."""
        self.upkeep.start()
        self.background.start()

    def now_us(self) -> int:
        """Return the time now in microseconds since the epoch."""
        return int(self.clock().timestamp() * 1_000_000)

    @property
    def is_sealed(self) -> bool:
        """Whether it serves nothing now. HOT."""
        return self.standings.sealed is not None

    def seal(self, request: Request, reason: str = "") -> Made[None]:
        """Seal the vault: from the index of the entry on no node does anything. Raises AccessDeniedError.

        ``reason`` goes beside the log, sealed. Raises InvalidValueError for one that names a person's
        number. Each node drops its keys within a round of its upkeep.
        """

        def act(attempt: Attempt) -> Change[None]:
            # Its entry is the last one until somebody unseals: a sealed vault takes none.
            attempt.after_append(lambda _indexes: set_sealed(attempt.connection))
            return Change(None, {}, revises=True)

        return self.changes.make(replace(request, reason=reason), Action.VAULT_SEAL, act)

    def counts(self) -> Counts:
        """Return what is measured, sealed or not. Raises UnavailableError."""
        with self._database.reading() as connection:
            counter = self._database.counter(connection)
        health = self.upkeep.health
        return Counts(
            next_index=counter.next_index,
            revision=counter.revision,
            integrated=health.integrated,
            trouble=health.trouble,
            background_trouble=self.background.trouble,
            sealed=self.is_sealed or counter.sealed,
            sealed_everywhere=counter.sealed,
        )

    def status(self) -> Status:
        """Return the state of the vault. Raises UnavailableError when the database cannot be asked."""
        with self._database.reading() as connection:
            return self._status(connection)

    def _status(self, connection: Connection) -> Status:
        counter = self._database.counter(connection)
        standing = self.standings.current
        dates = due_dates(standing, self.now_us())
        health = self.upkeep.health
        compromised = standing.compromised + (("data_key",) if any_marked(connection) else ())
        lights = [Light.RED] if compromised else [due.light for due in dates]
        return Status(
            vault_id=counter.vault_id.hex(),
            database=self._database.dialect,
            root_key=self.standings.roots.description,
            revision=counter.revision,
            sealed=counter.sealed,
            next_index=counter.next_index,
            log_key=self.audit.public_key(),
            health=replace(health, trouble=health.trouble or self.background.trouble),
            keys=worst([*lights, Light.YELLOW] if standing.suspended else lights),
            late=tuple(due.name for due in dates if due.light is not Light.GREEN),
            compromised=compromised,
            suspended=standing.suspended,
        )

    def show_status(self, request: Request) -> Made[Status]:
        """Return the state of the vault to somebody who asks from elsewhere. Raises AccessDeniedError."""

        def act(attempt: Attempt) -> Change[Status]:
            return Change(self._status(attempt.connection), {}, revises=False)

        return self.changes.make(request, Action.VAULT_STATUS, act)

    def close(self) -> None:
        """Finish what was handed over, integrate the log once more, close the database."""
        try:
            self.tokens.close()
            self.background.stop()
            self.upkeep.stop()
        finally:
            self._database.close()
