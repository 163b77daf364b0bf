"""Verify an export folder against a public key. Rules: docs/formats/export.md section 5.

The entries are read once, in order, a bundle at a time; the stored checkpoints
beside them, one at a time. Nothing in the folder is believed before it is
checked, and nothing in it chooses the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vault.audit.bundles import BUNDLE_LIMIT, BUNDLE_WIDTH, MalformedBundleError, bundle_path, parse_bundle
from vault.audit.entry import decode
from vault.audit.folder import CHECKPOINT_FILE, CHECKPOINTS_FILE, MalformedFramingError, read_notes
from vault.audit.merkle import leaf_hash
from vault.audit.note import (
    NOTE_LIMIT,
    Checkpoint,
    MalformedNoteError,
    NoteError,
    NoteKey,
    checkpoint_unverified,
    open_checkpoint,
    parse_vkey,
)
from vault.audit.packing import MalformedEntryError
from vault.audit.verify.files import AbsentFileError, open_plain, read_plain, unexpected_files
from vault.audit.verify.parts import PartSequence
from vault.audit.verify.report import ExportRejectedError, Findings, Report
from vault.audit.verify.roots import RootCheck

Progress = Callable[[int, int], None]
"""Told entries done and entries in all, after every bundle."""


def verify_export(
    folder: Path, *vkeys: str, known_checkpoints: Iterable[str] = (), progress: Progress | None = None
) -> Report:
    """Return the report on an export that verifies.

    ``vkeys`` are the log's public keys, oldest first, from outside the export: one,
    or after a rotation also the one before. Each checkpoint is to be signed by one of
    them, and by none that is older than those of the checkpoint before it.
    ``known_checkpoints`` are signed notes the verifier kept from earlier
    exports: only they show that the log was not shortened or rewritten since.

    Raises:
        ExportRejectedError: anything is wrong; its report lists everything
            that is.
        MalformedNoteError: one of ``vkeys`` is not one, they are of different
            logs, or there is none.
        OSError: the folder or a file in it cannot be read.

    """
    keys = tuple(map(parse_vkey, vkeys))
    if len({key.name for key in keys}) != 1:
        raise MalformedNoteError("vkey")
    report = _Verification(folder, keys).report(known_checkpoints, progress)
    if report.findings:
        raise ExportRejectedError(report)
    return report


class _Verification:
    """One run over one folder."""

    def __init__(self, folder: Path, keys: tuple[NoteKey, ...]) -> None:
        self._folder = folder
        self._keys = keys
        self._name = keys[0].name
        self._newest = 0
        """Position of the newest key that has signed so far."""
        self._findings = Findings()
        self._signed = 0

    def report(self, known: Iterable[str], progress: Progress | None) -> Report:
        note = self._read_latest()
        latest = None if note is None else self._latest(note)
        if note is None or latest is None:
            return self._report(Checkpoint(self._name, 0, b""), entries=0)
        roots = RootCheck(self._stored(note), self._known(known), self._findings)
        self._follow_entries(latest.size, roots, progress)
        roots.finish(latest)
        for path in unexpected_files(self._folder, latest.size):
            self._findings.add("unexpected_file", detail=ascii(path)[1:-1])
        return self._report(latest, entries=roots.size)

    def _report(self, latest: Checkpoint, *, entries: int) -> Report:
        return Report(
            origin=self._name,
            size=latest.size,
            root=latest.root,
            entries=entries,
            checkpoints=self._signed,
            findings=self._findings.found,
            omitted=self._findings.omitted,
        )

    def _read_latest(self) -> bytes | None:
        try:
            return read_plain(self._folder / CHECKPOINT_FILE, limit=NOTE_LIMIT)
        except AbsentFileError:
            self._findings.add("missing_file", detail=CHECKPOINT_FILE)
            return None

    def _latest(self, note: bytes) -> Checkpoint | None:
        checkpoint = self._open(note, CHECKPOINT_FILE)
        if checkpoint is not None:
            return checkpoint
        # Already rejected; what it claims still serves to say what else is wrong.
        try:
            return checkpoint_unverified(_text(note))
        except MalformedNoteError:
            return None

    def _open(self, note: bytes, where: str) -> Checkpoint | None:
        try:
            return open_checkpoint(_text(note), *self._keys)
        except MalformedNoteError as error:
            self._findings.add("malformed_note", detail=f"{where}: {error.rule}")
        except NoteError as error:
            self._findings.add(error.rule, detail=where)
        return None

    def _stored(self, latest: bytes) -> Iterator[Checkpoint]:
        """Yield the stored checkpoints that are properly signed, in ascending order of size."""
        try:
            file = open_plain(self._folder / CHECKPOINTS_FILE)
        except AbsentFileError:
            self._findings.add("missing_file", detail=CHECKPOINTS_FILE)
            return
        note = b""
        size = -1
        with file:
            try:
                for position, note in enumerate(read_notes(file)):
                    where = f"{CHECKPOINTS_FILE}[{position}]"
                    checkpoint = self._open(note, where)
                    if checkpoint is None:
                        continue
                    self._signed += 1
                    self._follow_keys(note, where)
                    if checkpoint.size <= size:
                        self._findings.add("checkpoint_order", detail=where)
                        continue
                    size = checkpoint.size
                    yield checkpoint
            except MalformedFramingError:
                self._findings.add("malformed_framing", detail=CHECKPOINTS_FILE)
        if note != latest:
            self._findings.add("checkpoint_mismatch")

    def _follow_keys(self, note: bytes, where: str) -> None:
        """Note a checkpoint whose newest signature is of an older key than that of the one before it."""
        if len(self._keys) == 1:
            return
        newest = max(at for at, key in enumerate(self._keys) if _signed_by(note, key))
        if newest < self._newest:
            self._findings.add("older_key", detail=where)
        self._newest = max(self._newest, newest)

    def _known(self, notes: Iterable[str]) -> Iterator[Checkpoint]:
        for position, note in enumerate(notes):
            try:
                yield open_checkpoint(note, *self._keys)
            except NoteError as error:
                self._findings.add("known_invalid", detail=f"known[{position}]: {error.rule}")

    def _follow_entries(self, size: int, roots: RootCheck, progress: Progress | None) -> None:
        parts = PartSequence(self._findings)
        for start in range(0, size, BUNDLE_WIDTH):
            bundle = self._bundle(start, min(BUNDLE_WIDTH, size - start))
            if bundle is None:
                return
            for index, data in enumerate(bundle, start):
                roots.grow(leaf_hash(data))
                try:
                    parts.follow(index, decode(data))
                except MalformedEntryError as error:
                    self._findings.add("malformed_entry", index, error.rule)
                    parts.skip()
            if progress is not None:
                progress(start + len(bundle), size)
        parts.end()

    def _bundle(self, start: int, width: int) -> list[bytes] | None:
        path = self._folder / bundle_path(start // BUNDLE_WIDTH, width)
        try:
            return parse_bundle(read_plain(path, limit=BUNDLE_LIMIT), width)
        except AbsentFileError:
            self._findings.add("missing_bundle", start)
        except MalformedBundleError:
            self._findings.add("malformed_bundle", start)
        return None


def _signed_by(note: bytes, key: NoteKey) -> bool:
    """Say whether ``key`` is among those that have signed a note that was opened."""
    try:
        open_checkpoint(_text(note), key)
    except NoteError:
        return False
    return True


def _text(note: bytes) -> str:
    try:
        return note.decode()
    except UnicodeDecodeError:
        raise MalformedNoteError("utf8") from None
