"""One request on its way through the lane: what tokenize, detokenize and search have in common.

A work is begun (decided, validated), says what it needs read, is completed
(sealed or opened) and drafted as one log entry. Only when that entry is
durable does it get its receipt, and only the receipt releases its values. A
stale revision begins it again from nothing.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any, Final

from keys.envelope import DataKey
from vault.access.decision import Permit
from vault.access.sealing import Alarm
from vault.access.standing import Standing
from vault.audit.entry import NO_DECISION, Decision, Entry
from vault.audit.packing import Items
from vault.audit.receipt import Receipt
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, LimitExceededError, VaultError
from vault.domain.faults import describe
from vault.domain.model import Actor, Origin, Outcome, Reveal
from vault.fields.notes import normalise_note
from vault.storage.errors import RolledBackError
from vault.storage.hot import HotConnection, OwnedRow, TokenRow, Triple, Writes
from vault.tokens.audienceids import AudienceIds
from vault.tokens.requests import MAX_ITEMS
from vault.tokens.rowids import RowIds
from vault.tokens.subjectkeys import SubjectKeyCache, SubjectKeys

LOGGER: Final = logging.getLogger("piivault")

SUBJECT_PREFIX: Final = "sub"


@dataclass(slots=True)
class Needs:
    """What the works of a unit want read, gathered so that each table is asked once."""

    tokens: set[int] = field(default_factory=set)
    subjects: set[int] = field(default_factory=set)
    subject_tokens: set[int] = field(default_factory=set)
    makers: set[int] = field(default_factory=set)
    audience_tokens: set[Triple] = field(default_factory=set)
    references: set[bytes] = field(default_factory=set)
    digests: set[bytes] = field(default_factory=set)
    replays: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Reads:
    """What was read for a unit."""

    tokens: dict[int, TokenRow] = field(default_factory=dict)
    subjects: dict[int, SubjectKeys] = field(default_factory=dict)
    subject_tokens: dict[tuple[int, int], list[OwnedRow]] = field(default_factory=dict)
    """By subject and maker, the newest first."""
    audience_tokens: dict[Triple, TokenRow] = field(default_factory=dict)
    references: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    matches: list[Any] = field(default_factory=list)
    replays: dict[bytes, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Bench:
    """What a work needs at hand while a unit is prepared; one per unit."""

    standing: Standing
    now: datetime
    now_us: int
    connection: HotConnection
    row_ids: RowIds
    audience_ids: AudienceIds
    subject_keys: SubjectKeyCache
    reads: Reads
    writes: Writes
    fresh: list[SubjectKeys]
    """Subjects made in this unit: they may be held once it is durable."""
    permits: dict[tuple[object, ...], Permit]
    """Decisions of this standing that were yes, each good until its own time."""
    alarms: list[Alarm]
    """Rows that did not verify: each becomes an entry of this unit, once per process."""
    renewed: dict[int, tuple[int, DataKey]] = field(default_factory=dict)
    """By subject, the data key made in this unit in the place of a suspect one, and where its row is."""
    missing: set[tuple[int, bytes]] = field(default_factory=set)
    """Subject and envelope, where the envelope's generation is none of those read."""
    made: dict[Triple, int] = field(default_factory=dict)
    """Tokens for an audience made in this unit: where among ``writes.kinded``."""
    changed: set[int] = field(default_factory=set)
    """Tokens for an audience whose value was replaced in this unit."""
    position: int = 0
    """Position, within the unit, of the entry of the work being completed."""

    def undo(self, mark: tuple[int, ...]) -> None:
        """Drop what was to be written since ``mark``, and the data keys made since then with it."""
        self.writes.undo(mark)
        kept = len(self.writes.data_keys)
        self.renewed = {owner: made for owner, made in self.renewed.items() if made[0] < kept}


Result = dict[str, Any]
"""The body of the answer, less the receipt's own members."""


