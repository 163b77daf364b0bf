"""Whoever ends old root keys, killed at one moment: ``python -m tests.soak.retirer HOME NOW BOUNDARY``.

The shares for recovery come on stdin, a line each.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vault.assembly import Settings, by_reading, end_copies, look, retiring


def _die(*_arguments: Any, **_named: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(home: str, now: str, boundary: str) -> None:
    """End every copy, and die before the act that ``boundary`` names."""
    clock = datetime.fromtimestamp(float(now), UTC)
    settings = Settings.load(Path(home))
    if boundary == "unlink":
        Path.unlink = _die  # type: ignore[method-assign]
    else:
        vars(retiring)[boundary] = _die
    names = [copy.name for copy in look(settings, clock=lambda: clock).copies]
    end_copies(settings, names, by="stf_00000000000000000000", ask=by_reading(0), clock=lambda: clock)


if __name__ == "__main__":
    main(*sys.argv[1:])
