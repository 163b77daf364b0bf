"""Say where a fault of our own happened, without what it happened to.

Messages and locals of unexpected errors can hold values; the type of the error
and the place in the code cannot.
"""

from __future__ import annotations

import traceback
from pathlib import Path


def describe(error: BaseException) -> str:
    """Return the error's type and the frames it passed through, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    path = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-6:])
    return f"{type(error).__name__} at {path}"
