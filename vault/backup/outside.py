"""What was known outside the database: how long the log has been, and who was erased since.

The tombstone file has to reach as far as the last checkpoint does. Where it
falls short, somebody may have been erased of whom nothing is known any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vault.audit.note import Checkpoint, NoteError, NoteKey, open_checkpoint
from vault.audit.tombstones import Reading, Tombstone, keys_by_id, read, read_head
from vault.backup.newlog import generation
from vault.domain.errors import InvalidInputError, TamperDetectedError

Reach = tuple[int, int]
"""Generation and size of the log that a tombstone file is complete through."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Where to look."""

    checkpoints: tuple[Path, ...]
    """Each is looked at; the newest counts. None of them has to be there."""
    tombstones: tuple[Path, ...]
    """The first has to verify; another is taken if it reaches further."""
    keys: tuple[NoteKey, ...] = ()
    """Public keys of the log that the copy does not know of."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries of the log of which nobody can say whether they erased somebody."""

    log: str
    start: int
    stop: int
    """The first that is not in the gap."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found."""

    checkpoint: Checkpoint | None
    """The newest."""
    tombstones: Path
    """The file that reaches furthest."""
    reading: Reading
    newer: bool
    """Whether it tells of more of the log than the copy and what lies beside it."""
    gap: Gap | None


@dataclass(frozen=True, slots=True)
class _File:
    """A tombstone file that verifies."""

    path: Path
    reading: Reading
    reach: Reach

    @property
    def tombstones(self) -> list[Tombstone]:
        """Its lines."""
        return self.reading.tombstones


def look(
    outside: Outside, keys: Sequence[NoteKey], newest: Checkpoint | None, *, log: str, size: int, raw: bool
) -> Seen:
    """Return what is known outside of a copy whose log is ``log`` with ``size`` entries.

    ``newest`` is the newest checkpoint outside. Beside a ``raw`` copy no file lies
    that is as old as it: the home's goes on.

    Raises TamperDetectedError for what does not verify, InvalidInputError for a
    file that cannot be read.
    """
    trusted = [*keys, *outside.keys]
    files = _files(outside, trusted)
    found, reach = _furthest(files)
    # The copy knows of everything that its own log has.
    own = (generation(log), size)
    known = max(own, reach)
    beside = next((file for file in files if file.path == outside.tombstones[-1] and not raw), None)
    newer = reach > own
    if beside is not None:
        newer = reach > max(own, beside.reach) or len(found.tombstones) > len(beside.tombstones)
    gap = None
    if newest is not None and (generation(newest.origin), newest.size) > known:
        start = known[1] if generation(newest.origin) == known[0] else 0
        gap = Gap(newest.origin, start, newest.size)
    return Seen(newest, found.path, found.reading, newer, gap)


def count_tombstones(outside: Outside, keys: Sequence[NoteKey]) -> int:
    """Return how many tombstones are known outside. Raises TamperDetectedError."""
    return len(_furthest(_files(outside, [*keys, *outside.keys]))[0].tombstones)


def _files(outside: Outside, keys: Sequence[NoteKey]) -> list[_File]:
    first, *others = outside.tombstones
    found = [_read(first, keys)]
    for path in others:
        # What somebody chose has to verify. What lies beside the copy is taken if it is better.
        with suppress(TamperDetectedError):
            found.append(_read(path, keys))
    return found


def _furthest(files: Sequence[_File]) -> tuple[_File, Reach]:
    """Return the file to go by, and how far what is known reaches.

    That is the one that reaches furthest, or one that goes on from its last line: without
    a head it promises nothing, and its lines are genuine all the same.
    """
    furthest = max(files, key=lambda file: file.reach)
    lines = furthest.tombstones
    longer = [file for file in files if file.tombstones[: len(lines)] == lines]
    return max(longer, key=lambda file: len(file.tombstones)), furthest.reach


def _read(path: Path, keys: Sequence[NoteKey]) -> _File:
    head = read_head(path, keys_by_id(keys))
    return _File(path, read(path, keys), (0, 0) if head is None else (generation(head.log), head.through))


def newest_checkpoint(paths: Sequence[Path], keys: Sequence[NoteKey]) -> Checkpoint | None:
    """Return the newest of these that are there. Raises TamperDetectedError, InvalidInputError."""
    found = [_opened(path, keys) for path in paths if path.exists()]
    return max(found, key=lambda one: (generation(one.origin), one.size), default=None)


def _opened(path: Path, keys: Sequence[NoteKey]) -> Checkpoint:
    try:
        note = path.read_bytes().decode(errors="replace")
    except OSError:
        raise InvalidInputError(f"{path} cannot be read", field="checkpoint", rule="unreadable") from None
    for key in keys:
        try:
            return open_checkpoint(note, key)
        except NoteError:
            continue
    raise TamperDetectedError(
        f"{path} is no checkpoint of a log that this copy knows. If a restore or a new log key has begun it"
        " since, the database is older: stop every node, and run piivault restore (--raw for a"
        " database that was put back) with --log-key"
    )
