"""A process with keys leaves no core dump, and nobody of the same user attaches to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.main import HOLDING, build


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


@pytest.mark.parametrize(
    ("words", "dumpable"), [("drill recovery", "0"), ("keys root rotate", "0"), ("status", "1")]
)
def test_a_command_that_opens_the_root_key_keeps_to_itself(words: str, dumpable: str, tmp_path: Path) -> None:
    script = (
        "import atexit, ctypes, sys\n"
        "from cli.main import main\n"
        "atexit.register(lambda: print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)))\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *words.split(), "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "piivault:" in ran.stderr
    assert ran.stdout == f"{dumpable}\n"


def test_commands_that_keep_to_themselves_exist() -> None:
    for words in HOLDING:
        command: Any = typer.main.get_command(build())
        for word in words:
            command = command.commands[word]
