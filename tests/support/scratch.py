"""Where tests keep what they throw away: in memory, where there is plenty.

Every commit of every database in a test is flushed, as in production. In memory a flush costs nothing, and
no test looks at what a power cut leaves: those of killed processes find in either what was written, and
those that see the flushes trace the calls.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
DISK: Final = Path("/tmp")

ENOUGH: Final = 6 << 30
"""Free bytes: twice what a dozen servers take with a quarter of a gigabyte each."""


def scratch() -> Path:
    """Return a folder to make folders in: short enough for a socket's path, and open to every user."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK | os.X_OK):
        return DISK
    # A server's programs may be copied there, to be run by another user.
    runs_programs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    return MEMORY if runs_programs and shutil.disk_usage(MEMORY).free >= ENOUGH else DISK
