"""The state of the vault on this host, asked of its database and key file."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def local_state(home: Path) -> dict[str, Any]:
    """Return what the vault in ``home`` is, without a server.

    Raises InvalidInputError when there is none, UnavailableError when its
    database or root key cannot be used.
    """
    from cli.local.unsealing import asker
    from vault.assembly import Settings, open_vault

    settings = Settings.load(home)
    vault = open_vault(settings, ask=asker(None))
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
    }