class HotWork(ABC):
    """A request, its entry and its answer."""

    action: Action
    revises = False
    """Whether it changes what other decisions rest on. Such a work comes last in its unit, so that no
    release of the same unit carries a later index than the act that forbids it."""

    def __init__(self, actor: Actor, origin: Origin, purpose: str, reason: str) -> None:
        self.actor = actor
        self.origin = origin
        self.purpose = purpose
        self._reason_given = reason
        self.reason = ""
        """The reason, once it has been screened."""
        self.reveal: Reveal | None = None
        self.error: VaultError | None = None
        self.result: Result = {}
        self.partial = False
        """Whether some item has an error of its own."""
        self.deliver: Callable[[], None] = _nobody_waits
        self.restart()

    def restart(self) -> None:
        """Forget what an earlier attempt decided."""
        self.refusal: VaultError | None = None
        self.decision: Decision = NO_DECISION
        # What a caller sends as a purpose is free text until the policy knows it, and stays out of the log.
        self.known_purpose = ""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of items, at least 1."""

    def screen(self) -> None:
        """Refuse a reason that holds what the log must not. Raises InvalidValueError."""
        reason, self.reason = self._reason_given, ""
        if reason:
            self.reason = normalise_note(reason, field="reason")

    @abstractmethod
    def begin(self, bench: Bench) -> None:
        """Decide and validate. Raises a VaultError that refuses the whole request."""

    @abstractmethod
    def need(self, needs: Needs) -> None:
        """Say what has to be read first."""

    @abstractmethod
    def need_more(self, reads: Reads, needs: Needs) -> None:
        """Say what has to be read after that: the subjects of what was found."""

    @abstractmethod
    def complete(self, bench: Bench) -> None:
        """Seal or open. Raises a VaultError that refuses the whole request."""

    @abstractmethod
    def items(self) -> Items | None:
        """Return the packed items of the entry; None when it was refused before it came to any."""

    @abstractmethod
    def withhold(self, leaf_hashes: tuple[bytes, ...]) -> None:
        """Put away what was opened until the entry of these leaf hashes is durable."""

    @abstractmethod
    def finish(self, receipt: Receipt) -> Result:
        """Return the answer, releasing what was opened against its receipt."""

    def entry(self, entry_id: str, now: datetime, *, note: str, revision: int) -> Entry:
        """Return what the log says about this request, decided at ``revision``."""
        refused = self.refusal
        decision = self.decision
        if refused is not None:
            decision = Decision(rule=getattr(refused, "rule", ""), revision=revision)
        return Entry(
            id=entry_id,
            time=now,
            actor=self.actor,
            origin=self.origin,
            action=self.action,
            outcome=self._outcome(),
            purpose=self.known_purpose,
            reveal=self.reveal,
            error="" if refused is None else refused.code,
            decision=decision,
            note=note,
            items=self.items(),
        )

    def _outcome(self) -> Outcome:
        if self.refusal is not None:
            return Outcome.REFUSED
        return Outcome.RELEASED if self.reveal is not None else Outcome.DONE

    def settle(self, receipt: Receipt) -> None:
        """Take the receipt: the entry is durable. Releases and delivers. Does not raise."""
        if self.refusal is not None:
            self.error = self.refusal
        else:
            try:
                self.result = self.finish(receipt)
                self.result["leaf_hash"] = receipt.leaf_hash.hex()
            except Exception as error:  # noqa: BLE001 - a fault of ours is this caller's, not the lane's
                LOGGER.error("an answer failed: %s", describe(error))  # noqa: TRY400 - a traceback quotes values
                self.error = VaultError()
        self._tell()

    def fail(self, error: VaultError) -> None:
        """Take the error: nothing was released or kept."""
        if isinstance(error, RolledBackError):
            # Alone in its unit and refused by the database: another node was first.
            error = ConflictError("the same subject or idempotency key was being written; ask again")
        self.error = error
        self._tell()

    def _tell(self) -> None:
        try:
            self.deliver()
        except Exception as error:  # noqa: BLE001 - whoever waited has gone; the lane serves the others
            LOGGER.error("a delivery failed: %s", describe(error))  # noqa: TRY400 - a traceback quotes values


def require_size(size: int, limit: int) -> None:
    """Refuse more items than policy and interface allow. Raises LimitExceededError; nothing is cut."""
    allowed = min(limit, MAX_ITEMS)
    if size > allowed:
        raise LimitExceededError(f"items: a request has at most {allowed}", field="items", rule="too_many")


def waiting(work: HotWork) -> Callable[[], Result]:
    """Arrange for a thread to wait for ``work``; call the result after handing the work over."""
    done = Event()
    work.deliver = done.set

    def wait() -> Result:
        done.wait()
        if work.error is not None:
            raise work.error
        return work.result

    return wait


def _nobody_waits() -> None:
    return None
