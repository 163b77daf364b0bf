"""What a holder of the root key is let in with, where that ends: a token of OpenBao.

Prolonged at half of its time while the vault runs. When that fails nothing
stops, since the root key is in memory: it is the next start that would fail, so
the operator is told while there is time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from keys.errors import KeysError
from keys.wrappers import KeyWrapper, RenewedWrapper
from vault.domain.errors import InvalidInputError, VaultError
from vault.storage.roots import RootRow

AGAIN: Final = timedelta(minutes=1)
"""So long after a failure the holder is asked again."""

NEAR: Final = timedelta(hours=6)
"""An end that comes nearer from one time to the next is told from here on."""


class HolderError(VaultError):
    """The holder of the root key would not let this process in for much longer."""

    code = "holder"


class Lease:
    """Of one wrapper, once it is known. One thread renews it, after ``of``; others may look."""

    def __init__(self) -> None:
        self._again: Callable[[], KeyWrapper] | None = None
        self._wrapper: RenewedWrapper | None = None
        self._due: datetime | None = None
        self._left = timedelta.max
        self._trouble: HolderError | None = None

    def of(self, wrappers: Callable[[RootRow], KeyWrapper], row: RootRow) -> KeyWrapper:
        """Return the wrapper of ``row``, and keep it if what it is let in with ends."""
        wrapper = wrappers(row)
        if isinstance(wrapper, RenewedWrapper):
            self._again, self._wrapper = partial(wrappers, row), wrapper
        return wrapper

    def is_due(self, now: datetime) -> bool:
        """Say whether it is time to prolong it."""
        return self._again is not None and (self._due is None or now >= self._due)

    def renew(self, now: datetime) -> None:
        """Prolong it if that is due; may take its time. Raises HolderError as ``require_well``."""
        if self._again is None or not self.is_due(now):
            self.require_well()
            return
        try:
            if self._trouble is not None or self._wrapper is None:
                # It may have been given another token meanwhile.
                wrapper = self._again()
                self._wrapper = wrapper if isinstance(wrapper, RenewedWrapper) else None
            seconds = 0 if self._wrapper is None else self._wrapper.renew()
        except (KeysError, InvalidInputError) as error:
            self._trouble = HolderError(f"the root key's holder: {error}")
            self._due = now + AGAIN
        else:
            self._note(seconds, now)
        self.require_well()

    def _note(self, seconds: int, now: datetime) -> None:
        """Take in that the next time is in ``seconds``, half of what is left then; 0 is never."""
        if seconds == 0:
            self._trouble, self._due = None, datetime.max.replace(tzinfo=now.tzinfo)
            return
        rest = timedelta(seconds=seconds)
        left, before = 2 * rest, self._left
        self._left = left
        self._trouble = None
        if left < min(before, NEAR) and before != timedelta.max:
            detail = f"the token of the root key's holder ends in {left} and is not prolonged: get a new one"
            self._trouble = HolderError(detail)
        self._due = now + (rest if self._trouble is None else min(rest, AGAIN))

    def require_well(self) -> None:
        """Raise HolderError from a failure on until it is well again. Asks nobody."""
        if self._trouble is not None:
            raise self._trouble
