"""Checkpoints against the tree that the entries give, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vault.audit.merkle import Frontier
from vault.audit.note import Checkpoint
from vault.audit.verify.report import Findings


class RootCheck:
    """Grows the tree leaf by leaf and compares its root with every checkpoint of that size.

    ``stored`` comes in ascending order of size and is drawn from as the tree
    grows. Once the tree disagrees with one stored checkpoint it disagrees
    with all later ones for the same reason, so only the first is reported;
    every known one is.
    """

    def __init__(self, stored: Iterator[Checkpoint], known: Iterable[Checkpoint], findings: Findings) -> None:
        self._stored = stored
        self._known = sorted(known, key=lambda checkpoint: checkpoint.size, reverse=True)
        self._findings = findings
        self._tree = Frontier()
        self._next = next(stored, None)
        self._agreed = 0
        self._known_agreed = 0
        self._broken = False
        self._compare()

    @property
    def size(self) -> int:
        """Number of leaves so far."""
        return self._tree.size

    def grow(self, leaf: bytes) -> None:
        """Add a leaf hash and compare."""
        self._tree.append(leaf)
        self._compare()

    def finish(self, latest: Checkpoint) -> None:
        """No leaf follows: compare with ``latest``, and draw what is left of the stored checkpoints."""
        if self._tree.size == latest.size:
            self._compare_stored(latest)
        for checkpoint in reversed(self._known):
            if checkpoint.size > latest.size:
                self._findings.add("shorter_than_known", latest.size, f"size {checkpoint.size}")
        while self._next is not None:
            self._next = next(self._stored, None)

    def _compare(self) -> None:
        size = self._tree.size
        while self._next is not None and self._next.size == size:
            self._compare_stored(self._next)
            self._next = next(self._stored, None)
        while self._known and self._known[-1].size == size:
            self._compare_known(self._known.pop())

    def _compare_stored(self, checkpoint: Checkpoint) -> None:
        if checkpoint.root == self._tree.root():
            self._agreed = checkpoint.size
        elif not self._broken:
            self._broken = True
            self._findings.add("root_mismatch", self._agreed, f"size {checkpoint.size}")

    def _compare_known(self, checkpoint: Checkpoint) -> None:
        # Agreement with stored checkpoints counts for nothing here: whoever rewrites the log signs them anew.
        if checkpoint.root == self._tree.root():
            self._known_agreed = checkpoint.size
        else:
            self._findings.add("inconsistent_with_known", self._known_agreed, f"size {checkpoint.size}")
