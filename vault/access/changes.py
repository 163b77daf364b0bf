"""Make a change to what decisions rest on: decide, change, log, in one transaction.

Every change goes through here, so each has the same frame: the standing in
force is read, the act is decided by it, the rows are changed, the entry is
appended, and all of it commits only if nothing it was decided by has changed
meanwhile. Otherwise it is decided again. A refusal is logged in a transaction
of its own and then raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from random import uniform
from threading import Event
from typing import Any, Final, Generic, TypeVar

from keys.keyring import Keyring
from vault.access.alarms import Alarms
from vault.access.authority import Authority
from vault.access.decision import Question, decide
from vault.access.entries import Request, Said, entry, refused, rule_of, with_said
from vault.access.sealing import Alarm, seal, sift, usable_keys, verify
from vault.access.standing import Standing, Standings
from vault.access.strangers import Strangers
from vault.audit.entry import NO_DECISION, Decision
from vault.audit.journal import Journal
from vault.audit.receipt import Receipt
from vault.domain.actions import Action
from vault.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SubjectErasedError,
    TamperDetectedError,
    VaultError,
)
from vault.fields.notes import normalise_note
from vault.storage import rows
from vault.storage.database import Connection, Database
from vault.storage.errors import RolledBackError, StaleRevisionError

AfterAppend = Callable[[tuple[int, ...]], None]

T = TypeVar("T")
R = TypeVar("R", bound=rows.SealedRow)

ATTEMPTS: Final = 8
"""A change that was overtaken so often in a row meets somebody who changes things in a loop."""

PATIENT_ATTEMPTS: Final = 40
LONGEST_PAUSE_S: Final = 0.2
"""Before each of the attempts beyond ``ATTEMPTS``, at most; together some seconds."""

NARROWING: Final = frozenset(
    {
        Action.GRANT_REVOKE,
        Action.KEY_COMPROMISE,
        Action.KEY_SUSPEND,
        Action.SERVICE_REVOKE,
        Action.STAFF_LEAVE,
        Action.SUBJECT_RESTRICT,
        Action.VAULT_SEAL,
    }
)
"""Acts that take away what somebody may do: the vault is the safer for them, so they are tried for longer."""

REFUSALS: Final = (
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SubjectErasedError,
)
"""What is a refusal and belongs in the log. The rest is a failure of the vault's own."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What an act has done and what the log says about it."""

    value: T
    target: dict[str, str]
    revises: bool
    """Whether what was loaded before must be loaded again: true of every change to a row of the authority."""
    also: tuple[tuple[Action, dict[str, str]], ...] = ()
    """What else the act was, each with a target: entries of their own, in the same unit."""
    said: Said | None = None
    """What the entry of the act says in place of the decision by role, where it is about personal data."""


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """A change that is durable."""

    value: T
    receipt: Receipt


