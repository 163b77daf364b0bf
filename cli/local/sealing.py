"""Unseal the vault of this host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.local.unsealing import asker


def unseal_here(
    home: Path, *, unseal_fd: int | None, from_recovery: bool, recovery_file: Path | None
) -> dict[str, Any]:
    """Clear the seal of the vault in ``home``. Raises ConflictError if it is not sealed, UnavailableError."""
    from vault.assembly import Settings, unseal_on_host

    done = unseal_on_host(
        Settings.load(home),
        ask=asker(unseal_fd),
        from_recovery=from_recovery,
        recovery_file=recovery_file,
    )
    return {"log_index": done.log_index, "by_people": done.by_people}
