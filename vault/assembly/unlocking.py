"""Open the root key for a command on the host: by what seals it day by day, or by its copy for recovery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keys.rootkey import RootKey, RootSlot
from vault.access.roots import in_force, opened
from vault.assembly.wrapping import Ask, nobody, recovery_of, wrapper_of
from vault.domain.errors import InvalidInputError
from vault.settings import Settings
from vault.storage.roots import RootRow


@dataclass(frozen=True, slots=True)
class Unlocking:
    """How the root key is to be opened."""

    ask: Ask = nobody
    from_recovery: bool = False
    recovery_file: Path | None = None

    def open(self, settings: Settings, copies: Sequence[RootRow], vault_id: bytes) -> RootKey:
        """Return the root key. Raises UnavailableError that says what to do, InvalidInputError."""
        if self.from_recovery:
            row = in_force(list(copies), RootSlot.RECOVERY)
            return recovered(row, vault_id, self.recovery_file, self.ask)[0]
        row = in_force(list(copies), RootSlot.LIVE)
        return opened(partial(wrapper_of, settings, self.ask), row, vault_id)[0]


def recovered(row: RootRow, vault_id: bytes, file: Path | None, ask: Ask) -> tuple[RootKey, str]:
    """Return the root key of a copy for recovery and what sealed it. Raises UnavailableError."""
    if row.kind == "file" and file is None:
        raise InvalidInputError(
            "a key file seals this copy: name it", field="--recovery-file", rule="required"
        )
    return opened(lambda copy: recovery_of(copy, ask, file), row, vault_id)
