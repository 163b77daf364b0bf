"""A run that left something out is not green, and no test reaches another machine."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.network import NetworkRefusedError
from tests.support.sources import ROOT

PASSING = "def test_passes():\n    pass\n"
SKIPPED = "import pytest\n@pytest.mark.skip\ndef test_left_out():\n    pass\n"
EXPECTED_TO_FAIL = "import pytest\n@pytest.mark.xfail\ndef test_broken():\n    assert False\n"
ON_SQLITE = "import pytest\n@pytest.mark.parametrize('d', ['sqlite'])\ndef test_half(d):\n    pass\n"
ON_BOTH = ON_SQLITE.replace("['sqlite']", "['sqlite', 'postgresql']")


def _run(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(code, encoding="utf-8")
    plugins = ("-p", "tests.support.strictness", "-p", "no:cacheprovider", "-p", "no:cov")
    command = [sys.executable, "-m", "pytest", "--rootdir", str(folder), *plugins, *options, str(folder)]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)


def test_passes_a_run_with_nothing_left_out(tmp_path: Path) -> None:
    assert _run(tmp_path, PASSING).returncode == 0


@pytest.mark.parametrize(
    ("code", "workers"),
    [(SKIPPED, 0), (SKIPPED, 1), (EXPECTED_TO_FAIL, 0)],
    ids=["skip", "skip on a worker", "xfail"],
)
def test_fails_a_run_that_left_something_out(tmp_path: Path, code: str, workers: int) -> None:
    ran = _run(tmp_path, PASSING + code, f"--numprocesses={workers}")
    assert ran.returncode == 1
    assert "nothing may be left out" in ran.stdout


def test_fails_a_run_without_postgresql_when_both_are_asked_for(tmp_path: Path) -> None:
    ran = _run(tmp_path, ON_SQLITE, "--both-databases")
    assert ran.returncode == 1
    assert "no test passed on postgresql" in ran.stdout


def test_passes_a_run_on_both_databases(tmp_path: Path) -> None:
    ran = _run(tmp_path, ON_BOTH, "--both-databases")
    assert ran.returncode == 0
    assert "1 on sqlite, 1 on postgresql" in ran.stdout


@pytest.mark.parametrize("address", ["192.0.2.1", "example.org"])
def test_refuses_to_reach_another_machine(address: str) -> None:
    with pytest.raises(NetworkRefusedError, match=re.escape(address)):
        socket.create_connection((address, 80), timeout=1)


def test_refuses_datagrams_to_another_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outgoing, pytest.raises(NetworkRefusedError):
        outgoing.sendto(b"", ("192.0.2.1", 9))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_lets_loopback_through(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection((host, server.getsockname()[1]), timeout=5).close()


def test_lets_local_sockets_through(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.connect(str(tmp_path / "s"))
