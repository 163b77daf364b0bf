"""Append to the tombstone file of this host (docs/formats/tombstones.md 4 and 5.2).

What is guaranteed: when ``append`` returns, its lines and a head that counts
them are on disk; a process that dies in between leaves a file that the next
one goes on with. The processes of a host may share the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keys.durable import append_file, flush_folder, locked, replace_file
from keys.signing import SigningKey
from vault.audit.note import NoteKey
from vault.audit.tombstones import (
    Chain,
    Head,
    Tombstone,
    head_path,
    keys_by_id,
    read_bytes,
    read_head,
    require_head,
    sign_head,
    whole_lines,
)
from vault.domain.errors import TamperDetectedError, UnavailableError


@dataclass(frozen=True, slots=True)
class Seen:
    """What the file holds, as it was found."""

    start: int
    """Sequence of the first of ``fresh``; lines before it were seen before."""
    fresh: list[Tombstone]
    """Lines that verify and that this process had not seen."""
    lost: int
    """Lines that were there, by the head or by themselves, and are not to be had any more."""


class TombstoneFile:
    """One file with its head. Not thread-safe: the upkeep of a process has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = Chain()
        self._file: tuple[int, int] | None = None
        self._head: Head | None = None
        self._lost = 0

    @contextmanager
    def hold(self, keys: Iterable[NoteKey]) -> Iterator[Seen]:
        """Keep other processes away and look at what is there. ``keys`` are the log's.

        Lines that the head counts must verify. Others that do not are what a
        loss of power left, and are written again by ``append`` (5.2).
        Raises TamperDetectedError, UnavailableError.
        """
        try:
            with locked(self.path):
                yield self._look(keys_by_id(keys))
        except OSError:
            raise UnavailableError("the tombstone file cannot be written") from None

    def append(
        self, tombstones: Sequence[Tombstone], log_size: int, signer: SigningKey, *beside: SigningKey
    ) -> None:
        """Add the next lines, and state that the file is complete through ``log_size``; while held.

        ``beside`` sign the head too: whoever has an older key alone reads the newest file.
        Raises ValueError when they are not the next, UnavailableError from ``hold``.
        """
        at = self._at.copy()
        data = b"".join([at.sign(tombstone, signer) for tombstone in tombstones])
        if self._lost and self._head is not None:
            # Lines under another key have another chain: this head must not be left beside them.
            head_path(self.path).unlink()
            flush_folder(self.path.parent)
            self._head = None
        if data or self._size() > at.length:
            append_file(self.path, data, at=self._at.length)
        self._at, self._lost = at, 0
        if not self._stated(log_size, signer.name):
            replace_file(head_path(self.path), sign_head(at, log_size, signer, *beside).encode())

    def forget(self) -> None:
        """Look at the whole file the next time."""
        self._at = Chain()

    def _look(self, keys: dict[bytes, NoteKey]) -> Seen:
        self._head = read_head(self.path, keys)
        counted = 0 if self._head is None else self._head.count
        identity = self._identity()
        if identity != self._file or self._size() < self._at.length or counted < self._at.count:
            self._at = Chain()
        self._file = identity
        try:
            seen = self._follow(keys, counted)
        except TamperDetectedError:
            if self._at.count == 0:
                raise
            seen = None
        if seen is None or (seen.lost and seen.start):
            # What was seen before is no longer what is there: the whole file says where it differs.
            self._at = Chain()
            seen = self._follow(keys, counted)
        self._lost = seen.lost
        return seen

    def _follow(self, keys: dict[bytes, NoteKey], counted: int) -> Seen:
        at = self._at.copy()
        fresh: list[Tombstone] = []
        require_head(self._head, at)
        known = at.copy()
        for line in whole_lines(read_bytes(self.path, at.length)):
            try:
                fresh.append(at.follow(line, keys))
            except TamperDetectedError:
                if at.count < counted:
                    raise
                break
            require_head(self._head, at)
            if at.unknown is None:
                known = at.copy()
        # Lines after those that are vouched for are written again by ``append``, as torn ones are.
        start, self._at = self._at.count, known
        del fresh[known.count - start :]
        return Seen(start, fresh, max(0, counted - known.count))

    def _stated(self, log_size: int, log: str) -> bool:
        head = self._head
        if head is None or head.log != log:
            return False
        return head.count == self._at.count and head.through >= log_size

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0
