"""Put a fault of the server's own into its log, by request id, without a value.

An exception's text, its arguments and the variables of its frames may hold
what must not be written down. What is written is its class and where it was
raised.
"""

from __future__ import annotations

import logging
from traceback import walk_tb
from typing import Final

from api.errors import INTERNAL, Problem

LOG: Final = logging.getLogger("piivault.api")

DEEPEST: Final = 8
"""Frames that are named, the innermost last."""


def report(error: BaseException, problem: Problem, request: str) -> None:
    """Log ``error`` if its answer says that it is our fault."""
    if problem.status == INTERNAL.status:
        LOG.error("%s: %s: %s at %s", problem.code, request, type(error).__name__, _places(error))


def _places(error: BaseException) -> str:
    frames = [frame for frame, _ in walk_tb(error.__traceback__)][-DEEPEST:]
    lines = [line for _, line in walk_tb(error.__traceback__)][-DEEPEST:]
    named = [
        f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in zip(frames, lines, strict=True)
    ]
    return " > ".join(named) or "unknown"
