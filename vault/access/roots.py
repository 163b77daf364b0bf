"""Holds the root key that is in force, and opens the next one when it was changed elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable

from keys.errors import DecryptionError, WrapperUnavailableError
from keys.rootkey import RootKey, RootSlot
from keys.wrappers import KeyWrapper
from vault.domain.errors import UnavailableError
from vault.storage.database import Connection
from vault.storage.roots import RootRow, read_roots

Wrappers = Callable[[RootRow], KeyWrapper]
"""Makes the wrapper that a copy of the root key was sealed by. Raises VaultError, WrapperUnavailableError."""


class Roots:
    """The root key of one process, asked of its wrapper once a version. Thread-safe."""

    def __init__(self, wrappers: Wrappers) -> None:
        self._wrappers = wrappers
        self._held: RootKey | None = None
        self._lock = threading.Lock()
        self.description = ""
        """What sealed it, for operators."""

    @property
    def held(self) -> RootKey:
        """The root key opened last. Raises UnavailableError before the first."""
        if self._held is None:
            raise UnavailableError("the root key has not been opened")
        return self._held

    def hold(self, root: RootKey, told: str) -> None:
        """Take a root key that was opened otherwise, by its copy for recovery."""
        with self._lock:
            self._held, self.description = root, told

    def current(self, connection: Connection, vault_id: bytes) -> RootKey:
        """Return the root key in force. Raises UnavailableError that says what to do next."""
        row = in_force(read_roots(connection), RootSlot.LIVE)
        with self._lock:
            if self._held is None or self._held.version != row.version:
                self._held, self.description = opened(self._wrappers, row, vault_id)
            return self._held


def in_force(copies: list[RootRow], slot: RootSlot) -> RootRow:
    """Return the copy in force for ``slot``. Raises UnavailableError when there is none."""
    for row in copies:
        if row.slot == slot.value and row.state == "active":
            return row
    raise UnavailableError(f"the database holds no root key for {slot.value} use; run: piivault migrate")


def opened(wrappers: Wrappers, row: RootRow, vault_id: bytes) -> tuple[RootKey, str]:
    """Return the root key of ``row`` and what sealed it. Raises UnavailableError."""
    try:
        wrapper = wrappers(row)
        told = wrapper.describe()
        slot = RootSlot(row.slot)
        return RootKey.open(wrapper, row.wrapped, vault_id=vault_id, version=row.version, slot=slot), told
    except WrapperUnavailableError as error:
        raise UnavailableError(f"the root key cannot be used: {error}") from None
    except DecryptionError:
        raise UnavailableError(
            f"the root key does not open with what the settings name ({row.kind}, version {row.version}):"
            " it is another vault's or another version's, or the database was altered"
        ) from None
