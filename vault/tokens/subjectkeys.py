"""Data keys of subjects, unwrapped, for as long as nothing a decision depends on changes.

Everything held here was read at one revision and is dropped when that moves
on: an erasure, restriction or revocation on any node raises it. New subjects
are added as they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from keys.datakeys import Binding
from keys.envelope import DataKey
from keys.errors import KeysError
from keys.keyring import Keyring
from vault.domain.model import SubjectState
from vault.storage.hot import HotConnection, KeyRow

HELD: Final = 100_000
"""Subjects held at most, about 80 MB; then all are dropped, which costs reads and nothing else."""


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


class SubjectKeyCache:
    """Belongs to the lane's thread."""

    def __init__(self) -> None:
        self._held: dict[int, SubjectKeys] = {}

    def drop(self) -> None:
        """Forget everything."""
        self._held.clear()

    def add(self, subject: SubjectKeys) -> None:
        """Hold a subject."""
        if len(self._held) >= HELD:
            self._held.clear()
        self._held[subject.id] = subject

    def fetch(
        self, ids: Iterable[int], keyring: Keyring, connection: HotConnection
    ) -> dict[int, SubjectKeys]:
        """Return the subjects of ``ids`` that exist; one query for all that are not held."""
        held = self._held
        found = {}
        missing = []
        for subject_id in ids:
            subject = held.get(subject_id)
            if subject is None:
                missing.append(subject_id)
            else:
                found[subject_id] = subject
        if missing:
            for subject in _unwrap(connection.read_keys(missing), keyring):
                found[subject.id] = subject
                if not subject.broken:
                    self.add(subject)
        return found


def _unwrap(rows: Sequence[KeyRow], keyring: Keyring) -> Iterable[SubjectKeys]:
    subjects: dict[int, SubjectKeys] = {}
    for subject_id, generation, epoch, wrapped, state, log_subject, nonce, kind in rows:
        subject = subjects.get(subject_id)
        if subject is None:
            subject = SubjectKeys(
                subject_id, bytes(nonce), kind, bytes(log_subject), SubjectState.OPEN, {}, generation
            )
            subjects[subject_id] = subject
        try:
            subject.state = SubjectState(state)
            binding = Binding(subject_id, generation, state)
            subject.by_generation[generation] = keyring.epoch(epoch).unwrap(binding, bytes(wrapped))
        except (KeysError, ValueError):
            subject.broken = True
        subject.newest = max(subject.newest, generation)
    return subjects.values()
