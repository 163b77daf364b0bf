"""What keeps the memory of a process that holds keys to itself, as far as the operating system helps."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def leave_no_core() -> None:
    """Leave no core dump, nor let a child leave one: keys and what people typed would lie in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def keep_to_itself() -> None:
    """Leave no core dump, and let no other process of the same user attach (Linux: prctl(2)).

    What it cannot do: Python does not wipe memory, root reads it all the same,
    and what the system swaps out is on the swap.
    """
    leave_no_core()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
