"""Tokens that an actor has made before, found again by subject, field and value.

Only the actor's own: whoever may tokenize could otherwise test guesses about
values that others stored, and of an enumerated field confirm every one.
"""

from __future__ import annotations

from hashlib import sha256

from vault.access.standing import FieldSlot
from vault.domain.model import Actor
from vault.storage.hot import OwnedRow, TokenRow
from vault.tokens.detokenize import open_value
from vault.tokens.subjectkeys import SubjectKeys
from vault.tokens.work import Bench


def maker_of(actor: Actor) -> int:
    """Return the number that a token row keeps of whoever made it."""
    return int.from_bytes(sha256(actor.id.encode()).digest()[:8], "big", signed=True)


class OwnTokens:
    """What one request may answer with. Each subject's rows are opened once, whatever the items."""

    def __init__(self, actor: Actor, bench: Bench) -> None:
        self._maker = maker_of(actor)
        self._bench = bench
        self._by_subject: dict[int, dict[tuple[int, str], OwnedRow]] = {}

    def find(self, subject: SubjectKeys, slot: FieldSlot, value: str) -> OwnedRow | None:
        """Return the newest token of this actor that stands for ``value`` in this field, if there is one."""
        rows = self._by_subject.get(subject.id)
        if rows is None:
            rows = self._by_subject[subject.id] = self._open(subject)
        return rows.get((slot.id, value))

    def _open(self, subject: SubjectKeys) -> dict[tuple[int, str], OwnedRow]:
        found: dict[tuple[int, str], OwnedRow] = {}
        for row in self._bench.reads.subject_tokens.get((subject.id, self._maker), ()):
            slot = self._bench.standing.by_id.get(row[3])
            random: TokenRow = (*row[:6], None, None, None)
            opened = None if slot is None else open_value(random, slot, subject, self._bench)
            if isinstance(opened, tuple):
                found.setdefault((row[3], opened[1]), row)
        return found
