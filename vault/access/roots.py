"""Holds the root key that is in force, and opens the next one when it was changed elsewhere.

What opens it may ask a person or a server, so no transaction is open meanwhile.
What failed is not tried again at once, and a refused PIN never: a token locks
itself after a few.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from keys.errors import DecryptionError, KeysError, WrapperUnavailableError
from keys.rootkey import RootKey, RootSlot
from keys.wrappers import KeyWrapper
from vault.access.leases import Lease
from vault.domain.errors import InvalidInputError, UnavailableError
from vault.storage.roots import RootRow

LOGGER: Final = logging.getLogger("piivault")

Wrappers = Callable[[RootRow], KeyWrapper]
"""Makes the wrapper that a copy of the root key was sealed by. Raises InvalidInputError, KeysError."""

AGAIN: Final = timedelta(seconds=5)
"""So long after a failure the holder of the root key is left alone."""

ONCE: Final = frozenset({"pin", "pin_final_try", "pin_locked"})
"""Rules after which nothing is tried again until the process is started anew."""


NOBODY: Final = "nobody"
"""Reference of the error that a person is needed and none is there."""

PATIENCE: Final = "patience"
"""Reference of the error that the holder failed a moment ago and is left alone for now."""

LIKELY: Final = {
    "passphrase": "most likely a typing error, or the passphrase of an earlier root key",
    "shamir": "these are shares of another vault or of an earlier root key",
}
"""Why a holder's answer did not open a copy, where a person gave it."""


class Roots:
    """The root key of one process, asked of its wrapper once a version. Thread-safe."""

    def __init__(self, wrappers: Wrappers, clock: Callable[[], datetime]) -> None:
        self._wrappers = wrappers
        self._clock = clock
        self._held: RootKey | None = None
        self._failed: tuple[int, datetime | None] | None = None
        self._lock = threading.Lock()
        self._lease = Lease()
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

    def drop(self) -> None:
        """Hold no root key any more. What failed for good, as a PIN, stays failed."""
        with self._lock:
            self._held = None
            self._lease = Lease()

    def open(self, row: RootRow, vault_id: bytes) -> RootKey:
        """Return the root key of ``row``, the copy in force.

        Raises UnavailableError: the first time with what to do next, later,
        when anybody may be asking, without; the process's log has it then. The
        reference is the rule, NOBODY when a person is needed.
        """
        with self._lock:
            if self._held is not None and self._held.version == row.version:
                return self._held
            self._require_patience(row.version)
            lease = Lease()
            try:
                wrappers = partial(lease.of, self._wrappers)
                self._held, self.description = opened(wrappers, row, vault_id)
            except UnavailableError as error:
                self._fail(row.version, error)
            self._failed = None
            self._lease = lease
            return self.held

    def renewal_is_due(self) -> bool:
        """Say whether it is time for ``renew``."""
        return self._lease.is_due(self._clock())

    def renew(self) -> None:
        """Have the holder prolong what it is let in with, when that is due. May take its time.

        Raises HolderError, with what to do next, when that fails or its end is
        near. The root key stays held; it is the next start that would fail.
        """
        with self._lock:
            lease = self._lease
        # Not under the lock: the holder may be slow, and nobody who decides has to wait for it.
        lease.renew(self._clock())

    def require_renewed(self) -> None:
        """Raise HolderError from a failed ``renew`` on until one succeeds. Asks nobody."""
        self._lease.require_well()

    def _require_patience(self, version: int) -> None:
        if self._failed is not None and self._failed[0] == version:
            until = self._failed[1]
            if until is None or self._clock() < until:
                raise UnavailableError("the root key cannot be opened on this node", reference=PATIENCE)

    def _fail(self, version: int, error: UnavailableError) -> None:
        until = None if error.reference in ONCE else self._clock() + AGAIN
        self._failed = (version, until)
        if self._held is None:
            raise error
        if error.reference == NOBODY:
            LOGGER.warning("root key %d is in force, and a person has to open it: piivault unseal", version)
        else:
            LOGGER.error("root key %d: %s", version, error.detail)
        raise UnavailableError(
            "the root key cannot be opened on this node", reference=error.reference
        ) from None


def in_force(copies: list[RootRow], slot: RootSlot) -> RootRow:
    """Return the copy in force for ``slot``. Raises UnavailableError when there is none."""
    for row in copies:
        if row.slot == slot.value and row.state == "active":
            return row
    command = "migrate" if slot is RootSlot.LIVE else "keys root rotate"
    raise UnavailableError(f"the database holds no root key for {slot.value} use; run: piivault {command}")


def opened(wrappers: Wrappers, row: RootRow, vault_id: bytes) -> tuple[RootKey, str]:
    """Return the root key of ``row`` and what sealed it.

    Raises UnavailableError that says what to do next; its reference is the rule.
    """
    told = ""
    try:
        wrapper = wrappers(row)
        told = wrapper.describe()
        slot = RootSlot(row.slot)
        return RootKey.open(wrapper, row.wrapped, vault_id=vault_id, version=row.version, slot=slot), told
    except WrapperUnavailableError as error:
        raise UnavailableError(f"the root key cannot be used: {error}", reference=error.rule) from None
    except DecryptionError:
        why = LIKELY.get(row.kind, "it is another vault's or another version's, or the database was altered")
        raise UnavailableError(
            f"root key {row.version} does not open: {why}{_next_step(row, told)}"
        ) from None
    except KeysError as error:
        raise UnavailableError(f"the root key cannot be used: {error}") from None
    except InvalidInputError as error:
        raise UnavailableError(f"the root key cannot be used: {error.detail}") from None


def _next_step(row: RootRow, told: str) -> str:
    """Return what to do about a copy that does not open under the holder that is ``told``."""
    if row.slot != RootSlot.LIVE.value:
        return ""
    compare = ""
    if row.sealed_by not in {"", told}:
        compare = f"; it was sealed by {row.sealed_by}, and this is {told}"
    return (
        f"{compare}; if it is lost: piivault drill recovery, then piivault keys root rotate --from-recovery"
    )
