"""Write a backup while the vault runs: one snapshot, two sets, sealed to who may open each.

The entry of the log comes first: no backup exists that the log does not name,
and each holds the entry about itself. What is written goes to a folder under
another name, which gets its own when everything is on disk.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keys.durable import flush_folder
from keys.keyring import Keyring
from keys.recipients import Recipients
from vault.access.entries import Request, entry
from vault.access.identities import moment
from vault.audit.journal import Journal
from vault.backup import manifest as manifests
from vault.backup.manifest import FileFacts, Manifest
from vault.backup.sets import Progress, SetHead, write_set
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, UnavailableError
from vault.storage import snapshots
from vault.storage.database import Connection, Database
from vault.storage.migrate import current_revision

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
COPY_LIMIT: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Written:
    """A backup that is whole and on disk."""

    backup: str
    log_index: int
    """Of its entry."""
    log_size: int
    rows: int


@dataclass(frozen=True, slots=True)
class SealedTo:
    """Who may open each set."""

    values: Recipients
    keys: Recipients

    def told(self) -> dict[str, str]:
        """Return what the log says of it: recipients are public."""
        sets = (("values", self.values), ("keys", self.keys))
        return {f"{name}_to.{at}": text for name, to in sets for at, text in enumerate(to.texts, 1)}

    def by_file(self) -> dict[str, list[str]]:
        """Return what the manifest says of it."""
        return {manifests.VALUES: list(self.values.texts), manifests.KEYS: list(self.keys.texts)}


def write_backup(
    database: Database,
    keyring: Keyring,
    request: Request,
    *,
    log_folder: Path,
    target: Path,
    sealed_to: SealedTo,
    progress: Progress = lambda _rows: None,
) -> Written:
    """Write a backup into ``target``, which must not exist.

    Raises ConflictError when it does, UnavailableError when it cannot be
    written; then nothing is left of it but its entry in the log.
    """
    if target.exists():
        raise ConflictError(f"{target} is there already")
    backup = "bkp_" + secrets.token_hex(10)
    index = _log(Journal(database, lambda: keyring), request, {"backup": backup, **sealed_to.told()})
    partial = target.with_name(f".{target.name}.{backup}")
    try:
        partial.mkdir(mode=FOLDER_MODE, parents=True)
        writer = _Folder(partial)
        with database.reading() as connection:
            counter = database.counter(connection)
            head = _Half(backup, counter.vault_id.hex(), current_revision(connection), progress)
            counts = _write_sets(writer, connection, head, sealed_to)
        for name in manifests.COPIES:
            # After the snapshot: they know of everything that it knows of.
            writer.copy(log_folder / name, name)
        manifest = Manifest(
            format=manifests.FORMAT,
            backup=backup,
            vault=head.vault,
            schema=head.schema,
            created_at=moment(request.now_us).isoformat(),
            log_size=counter.next_index,
            log_entry=index,
            recipients=sealed_to.by_file(),
            files=writer.files,
            rows=counts,
        )
        _seal_off(writer, partial, target, manifests.written(manifest, keyring.signer))
    except OSError as error:
        reason = error.strerror or "the disk failed"
        raise UnavailableError(f"the backup cannot be written to {target}: {reason}") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(partial)
    return Written(backup, index, counter.next_index, sum(counts.values()))


def _seal_off(writer: _Folder, partial: Path, target: Path, last: dict[str, bytes]) -> None:
    """Write the manifest, and give the folder its name once everything is on disk."""
    for name, data in last.items():
        writer.copy_bytes(name, data)
    flush_folder(partial)
    partial.rename(target)
    flush_folder(target.parent)


@dataclass(frozen=True, slots=True)
class _Half:
    """What both sets have in common."""

    backup: str
    vault: str
    schema: str
    progress: Progress


def _write_sets(writer: _Folder, connection: Connection, half: _Half, sealed_to: SealedTo) -> dict[str, int]:
    """Write both sets of what ``connection`` sees; return the number of rows of each table."""
    counts: dict[str, int] = {}
    for name, file, tables, recipients in (
        ("keys", manifests.KEYS, snapshots.KEYS, sealed_to.keys),
        ("values", manifests.VALUES, snapshots.VALUES, sealed_to.values),
    ):
        head = SetHead(name, half.backup, half.vault, half.schema)
        chunks = write_set(connection, head, tables, counts, progress=half.progress)
        writer.write(file, _sealing(recipients, chunks))
    return counts


def _sealing(recipients: Recipients, chunks: Iterable[bytes]) -> Callable[[Any], None]:
    return lambda file: recipients.seal(chunks, file)


def _log(journal: Journal, request: Request, target: dict[str, str]) -> int:
    with journal.unit() as unit:
        unit.append([entry(request, Action.BACKUP_CREATE, target=target)], revision=None, revise=False)
    return unit.receipts[0].index


class _Folder:
    """Writes files that only their owner may read, flushed, and remembers what is in them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files: dict[str, FileFacts] = {}

    def write(self, name: str, fill: Callable[[Any], object]) -> None:
        """Have ``fill`` write a new file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(self._path / name, flags, FILE_MODE), "wb") as file:
            counted = _Counted(file)
            fill(counted)
            file.flush()
            os.fsync(file.fileno())
        self.files[name] = FileFacts(counted.size, counted.digest.hexdigest())

    def copy(self, source: Path, name: str) -> None:
        """Copy a file, if there is one."""
        with suppress(FileNotFoundError), source.open("rb") as file:
            self.write(name, lambda target: shutil.copyfileobj(file, target))

    def copy_bytes(self, name: str, data: bytes) -> None:
        """Write a new file that holds ``data``."""
        self.write(name, lambda target: target.write(data))


class _Counted:
    def __init__(self, file: Any) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.size += len(data)
        self.digest.update(data)
        return len(data)
