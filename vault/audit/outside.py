"""The last checkpoint, kept in a file outside the database.

Whoever puts an old database back puts back an old log with it; this file
remembers how long the log has been. It is replaced atomically and flushed, and
never by a checkpoint of a shorter log, whoever else on this host writes it.
"""

from __future__ import annotations

from pathlib import Path

from keys.durable import locked, replace_file
from vault.audit.note import Checkpoint, NoteError, NoteKey, open_checkpoint
from vault.domain.errors import TamperDetectedError, UnavailableError


class OutsideCheckpoint:
    """One file, one checkpoint. The processes of a host may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def tombstones(self) -> Path:
        """Where the tombstone file lies: beside it, so that both are copied."""
        return self._path.with_name("tombstones")

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
            with locked(self._path):
                kept = self.read(*keys)
                if kept is None or kept.size < checkpoint.size:
                    replace_file(self._path, note.encode())
                elif kept.size == checkpoint.size and kept.root != checkpoint.root:
                    raise TamperDetectedError("the log is not the one of the checkpoint kept outside")
        except OSError:
            raise UnavailableError("the checkpoint cannot be kept outside the database") from None
