"""The state of the vault on this host, asked of its database and key file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vault.domain.errors import SealedError

if TYPE_CHECKING:
    from vault.assembly import Settings


def local_state(home: Path) -> dict[str, Any]:
    """Return what the vault in ``home`` is, without a server; of a sealed one what needs no key.

    Raises InvalidInputError when there is none, UnavailableError when its
    database or root key cannot be used.
    """
    from cli.local.unsealing import asker
    from vault.assembly import Settings, open_vault

    settings = Settings.load(home)
    try:
        vault = open_vault(settings, ask=asker(None))
    except SealedError:
        return _of_sealed(settings)
    try:
        status = vault.status()
    finally:
        vault.close()
    return {
        "home": str(home),
        "vault_id": status.vault_id,
        "database": status.database,
        "root_key": status.root_key,
        "revision": status.revision,
        "sealed": status.sealed,
        "next_index": status.next_index,
        "log_key": status.log_key,
        "keys": status.keys.value,
        "late_keys": list(status.late),
        "compromised_keys": list(status.compromised),
        "suspended_keys": list(status.suspended),
    }


def _of_sealed(settings: Settings) -> dict[str, Any]:
    from vault.assembly import look_at_sealed

    shut = look_at_sealed(settings)
    return {
        "home": str(settings.home),
        "vault_id": shut.vault_id,
        "database": shut.database,
        "root_key": shut.state.holder,
        "revision": shut.counts.revision,
        "sealed": True,
        "next_index": shut.counts.next_index,
    }
