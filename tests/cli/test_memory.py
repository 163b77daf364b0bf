"""A process with keys leaves no core dump, and nobody of the same user attaches to it."""

from __future__ import annotations

import subprocess
import sys


def test_a_process_that_keeps_to_itself_leaves_no_core_dump() -> None:
    script = (
        "import ctypes, resource, sys\n"
        "from cli.memory import keep_to_itself\n"
        "keep_to_itself()\n"
        "dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == 'linux' else 0\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), dumpable)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "(0, 0) 0\n"
