"""A node at work on a re-wrap, to be killed: ``python -m tests.soak.rewrapper HOME NOW SIZE``.

Says a line after each portion, and ends by itself when there is nothing left to do.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keys.passwords import Passwords
from tests.support.furnished import CHEAP
from vault.assembly import open_vault
from vault.settings import Settings


def main(home: str, now: str, size: str) -> None:
    """Open the vault as of ``now`` and do one portion after the other."""
    began, offset = time.monotonic(), datetime.fromtimestamp(float(now), UTC)

    def clock() -> datetime:
        return offset + timedelta(seconds=time.monotonic() - began)

    vault = open_vault(Settings.load(Path(home)), clock=clock, passwords=Passwords(CHEAP))
    while vault.worker.portion(size=int(size)) is not None:
        os.write(1, b"portion\n")
    vault.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
