"""Open a vault to serve it, unless its database has gone back in time."""

from __future__ import annotations

from keys.rootkey import RootKey
from vault.access.sealing import usable_keys
from vault.assembly.opening import open_or_wait
from vault.assembly.wrapping import Ask, nobody
from vault.audit.outside import OutsideCheckpoint
from vault.backup.outside import Outside
from vault.backup.standstill import require_in_step
from vault.service.vault import Vault
from vault.settings import Settings
from vault.storage.database import Connection, Counter


def open_to_serve(settings: Settings, *, ask: Ask = nobody) -> Vault:
    """Open the vault of ``settings``, or return it sealed if it has to wait.

    Raises TamperDetectedError when the checkpoint or the tombstones kept
    outside know more than the database: somebody put an old copy back. One that
    opens later stays sealed then. Raises what ``open_or_wait`` raises.
    """
    tombstones = OutsideCheckpoint(settings.checkpoint).tombstones
    outside = Outside(checkpoints=(settings.checkpoint,), tombstones=(tombstones,))

    def guard(connection: Connection, counter: Counter, root: RootKey) -> None:
        with usable_keys():
            require_in_step(connection, counter, root, outside)

    return open_or_wait(settings, ask=ask, guard=guard)
