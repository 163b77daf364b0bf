"""How fast background work goes, so that nobody who uses the vault waits for it.

The pace follows the vault's own log: as long as others append to it, on any
node, portions are small and the job keeps its node free for nineteen
twentieths of the time. A portion that is overtaken by a change to what
decisions rest on is lost, so the next one takes half as much, until some come
through; each that does lets the next take twice as much.
"""

from __future__ import annotations

from typing import Final

from vault.access.identities import SECOND_US

IDLE_PORTION: Final = 5_000
IDLE_PORTION_ONE_WRITER: Final = 500
"""On SQLite, where everybody who writes waits until a portion is written."""

BUSY_PORTION: Final = 100
SHORTEST_PORTION: Final = 50

BUSY_PAUSE: Final = 19
"""Rest after a portion, as a multiple of what it took, while others use the vault."""

LONGEST_PAUSE_US: Final = 5 * SECOND_US
"""Well within the lease."""

BUSY_RATE: Final = 5
"""Entries of others per second above which the vault counts as in use; who watches a job makes one in two."""

WINDOW_US: Final = SECOND_US // 2


class Pace:
    """The pace of the background work of one node. For one thread."""

    def __init__(self, *, longest_portion: int) -> None:
        self._longest = longest_portion
        self._limit = longest_portion
        self._since: int | None = None
        self._next = 0
        self._others = 0
        self._busy = True
        """Until the first window is over nobody knows; then the vault is better taken to be in use."""

    @property
    def size(self) -> int:
        """Items that the next portion may take."""
        return min(self._limit, BUSY_PORTION if self._busy else self._longest)

    def overtaken(self) -> None:
        """Take in that a portion was lost, because others change things: the next one takes half as much."""
        self._limit = max(SHORTEST_PORTION, self.size // 2)
        self._busy = True

    def after(self, index: int, *, began_us: int, ended_us: int) -> float:
        """Take in a portion that was written, and the index of its entry; return the seconds to rest."""
        self._limit = min(self._longest, self._limit * 2)
        self._saw(index, ended_us)
        if not self._busy:
            return 0.0
        return min(BUSY_PAUSE * (ended_us - began_us), LONGEST_PAUSE_US) / SECOND_US

    def _saw(self, index: int, now_us: int) -> None:
        if self._since is None:
            self._since = now_us
        else:
            self._others += index - self._next
        self._next = index + 1
        elapsed = now_us - self._since
        if elapsed >= WINDOW_US:
            self._busy = self._others * SECOND_US > BUSY_RATE * elapsed
            self._since, self._others = now_us, 0
