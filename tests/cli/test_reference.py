from __future__ import annotations

import subprocess
import sys

from cli.reference import render
from tests.support.sources import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"


def test_the_reference_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == render()


def test_the_reference_does_not_depend_on_who_makes_it() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "cli.reference"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        env={"COLUMNS": "40", "PIIVAULT_URL": "https://elsewhere.example", "HOME": "/nonexistent"},
    )
    assert made.stdout.decode() == render()
