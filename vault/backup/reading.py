"""Put the rows of a backup into an empty database, in one transaction (docs/formats/backup.md section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from keys.errors import DecryptionError
from keys.keyring import Keyring
from keys.recipients import Identities
from keys.rootkey import RootKey
from vault.backup import manifest as manifests
from vault.backup.manifest import Read
from vault.backup.newlog import log_signers, public
from vault.backup.sets import Progress, SetHead, SetReader
from vault.domain.errors import InvalidInputError, TamperDetectedError, UnavailableError
from vault.storage import snapshots
from vault.storage.database import Connection, Counter, Database
from vault.storage.keys import read_keys
from vault.storage.migrate import newest_revision
from vault.storage.roots import RootRow, read_roots

OpenRoot = Callable[[Sequence[RootRow], bytes], RootKey]
"""Opens the root key of a vault id from its sealed copies."""


def require_readable(folder: Path) -> Read:
    """Return the manifest of a backup that is whole and of this release's schema.

    Nothing of it has been opened yet. Raises InvalidInputError, TamperDetectedError.
    """
    found = manifests.read(folder)
    if found.manifest.schema != newest_revision():
        raise InvalidInputError(
            f"the backup has schema {found.manifest.schema}, this release {newest_revision()}: restore it"
            " with the release that made it, then migrate",
            field=manifests.MANIFEST,
            rule="schema",
        )
    manifests.require_whole(folder, found.manifest.files)
    return found


def load(
    database: Database,
    connection: Connection,
    folder: Path,
    found: Read,
    *,
    identities: Identities,
    open_root: OpenRoot,
    progress: Progress,
) -> tuple[Counter, RootKey]:
    """Insert both sets in the open transaction; return counter row and root key.

    Every named key must unlock under the root key, and the log's key must have
    signed the manifest. Raises InvalidInputError (``identity`` when a set is
    sealed to others), TamperDetectedError, UnavailableError.
    """

    def fill(name: str, file: str, tables: Sequence[str]) -> None:
        counts = {table: found.manifest.rows.get(table, -1) for table in tables}
        head = SetHead(name, found.manifest.backup, found.manifest.vault, found.manifest.schema)
        reader = SetReader(connection, head, names=tables, counts=counts, progress=progress)
        _open_set(folder / file, identities, reader)

    fill("keys", manifests.KEYS, snapshots.KEYS)
    root = _open_keys(connection, found, open_root)
    fill("values", manifests.VALUES, snapshots.VALUES)
    counter = database.counter(connection)
    if counter.vault_id.hex() != found.manifest.vault or counter.next_index != found.manifest.log_size:
        raise TamperDetectedError("the rows are not those of the manifest", reference="counter")
    return counter, root


def _open_set(path: Path, identities: Identities, reader: SetReader) -> None:
    try:
        with path.open("rb") as file:
            identities.open(file, reader.feed)
    except DecryptionError:
        raise InvalidInputError(
            f"{path.name} does not open: it is sealed to none of these identities",
            field="identity",
            rule="not_a_recipient",
        ) from None
    except OSError:
        raise UnavailableError(f"{path.name} cannot be read") from None
    reader.finish()


def _open_keys(connection: Connection, found: Read, open_root: OpenRoot) -> RootKey:
    vault_id = bytes.fromhex(found.manifest.vault)
    root = open_root(read_roots(connection), vault_id)
    records = read_keys(connection)
    signer = Keyring.unlock(vault_id, records, root).signer
    # The key of the log may have been replaced while the backup was being made.
    ours = [key for key in public(log_signers(records, vault_id, root)) if key.name == signer.name]
    manifests.require_signed(found, ours)
    return root
