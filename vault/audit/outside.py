"""The last checkpoint, kept in a file outside the database.

Whoever puts an old database back puts back an old log with it; this file
remembers how long the log has been. It is replaced atomically and flushed, and
never by a checkpoint of a shorter log, whoever else on this host writes it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vault.audit.note import Checkpoint, NoteError, NoteKey, open_checkpoint
from vault.domain.errors import TamperDetectedError, UnavailableError

MODE: Final = 0o600


class OutsideCheckpoint:
    """One file, one checkpoint. The processes of a host may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, *keys: NoteKey) -> Checkpoint | None:
        """Return the checkpoint kept, signed by one of ``keys``; None before the first.

        Raises TamperDetectedError, UnavailableError.
        """
        try:
            note = self._path.read_bytes().decode()
            return open_checkpoint(note, *keys)
        except FileNotFoundError:
            return None
        except OSError:
            raise UnavailableError("the checkpoint outside the database cannot be read") from None
        except (NoteError, UnicodeDecodeError):
            raise TamperDetectedError("the checkpoint outside the database does not verify") from None

    def advance(self, note: str, *keys: NoteKey) -> None:
        """Keep ``note``, a genuine checkpoint, unless one of a longer log is kept already.

        Raises TamperDetectedError when the one kept is of the same size and
        another log, or does not verify; UnavailableError when it cannot be written.
        """
        checkpoint = open_checkpoint(note, *keys)
        try:
            with self._locked():
                kept = self.read(*keys)
                if kept is None or kept.size < checkpoint.size:
                    self._replace(note)
                elif kept.size == checkpoint.size and kept.root != checkpoint.root:
                    raise TamperDetectedError("the log is not the one of the checkpoint kept outside")
        except OSError:
            raise UnavailableError("the checkpoint cannot be kept outside the database") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep the other processes of this host away; the lock ends with the descriptor."""
        lock = self._path.with_name(self._path.name + ".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, note: str) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, MODE), "wb") as file:
            file.write(note.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