class Attempt:
    """One try at an act: the rows it changes, what it decides by, who asked."""

    __slots__ = ("_later", "alarms", "authority", "connection", "keyring", "request", "standing")

    def __init__(
        self, connection: Connection, standing: Standing, request: Request, alarms: list[Alarm]
    ) -> None:
        self.connection = connection
        self.standing = standing
        self.authority: Authority = standing.authority
        self.keyring: Keyring = standing.keyring
        self.request = request
        self.alarms = alarms
        """Where rows that do not verify are put, for the log."""
        self._later: list[AfterAppend] = []

    def after_append(self, act: AfterAppend) -> None:
        """Have ``act`` called in this transaction, once the entries have their places in the log.

        It is given the log index of each entry, that of the act itself first and those of ``also``
        after it. The log is locked meanwhile: nobody else commits between the entries and what ``act``
        reads, and everybody waits for it.
        """
        self._later.append(act)

    def appended(self, indexes: tuple[int, ...]) -> None:
        """Call what ``after_append`` was given, in that order."""
        for act in self._later:
            act(indexes)

    @property
    def now_us(self) -> int:
        """Time of the request."""
        return self.request.now_us

    def genuine(self, row: R) -> R:
        """Return ``row``, which was read in this attempt. Raises TamperDetectedError, and alarms."""
        try:
            return verify(self.keyring.authority, row)
        except TamperDetectedError:
            self.alarms.append(Alarm(row.table.name, row.row_id))
            raise

    def sifted(self, rows: Iterable[R]) -> list[R]:
        """Return those of ``rows``, read in this attempt, that verify. The others alarm, and stop nothing.

        For what narrows: a row that somebody planted gives no right, and must not keep one in force.
        """
        found: set[Alarm] = set()
        kept = sift(self.keyring.authority, rows, found)
        self.alarms.extend(found)
        return kept

    def tampered(self, table: str, row_id: object) -> TamperDetectedError:
        """Return the error to raise for a row that is not as the vault wrote it, and alarm."""
        self.alarms.append(Alarm(table, str(row_id)))
        return TamperDetectedError(f"a row of {table} does not verify", reference=str(row_id))

    def put(self, row: R) -> R:
        """Seal and insert ``row``."""
        sealed = seal(self.keyring.authority, row)
        rows.insert(self.connection, sealed)
        return sealed

    def change(self, before: R, **columns: Any) -> R:
        """Seal and store ``before`` with other ``columns`` as its next version. Raises ConflictError."""
        after = self._next(before, columns)
        rows.replace(self.connection, before, after)
        return after

    def add_version(self, before: R, **columns: Any) -> R:
        """Seal and insert the next version of an insert-only row beside ``before``."""
        after = self._next(before, columns)
        rows.insert(self.connection, after)
        return after

    def _next(self, before: R, columns: dict[str, Any]) -> R:
        # The bound of R is a base without fields of its own; every row is a frozen dataclass.
        after: R = replace(before, version=before.version + 1, **columns)  # type: ignore[type-var]
        return seal(self.keyring.authority, after)


