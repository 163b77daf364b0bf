"""Proof that an entry is durable, and plaintext that waits for it.

``Receipt`` is a value only the log can make, after its commit has been
acknowledged. ``Withheld`` holds what was opened and gives it up once, for the
receipt of the very entry that records the release. A function that returns
plaintext therefore has a receipt in its hands.

Python cannot hide a name from somebody who looks for it. What this module
gives is that no path leads past the log by mistake: the seal is referenced
inside ``vault.audit`` alone, and a test of the architecture holds it there.
"""

from __future__ import annotations

from typing import Any, Final, Generic, NoReturn, TypeVar

from vault.domain.errors import LogUnavailableError
from vault.domain.ids import LogIndex

T = TypeVar("T")

LOG_SEAL: Final = object()
"""What the log shows to make a ``Receipt``. Not to be imported outside ``vault.audit``."""


class Receipt:
    """An entry is in the log, durably: where, and the hash of what was written.

    ``index`` is that of the first part; ``leaf_hashes`` has one hash per part,
    almost always one. Immutable; cannot be subclassed or copied into being.
    """

    __slots__ = ("entry_id", "index", "leaf_hashes")

    index: LogIndex
    leaf_hashes: tuple[bytes, ...]
    entry_id: str

    def __init__(self, index: LogIndex, leaf_hashes: tuple[bytes, ...], entry_id: str, seal: object) -> None:
        """Make a receipt; ``seal`` is ``LOG_SEAL``. HOT, once per request."""
        if seal is not LOG_SEAL:
            raise TypeError("only the log makes a receipt")
        put = object.__setattr__
        put(self, "index", index)
        put(self, "leaf_hashes", leaf_hashes)
        put(self, "entry_id", entry_id)

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("a receipt has no subclasses")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a receipt does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a receipt does not change")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a receipt is not copied or pickled")

    def __repr__(self) -> str:
        return f"Receipt(index={self.index}, entry_id={self.entry_id!r})"

    @property
    def leaf_hash(self) -> bytes:
        """Leaf hash of the entry's first part: what a response carries."""
        return self.leaf_hashes[0]


class Withheld(Generic[T]):
    """Opened values that leave only against the receipt of their own entry, and only once.

    Representation and formatting are redacted; copying and pickling raise.
    """

    __slots__ = ("_leaf_hashes", "_values")

    def __init__(self, values: T, leaf_hashes: tuple[bytes, ...]) -> None:
        """Withhold ``values`` until the entry of these leaf hashes (one per part) is durable. HOT."""
        self._values: T | None = values
        self._leaf_hashes: tuple[bytes, ...] | None = leaf_hashes or None

    def release(self, receipt: Receipt) -> T:
        """Return the values.

        Raises:
            LogUnavailableError: ``receipt`` is not a receipt, is that of
                another entry, or the values have been released already.
                Nothing is revealed and the values stay withheld.

        """
        if type(receipt) is not Receipt or receipt.leaf_hashes != self._leaf_hashes:
            raise LogUnavailableError("the values are not covered by this receipt")
        values: Any = self._values
        self._values = self._leaf_hashes = None
        released: T = values
        return released

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("withheld values are not copied or pickled")

    def __repr__(self) -> str:
        return "Withheld(redacted)"
