"""The Merkle tree over the log's entries, as RFC 6962 section 2.1 defines it.

Leaves and inner nodes are hashed with different prefixes, so that neither can
pass for the other. ``Frontier`` keeps only what is needed to go on: the roots
of the complete subtrees of the entries so far, at most one per power of two.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

HASH_SIZE: Final = 32

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without entries."""

_SIZE_BYTES = 8
_SIZE_LIMIT = 1 << 63


class MalformedFrontierError(ValueError):
    """Bytes are not a frontier."""


def leaf_hash(data: bytes) -> bytes:
    """Return the leaf hash of an entry's exact bytes. HOT."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the inner node over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: append leaf hashes, ask for the root at any time.

    ``size`` entries take ``size.bit_count()`` hashes. Appending costs one
    node hash on average, the root at most one per level.
    """

    __slots__ = ("_size", "_subtrees")

    def __init__(self) -> None:
        self._size = 0
        self._subtrees: list[bytes] = []

    @property
    def size(self) -> int:
        """Number of entries so far."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add the leaf hash of the next entry (32 bytes, from ``leaf_hash``)."""
        size = self._size
        while size & 1:
            leaf = node_hash(self._subtrees.pop(), leaf)
            size >>= 1
        self._subtrees.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add several leaf hashes in order."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """Return the root over all entries so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        *higher, root = self._subtrees
        for subtree in reversed(higher):
            root = node_hash(subtree, root)
        return root

    def copy(self) -> Frontier:
        """Return an independent frontier of the same entries."""
        twin = Frontier()
        twin._size = self._size
        twin._subtrees = self._subtrees.copy()
        return twin

    def to_bytes(self) -> bytes:
        """Return size (unsigned 64 bits, big-endian) and subtree hashes, largest subtree first."""
        return self._size.to_bytes(_SIZE_BYTES, "big") + b"".join(self._subtrees)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Return the frontier that ``to_bytes`` wrote.

        Whether it is the frontier of the log is for the caller to establish,
        by its root.

        Raises:
            MalformedFrontierError: the length does not fit the size.

        """
        size = int.from_bytes(data[:_SIZE_BYTES], "big")
        if size >= _SIZE_LIMIT or len(data) != _SIZE_BYTES + HASH_SIZE * size.bit_count():
            raise MalformedFrontierError("length does not fit the size")
        frontier = cls()
        frontier._size = size
        frontier._subtrees = [data[at : at + HASH_SIZE] for at in range(_SIZE_BYTES, len(data), HASH_SIZE)]
        return frontier


def roots_at(leaves: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """Recompute the root at each of ``sizes`` in one pass over the leaf hashes.

    A size beyond the leaves is absent from the result: there is no such root.
    """
    wanted = set(sizes)
    frontier = Frontier()
    roots = {0: EMPTY_ROOT} if 0 in wanted else {}
    for leaf in leaves:
        frontier.append(leaf)
        if frontier.size in wanted:
            roots[frontier.size] = frontier.root()
    return roots
