"""Data keys of subjects, unwrapped, for as long as nothing a decision depends on changes.

Everything held here was read at one revision and is dropped when that moves
on: an erasure, restriction or revocation on any node raises it. New subjects
are added as they are made. No key is held for longer than ten minutes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from keys.datakeys import Binding, epoch_of
from keys.envelope import DataKey
from keys.errors import DecryptionError, KeysError
from keys.keyring import Keyring
from vault.audit.packing import NO_SUBJECT, SUBJECT_SIZE
from vault.domain.model import SubjectState
from vault.storage.hot import HotConnection, KeyRow

HELD_US: Final = 600 * 1_000_000
"""Then everything is read again: what somebody changed in the database behind our back shows by then."""

HELD: Final = 100_000
"""Subjects held at most, about 80 MB; then all are dropped, which costs reads and nothing else."""


NONE: Final[frozenset[int]] = frozenset()


@dataclass(slots=True)
class SubjectKeys:
    """What the hot path needs to know of one subject."""

    id: int
    nonce: bytes
    kind: str
    log_subject: bytes
    state: SubjectState
    by_generation: dict[int, DataKey]
    newest: int
    broken: bool = False
    """A wrapped key does not open for the state, subject or generation it is stored under."""
    sole: DataKey | None = None
    """The key of an intact, open subject that has just one. A batch looks at this and at nothing else."""
    suspect: frozenset[int] = NONE
    """Generations that somebody else may have: they open, and seal nothing more (envelope.md 4.8)."""
    suspended: frozenset[int] = NONE
    """Generations whose epoch is suspended: they are not among the keys, and that is no tampering."""
    sealing: DataKey | None = None
    """The newest key, unless it is suspect: then what is new needs one that has to be made first."""

    def ready(self) -> SubjectKeys:
        """Return itself, with ``sole`` and ``sealing`` as everything else has it."""
        whole = not (self.broken or self.suspended) and self.state is SubjectState.OPEN
        self.sole = self.by_generation[self.newest] if whole and len(self.by_generation) == 1 else None
        self.sealing = None if self.newest in self.suspect else self.by_generation.get(self.newest)
        return self


class SubjectKeyCache:
    """Belongs to the lane's thread."""

    def __init__(self) -> None:
        self._held: dict[int, SubjectKeys] = {}
        self._until_us = 0

    def drop(self) -> None:
        """Forget everything."""
        self._held.clear()

    def renew(self, now_us: int) -> None:
        """Forget everything that may be older than ``HELD_US``."""
        if now_us >= self._until_us:
            self.drop()
            self._until_us = now_us + HELD_US

    def add(self, subject: SubjectKeys) -> None:
        """Hold a subject."""
        if len(self._held) >= HELD:
            self._held.clear()
        self._held[subject.id] = subject

    def fetch(
        self, ids: Collection[int], keyring: Keyring, connection: HotConnection
    ) -> dict[int, SubjectKeys]:
        """Return the subjects of ``ids``, each once, that exist; one query for all that are not held. HOT."""
        held = self._held
        found = {subject_id: held[subject_id] for subject_id in ids if subject_id in held}
        if len(found) < len(ids):
            missing = [subject_id for subject_id in ids if subject_id not in found]
            for subject in _unwrap(connection.read_keys(missing), keyring):
                found[subject.id] = subject
                # A suspect one gets other keys without the revision moving on: it is read each time.
                if not subject.broken and not subject.suspect:
                    self.add(subject)
        return found

    def forget(self, ids: Collection[int]) -> None:
        """Have these read again."""
        for subject_id in ids:
            self._held.pop(subject_id, None)


def _unwrap(rows: Sequence[KeyRow], keyring: Keyring) -> list[SubjectKeys]:
    subjects: dict[int, SubjectKeys] = {}
    compromised, suspended = keyring.compromised_epochs, keyring.suspended_epochs
    for subject_id, generation, epoch, wrapped, state, log_subject, nonce, kind, suspect in rows:
        subject = subjects.get(subject_id)
        if subject is None:
            subject = SubjectKeys(
                subject_id, bytes(nonce), kind, bytes(log_subject), SubjectState.OPEN, {}, generation or 0
            )
            if len(subject.log_subject) != SUBJECT_SIZE:
                subject.broken, subject.log_subject = True, NO_SUBJECT
            subjects[subject_id] = subject
        try:
            subject.state = SubjectState(state)
            if (subject.state is SubjectState.ERASED) is not (wrapped is None):
                # The erased have no key, and everybody else has one.
                raise DecryptionError
            if generation is None or epoch is None or wrapped is None:
                continue
            if epoch in suspended:
                subject.suspended |= {generation}
                _require_under(epoch, bytes(wrapped))
            else:
                binding = Binding(subject_id, generation, state)
                subject.by_generation[generation] = keyring.epoch(epoch).unwrap(binding, bytes(wrapped))
        except (KeysError, ValueError):
            subject.broken = True
        if generation is None:
            continue
        subject.newest = max(subject.newest, generation)
        if suspect or epoch in compromised:
            subject.suspect |= {generation}
    return [subject.ready() for subject in subjects.values()]


def _require_under(epoch: int, wrapped: bytes) -> None:
    """Raise KeysError unless the header names ``epoch``: more cannot be said of what stays wrapped."""
    if epoch_of(wrapped) != epoch:
        raise DecryptionError
