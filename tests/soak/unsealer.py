"""Whoever unseals on the host, to be killed: ``python -m tests.soak.unsealer HOME NOW``."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from vault.assembly import Settings, unseal_on_host


def main(home: str, now: str) -> None:
    """Unseal once, and say when that begins and when it is done."""
    clock = datetime.fromtimestamp(float(now), UTC)
    os.write(1, b"begin\n")
    unseal_on_host(Settings.load(Path(home)), clock=lambda: clock)
    os.write(1, b"done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