class Changes:
    """The one way to change what decisions rest on. Thread-safe."""

    def __init__(self, database: Database, journal: Journal, standings: Standings) -> None:
        self.database: Final = database
        self.journal: Final = journal
        self.standings: Final = standings
        self.alarms: Final = Alarms(journal)
        self.strangers: Final = Strangers(journal)

    def standing(self, now_us: int) -> Standing:
        """Return the standing in force, with its alarms in the log. Raises UnavailableError."""
        standing = self.standings.refresh()
        if standing.authority.alarms:
            self.alarms.report(standing.authority.alarms, now_us=now_us)
        return standing

    def make(
        self,
        request: Request,
        action: Action,
        act: Callable[[Attempt], Change[T]],
        *,
        target: dict[str, str] | None = None,
    ) -> Made[T]:
        """Decide whether the actor's role permits ``action``, do ``act`` and log it.

        ``target`` is what a refusal names; a success names the change's own, and
        has the reason of the request as a sealed note. Raises AccessDeniedError,
        InvalidValueError for a reason that holds what the log must not, and
        whatever ``act`` raises; refusals are in the log before they are raised.
        ConflictError when others were faster again and again.
        """
        try:
            return self._repeat(_screened(request), action, act, by_role=True)
        except REFUSALS as error:
            self.refuse(request, action, error, target=target)
            raise

    def observe(
        self,
        request: Request,
        action: Action,
        look: Callable[[Connection, Standing], T],
        *,
        target: dict[str, str] | None = None,
    ) -> Made[T]:
        """Decide as ``make`` does, ``look`` at one state of the database, and log it.

        What is looked at is read before the entry and outside its transaction,
        so that a long look holds up nobody's writing, and given out after it.
        Raises AccessDeniedError and whatever ``look`` raises, logged.
        """
        seen = self.foresee(request, action, look, target=target)
        return self.make(request, action, lambda _: Change(seen, target or {}, revises=False), target=target)

    def foresee(
        self,
        request: Request,
        action: Action,
        look: Callable[[Connection, Standing], T],
        *,
        target: dict[str, str] | None = None,
    ) -> T:
        """Decide as ``make`` does and return what ``look`` finds; only a refusal is logged.

        For what is counted before a change: the change is tried again without
        it when others were faster, and what it says of the number is as of just
        before. Raises AccessDeniedError and whatever ``look`` raises.
        """
        try:
            self._decide(self.standing(request.now_us), request, action)
            with usable_keys(), self.database.reading() as connection:
                return look(connection, self.standings.current)
        except REFUSALS as error:
            self.refuse(request, action, error, target=target)
            raise

    def make_unasked(self, request: Request, action: Action, act: Callable[[Attempt], Change[T]]) -> Made[T]:
        """Do ``act`` and log it where no role decides: whoever asks proves it by what they bring.

        Logs no refusal: the caller knows whether somebody known was refused.
        """
        return self._repeat(request, action, act, by_role=False)

    def refuse(
        self,
        request: Request,
        action: Action,
        error: VaultError,
        *,
        target: dict[str, str] | None = None,
        rule: str = "",
        purpose: str = "",
    ) -> None:
        """Log a refusal durably, by ``rule`` or the one the error names; the caller raises it then."""
        decision = Decision(rule=rule or rule_of(error), revision=self.standings.current.revision)
        self.journal.say([refused(request, action, error, target=target, decision=decision, purpose=purpose)])

    def _repeat(
        self, request: Request, action: Action, act: Callable[[Attempt], Change[T]], *, by_role: bool
    ) -> Made[T]:
        for attempt in range(PATIENT_ATTEMPTS if action in NARROWING else ATTEMPTS):
            if attempt >= ATTEMPTS:
                # A different time for everybody who was overtaken at once.
                Event().wait(uniform(0, LONGEST_PAUSE_S))  # noqa: S311 -- nobody gains by guessing it
            standing = self.standing(request.now_us)
            decision = self._decide(standing, request, action) if by_role else NO_DECISION
            try:
                return self._once(standing, request, action, act, decision=decision)
            except (StaleRevisionError, RolledBackError):
                continue
        raise ConflictError("this was changed by others at the same time; ask again")

    def _once(
        self,
        standing: Standing,
        request: Request,
        action: Action,
        act: Callable[[Attempt], Change[T]],
        *,
        decision: Decision,
    ) -> Made[T]:
        found: list[Alarm] = []
        try:
            with usable_keys(), self.journal.unit() as unit:
                attempt = Attempt(unit.connection, standing, request, found)
                change = act(attempt)
                acts = ((action, change.target), *change.also)
                said = [entry(request, done, target=target, decision=decision) for done, target in acts]
                about = change.said or Said(decision=decision, reason=request.reason)
                said[0], notes = with_said(standing.keyring, said[0], about)
                if change.said is None:
                    # Why it was done is why everything was that it did.
                    for at, alongside in enumerate(said[1:], start=1):
                        said[at], more = with_said(standing.keyring, alongside, about)
                        notes += more
                unit.append(said, revision=standing.revision, revise=change.revises, notes=notes)
                attempt.appended(unit.indexes)
        except TamperDetectedError:
            if self.standings.refresh() is not standing:
                # The row may be under a key that was put in force since: decide again, with that.
                raise StaleRevisionError("decided by keys of an earlier revision") from None
            # The transaction is gone and every change with it; what it found is not.
            self.alarms.report(found, now_us=request.now_us)
            raise
        if found:
            self.alarms.report(found, now_us=request.now_us)
        if change.revises:
            # So that this node's next request is decided by it at once. It is durable already, so what
            # cannot be read now is left to the append, as on every other node.
            with suppress(VaultError):
                self.standings.refresh()
        return Made(change.value, unit.receipts[0])

    def _decide(self, standing: Standing, request: Request, action: Action) -> Decision:
        question = Question(actor=request.actor, action=action, address=request.origin.address)
        permit = decide(standing.authority, question, request.now_us)
        return Decision(rule=permit.rule, revision=permit.revision)


def _screened(request: Request) -> Request:
    """Return ``request`` with its reason as it may be kept. Raises InvalidValueError."""
    if not request.reason:
        return request
    return replace(request, reason=normalise_note(request.reason, field="reason"))
