"""What a backup is and consists of. Format: docs/formats/backup.md section 2.

The manifest is JSON that people can read. A signed note beside it carries its
SHA-256, so that nobody who lacks the key of the log can put a backup together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from keys.signing import SigningKey
from vault.audit.note import NoteError, NoteKey, open_note, sign_note
from vault.domain.errors import InvalidInputError, TamperDetectedError

FORMAT: Final = 1

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.note"
VALUES: Final = "values.age"
KEYS: Final = "keys.age"
COPIES: Final = ("checkpoint", "tombstones.head", "tombstones")
"""Files of the folder ``log``, as they were after the snapshot.

In this order, for they are written in the other: a file may be longer than its
head says, and a head may reach beyond the checkpoint (tombstones.md 4.2, 4.3).
"""

SIGNED: Final = "/backup"
"""After the name of the log, in the note over the manifest."""

MANIFEST_LIMIT: Final = 1_000_000
_ID: Final = re.compile(r"bkp_[0-9a-f]{20}").fullmatch
_VAULT: Final = re.compile(r"[0-9a-f]{32}").fullmatch
_DIGEST: Final = re.compile(r"[0-9a-f]{64}").fullmatch


class FileFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``manifest.json`` says."""

    format: int
    backup: str
    """``bkp_…``"""
    vault: str
    """Id of the vault, hexadecimal."""
    schema: str
    """Revision of the schema that the rows are of."""
    created_at: str
    """UTC, ISO 8601."""
    log_size: int
    """Entries of the log in the snapshot."""
    log_entry: int
    """Index of the entry ``backup:create``, which is one of them."""
    recipients: dict[str, list[str]]
    """Whom each set is sealed to, by file."""
    files: dict[str, FileFacts]
    rows: dict[str, int]
    """Rows of each table."""


@dataclass(frozen=True, slots=True)
class Read:
    """A manifest as it stands in a folder."""

    manifest: Manifest
    digest: str
    """SHA-256 of its bytes, hexadecimal."""
    note: str
    """The note over it, not yet verified."""


def written(manifest: Manifest, signer: SigningKey) -> dict[str, bytes]:
    """Return the bytes of manifest and note, by the name of the file."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    digest = hashlib.sha256(data).hexdigest()
    note = sign_note(f"{signer.name}{SIGNED}\n{digest}\n", signer)
    return {MANIFEST: data, SIGNATURE: note.encode()}


def read(folder: Path) -> Read:
    """Return the manifest in ``folder``. Raises InvalidInputError naming what is missing or malformed."""
    data = _bytes(folder / MANIFEST)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError:
        raise _refused(MANIFEST, "malformed", "this is no manifest of a backup") from None
    if manifest.format != FORMAT:
        raise _refused(MANIFEST, "format", f"this release reads backups of format {FORMAT}")
    well = _ID(manifest.backup) and _VAULT(manifest.vault)
    if not well or not all(_DIGEST(facts.sha256) for facts in manifest.files.values()):
        raise _refused(MANIFEST, "malformed", "this is no manifest of a backup")
    if not {VALUES, KEYS} <= manifest.files.keys() <= {VALUES, KEYS, *COPIES}:
        raise _refused(MANIFEST, "files", "both sets belong to a backup, and nothing but copies of the log's")
    note = _bytes(folder / SIGNATURE).decode(errors="replace")
    return Read(manifest, hashlib.sha256(data).hexdigest(), note)


def require_signed(found: Read, keys: Sequence[NoteKey]) -> None:
    """Return if a key of the log signed this manifest. Raises TamperDetectedError."""
    for key in keys:
        with suppress(NoteError):
            if open_note(found.note, key) == f"{key.name}{SIGNED}\n{found.digest}\n":
                return
    raise TamperDetectedError("the manifest is not signed by the vault whose keys the backup holds")


def require_whole(folder: Path, files: Mapping[str, FileFacts]) -> None:
    """Return if each file is there and is the one the manifest names. Raises TamperDetectedError."""
    for name, facts in files.items():
        try:
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except OSError:
            raise TamperDetectedError("a file of the backup is missing", reference=name) from None
        if (size, digest) != (facts.bytes, facts.sha256):
            raise TamperDetectedError(f"{name} is not the file that the manifest names", reference=name)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MANIFEST_LIMIT)
    except OSError:
        raise _refused(path.name, "missing", "there is no such file: this is no whole backup") from None


def _refused(file: str, rule: str, detail: str) -> InvalidInputError:
    return InvalidInputError(f"{file}: {detail}", field=file, rule=rule)
