"""Open a vault to serve it, unless its database has gone back in time."""

from __future__ import annotations

from vault.access.sealing import usable_keys
from vault.assembly.opening import open_vault
from vault.assembly.wrapping import Ask, nobody
from vault.audit.outside import OutsideCheckpoint
from vault.backup.outside import Outside
from vault.backup.standstill import require_in_step
from vault.service.vault import Vault
from vault.settings import Settings


def open_to_serve(settings: Settings, *, ask: Ask = nobody) -> Vault:
    """Open the vault of ``settings``.

    Raises TamperDetectedError when the checkpoint or the tombstones kept
    outside know more than the database: somebody put an old copy back. Raises
    what ``open_vault`` raises.
    """
    vault = open_vault(settings, ask=ask)
    try:
        require_not_put_back(settings, vault)
    except BaseException:
        vault.close()
        raise
    return vault


def require_not_put_back(settings: Settings, vault: Vault) -> None:
    """Return if the database of an open vault knows all that the outside does. Raises TamperDetectedError."""
    tombstones = OutsideCheckpoint(settings.checkpoint).tombstones
    outside = Outside(checkpoints=(settings.checkpoint,), tombstones=(tombstones,))
    database = vault.changes.database
    with usable_keys(), database.reading() as connection:
        counter = database.counter(connection)
        require_in_step(connection, counter, vault.standings.roots.held, outside)
