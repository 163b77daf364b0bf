"""The last checkpoint, kept in a file outside the database.

Whoever puts an old database back puts back an old log with it; this file
remembers how long the log has been. It is replaced atomically and flushed, and
never by a checkpoint of a shorter log.
"""

from __future__ import annotations

import os
from pathlib import Path

from vault.audit.note import Checkpoint, NoteError, NoteKey, open_checkpoint
from vault.domain.errors import TamperDetectedError


class OutsideCheckpoint:
    """One file, one checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, key: NoteKey) -> Checkpoint | None:
        """Return the checkpoint kept, None before the first. Raises TamperDetectedError."""
        try:
            note = self._path.read_text()
        except FileNotFoundError:
            return None
        try:
            return open_checkpoint(note, key)
        except NoteError:
            raise TamperDetectedError("the checkpoint outside the database does not verify") from None

    def advance(self, note: str, key: NoteKey) -> None:
        """Keep ``note`` instead. Raises TamperDetectedError for a log shorter than the one kept."""
        kept = self.read(key)
        checkpoint = open_checkpoint(note, key)
        if kept is not None and (
            kept.size > checkpoint.size or (kept.size == checkpoint.size and kept.root != checkpoint.root)
        ):
            raise TamperDetectedError("the log is not a continuation of the checkpoint kept outside")
        fresh = self._path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
