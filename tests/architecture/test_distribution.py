"""What is installed is exactly four packages, and the locks say what they must and nothing more."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.sources import PRODUCT, ROOT, project_files

LOCKS = ("locks/runtime.txt", "locks/dev.txt")

INDEX_ADDRESS = re.compile(r"https?://[^\s\"')>]*(?:\bpypi\b|/simple\b)")
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)")


def _pins(name: str) -> dict[tuple[str, str], str]:
    pins = {}
    for block in re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8").strip()):
        matched = REQUIREMENT.match(block)
        assert matched is not None, block
        pins[matched[1], matched[2]] = block
    return pins


def test_wheel_holds_exactly_four_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PRODUCT)


@pytest.mark.parametrize("name", LOCKS)
def test_lock_pins_every_package_with_hashes(name: str) -> None:
    assert [pin for pin, block in _pins(name).items() if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert [line for line in text.splitlines() if line.startswith("-")] == []


def test_development_adds_to_the_runtime_and_changes_nothing() -> None:
    assert _pins("locks/runtime.txt").keys() <= _pins("locks/dev.txt").keys()


def test_no_file_names_a_package_index() -> None:
    found = []
    for path in project_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {address}" for address in INDEX_ADDRESS.findall(text)]
    assert found == []


def test_no_other_lock_lies_about() -> None:
    others = ("uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock")
    assert [name for name in others if (ROOT / name).exists()] == []
