"""What the hot path reads and writes, in the order of the columns, for both databases.

The hot path runs on one driver connection that its lane holds: no ORM, no
statement per item, no pool checkout, prepared statements. Rows are plain
tuples; their order is written down here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from vault.storage.append import LogUnit

TokenRow: TypeAlias = tuple[int, bytes, int, int, bytes | None, int, int | None, int | None, int | None]
"""id, nonce, subject_id, field_id, envelope (None once revoked or spent), created_at, kind (None: random),
audience_id, spent_at"""

OwnedRow: TypeAlias = tuple[int, bytes, int, int, bytes | None, int, int]
"""id, nonce, subject_id, field_id, envelope, created_at, created_by of a random token"""

OWNED_LIMIT: Final = 256
"""Newest tokens of a subject and maker that are looked through for one that stands for the same value."""

KeyRow: TypeAlias = tuple[int, int | None, int | None, bytes | None, int, bytes, bytes, str, int | None]
"""subject_id, generation, epoch, wrapped, state, log_subject, subject nonce, kind, suspect; the four of
the data key are None where there is none"""

MatchRow: TypeAlias = tuple[int, bytes, int, int, bytes, int | None]
"""id, nonce, subject_id, field_id, digest, audience_id of a live token"""

MATCH_LIMIT: Final = 1_001
"""Rows read for one digest: one more than a search may find."""

Triple: TypeAlias = tuple[int, int, int]
"""subject_id, field_id, audience_id: what a token for an audience is the only one of"""

ReferenceRow: TypeAlias = tuple[bytes, int, bytes]
"""ref_digest, subject_id, ref_envelope"""

ReplayRow: TypeAlias = tuple[bytes, bytes, int, int, bytes]
"""scope, body_mac, created_at, log_index, result"""

SUBJECT_COLUMNS: Final = (
    "id",
    "nonce",
    "kind",
    "state",
    "log_subject",
    "ref_digest",
    "ref_envelope",
    "created_at",
    "ref_version",
)
DATA_KEY_COLUMNS: Final = ("subject_id", "generation", "epoch", "wrapped")
TOKEN_COLUMNS: Final = (
    "id",
    "nonce",
    "subject_id",
    "field_id",
    "created_at",
    "created_by",
    "digest_version",
    "digest",
    "envelope",
)
KINDED_COLUMNS: Final = (*TOKEN_COLUMNS, "kind", "audience_id")
REPLAY_COLUMNS: Final = ("scope", "body_mac", "created_at", "log_index", "result")
NOTE_COLUMNS: Final = ("id", "sealed")


@dataclass(slots=True)
class Writes:
    """Rows of one unit, each a tuple in the order of the ``*_COLUMNS`` above."""

    subjects: list[tuple[Any, ...]] = field(default_factory=list)
    data_keys: list[tuple[Any, ...]] = field(default_factory=list)
    tokens: list[tuple[Any, ...]] = field(default_factory=list)
    """Random ones."""
    kinded: list[tuple[Any, ...]] = field(default_factory=list)
    """Tokens of the other kinds, as ``KINDED_COLUMNS``."""
    replaced: list[tuple[int, int | None, bytes | None, bytes]] = field(default_factory=list)
    """id, digest_version, digest and envelope of tokens for an audience whose value is another now; of two
    for one token the later one counts."""
    spent: list[tuple[int, int]] = field(default_factory=list)
    """id and time of one-time tokens that were opened: they lose the envelope."""
    replays: list[tuple[Any, ...]] = field(default_factory=list)
    """Idempotency rows; ``log_index`` here is the position of the entry within the unit."""
    notes: list[tuple[Any, ...]] = field(default_factory=list)
    revoked: list[int] = field(default_factory=list)
    """Tokens that lose envelope and digest; such a unit raises the revision."""
    contended: bool = False
    """Whether it holds a further generation of a data key, which another writer may be making, too. Refused,
    such a unit is worth preparing again."""

    def mark(self) -> tuple[int, ...]:
        """Return where each list ends, for :meth:`undo`."""
        return tuple(map(len, self._lists()))

    def undo(self, mark: tuple[int, ...]) -> None:
        """Drop what was added since ``mark``."""
        for rows, length in zip(self._lists(), mark, strict=True):
            del rows[length:]

    def place(self, offsets: Sequence[int]) -> None:
        """Turn the position of an entry among the entries into that of its first part in the unit."""
        self.replays = [(*row[:3], offsets[row[3]], row[4]) for row in self.replays]

    def latest(self) -> list[tuple[int, int | None, bytes | None, bytes]]:
        """Return ``replaced``, each token once, by id: whoever writes several locks them in one order."""
        return sorted({row[0]: row for row in self.replaced}.values(), key=lambda row: row[0])

    def ordered(self) -> list[tuple[Any, ...]]:
        """Return ``kinded`` in the order of what must be unique, for the same reason."""
        return sorted(self.kinded, key=lambda row: (row[2], row[3], row[10] or 0))

    @property
    def only_notes(self) -> bool:
        """Whether there is nothing to write but notes, or nothing at all."""
        return not any(rows for rows in self._lists() if rows is not self.notes)

    def _lists(self) -> tuple[list[Any], ...]:
        return (
            *(self.subjects, self.data_keys, self.tokens, self.kinded, self.replaced, self.spent),
            *(self.replays, self.notes, self.revoked),
        )


class HotConnection(Protocol):
    """One held connection. Not thread-safe: it belongs to its lane's thread.

    Every method raises RolledBackError when the database refused and the
    rollback is certain, OutcomeUnknownError when a commit was sent and its
    answer lost, UnavailableError when nothing can be done now. A lost
    connection is opened again by the next call.
    """

    def read_tokens(self, ids: Sequence[int]) -> list[TokenRow]:
        """Read the tokens of these ids, in any order, each at most once."""
        ...

    def read_subject_tokens(self, subject_ids: Sequence[int], makers: Sequence[int]) -> list[OwnedRow]:
        """Read the newest live random tokens of these actors for these subjects, ``OWNED_LIMIT`` a pair."""
        ...

    def read_audience_tokens(self, wanted: Sequence[Triple]) -> list[TokenRow]:
        """Read the token that there is for each of these subjects, fields and audiences."""
        ...

    def read_audiences(self) -> list[tuple[int, str]]:
        """Read the short id and the name of every audience there was ever a token for."""
        ...

    def add_audience(self, name: str) -> None:
        """Give an audience the next short id, in a commit of its own; nothing if somebody was faster."""
        ...

    def read_keys(self, subject_ids: Sequence[int]) -> list[KeyRow]:
        """Read the data keys of these subjects, with the state they are bound to; a row without, too."""
        ...

    def read_matches(self, digests: Sequence[bytes]) -> list[MatchRow]:
        """Read the live tokens of each digest, at most ``MATCH_LIMIT`` each, by id."""
        ...

    def read_references(self, digests: Sequence[bytes]) -> list[ReferenceRow]:
        """Read which of these external references are known."""
        ...

    def read_replays(self, scopes: Sequence[bytes]) -> list[ReplayRow]:
        """Read what earlier requests under these idempotency scopes did."""
        ...

    def take_ids(self, partition: int, count: int) -> int:
        """Reserve ``count`` consecutive sequence numbers in a commit of their own; return the first."""
        ...

    def commit(self, unit: LogUnit, writes: Writes, revision: int) -> int:
        """Write everything of one unit in one commit; return the log index of its first entry.

        Raises StaleRevisionError when ``revision`` is not the current one, OvertakenError when a one-time
        token was spent, or a token for an audience made, since it was read.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
