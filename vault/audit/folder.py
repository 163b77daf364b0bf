"""The export folder: what the vault writes for a verifier. Format: docs/formats/export.md sections 1 and 3.

Knows no storage: it is handed the stored bytes and writes them as they are.
Whether they agree with the checkpoints is for the verifier to find out, so a
damaged log is exported like any other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from vault.audit.bundles import BUNDLE_WIDTH, bundle_path, encode_bundle
from vault.audit.note import NOTE_LIMIT, checkpoint_unverified
from vault.domain.errors import ConflictError, NotFoundError

CHECKPOINT_FILE: Final = "checkpoint"
CHECKPOINTS_FILE: Final = "checkpoints"
README_FILE: Final = "README.txt"

README: Final = """\
This folder is an export of a vault's audit log.

To verify it, offline:

    piivault audit verify THIS_FOLDER --key VKEY

VKEY is the public key of the log. Take it from the people who run the vault, in
writing, not from anywhere near this folder: a key that comes with an export
proves nothing. Keep the file "checkpoint" of every export you have verified and
pass it in the next time: only that shows that the log was not shortened or
rewritten in between.

checkpoint     the latest signed checkpoint: log, number of entries, root hash
checkpoints    every checkpoint, each preceded by its length in bytes
tile/entries   the entries, 256 to a file, each preceded by its length (16 bits)

Trees and checkpoints follow RFC 6962 and c2sp.org (tlog-checkpoint, tlog-tiles,
signed-note), so other tools can check them too. The folder names people who
used the vault, and no data subject.
"""

_LENGTH = re.compile(rb"[1-9][0-9]{0,5}\n").fullmatch
_LENGTH_LIMIT = 7


class MalformedFramingError(ValueError):
    """The file of checkpoints breaks section 3."""


@dataclass(frozen=True, slots=True)
class Written:
    """What an export came to."""

    entries: int
    checkpoints: int


def write_export(folder: Path, entries: Iterable[bytes], checkpoints: Iterable[str]) -> Written:
    """Write an export into ``folder``, which must not exist or must be empty.

    ``entries`` are the stored bytes in index order; what exceeds the latest
    checkpoint is left out. ``checkpoints`` are the stored notes, oldest first;
    they are read to the end before the first entry is asked for. Both may be
    long: neither is held in memory. Everything is flushed to disk, and the
    checkpoint is written last, so that an interrupted export shows.

    Raises:
        ConflictError: there is something in ``folder``.
        NotFoundError: there is no checkpoint.
        MalformedNoteError: the last checkpoint is no checkpoint.
        MalformedBundleError: an entry is larger than a bundle can hold.

    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConflictError("the folder is not empty", reference=str(folder))
    writer = _FolderWriter(folder)
    writer.write(README_FILE, [README.encode()])
    framing = _Framing(checkpoints)
    writer.write(CHECKPOINTS_FILE, framing.chunks())
    if framing.last is None:
        raise NotFoundError("there is no checkpoint to export")
    stored = iter(islice(entries, checkpoint_unverified(framing.last).size))
    count = 0
    while bundle := list(islice(stored, BUNDLE_WIDTH)):
        writer.write(bundle_path(count // BUNDLE_WIDTH, len(bundle)), [encode_bundle(bundle)])
        count += len(bundle)
    writer.flush_folders()
    writer.write(CHECKPOINT_FILE, [framing.last.encode()])
    writer.flush_folders()
    return Written(count, framing.count)


def read_notes(file: BinaryIO) -> Iterator[bytes]:
    """Yield the notes of a file of checkpoints, oldest first.

    Raises:
        MalformedFramingError: section 3; the notes before the fault have been yielded.

    """
    while line := file.readline(_LENGTH_LIMIT):
        if _LENGTH(line) is None or int(line) > NOTE_LIMIT:
            raise MalformedFramingError("not the length of a note")
        note = file.read(int(line))
        if len(note) != int(line):
            raise MalformedFramingError("shorter than its length")
        yield note


class _Framing:
    """Frames notes as they come and remembers the last."""

    def __init__(self, notes: Iterable[str]) -> None:
        self._notes = notes
        self.count = 0
        self.last: str | None = None

    def chunks(self) -> Iterator[bytes]:
        for note in self._notes:
            data = note.encode()
            self.count += 1
            self.last = note
            yield b"%d\n" % len(data) + data


class _FolderWriter:
    """Creates files nobody else may read, each flushed before the next."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folders = {folder, folder.parent}

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        target = self._folder / path
        self._make(target.parent)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())

    def _make(self, folder: Path) -> None:
        if folder in self._folders:
            return
        self._make(folder.parent)
        folder.mkdir(mode=0o700)
        self._folders.add(folder)

    def flush_folders(self) -> None:
        for folder in self._folders:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
