"""Keys: list, rotate, re-wrap."""

from __future__ import annotations

from keys.wrappers import KeyWrapper
from vault.access.changes import Changes
from vault.access.entries import Request
from vault.rotation import epochs
from vault.rotation.epochs import START, Cursor, KeyInfo, RewrapPortion, Rotated


class Keys:
    """Thread-safe."""

    def __init__(self, changes: Changes, wrapper: KeyWrapper) -> None:
        self._changes = changes
        self._wrapper = wrapper

    def list(self, request: Request) -> list[KeyInfo]:
        """List every key, its state and what hangs on it. Raises AccessDeniedError."""
        return epochs.list_keys(self._changes, request)

    def rotate(self, request: Request) -> Rotated:
        """Make and activate the next wrapping-key epoch. Raises AccessDeniedError."""
        return epochs.rotate(self._changes, request, self._wrapper)

    def rewrap(self, request: Request, after: Cursor = START) -> RewrapPortion:
        """Re-wrap one portion of data keys; ask again with its ``next``. Raises AccessDeniedError."""
        return epochs.rewrap(self._changes, request, after)


__all__ = ["START", "Cursor", "KeyInfo", "Keys", "RewrapPortion", "Rotated"]
