"""Whoever changes the root key, to be killed: ``python -m tests.soak.rerooter HOME NOW``."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from vault.assembly import Sealing, Settings, change_root_key


def main(home: str, now: str) -> None:
    """Change it once, and say when that begins and when it is done."""
    clock = datetime.fromtimestamp(float(now), UTC)
    os.write(1, b"begin\n")
    change_root_key(Settings.load(Path(home)), Sealing(), clock=lambda: clock)
    os.write(1, b"done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
