from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest

from cli.demo import host as hosts
from cli.demo.account import Figures
from cli.demo.adversary import Planted, flip_byte, plant_grant
from cli.demo.authenticator import STEP_S, Authenticator, totp
from cli.demo.host import Host
from cli.demo_data import FILES, members, partners
from tests.cli.conftest import Command
from vault.domain.errors import UnavailableError

RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def killed() -> Iterator[list[int]]:
    """Ids of processes to end after the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_the_demo_comes_to_its_figures_and_leaves_a_server_to_log_in_to(
    command: Command, temporary: Path, killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = time.monotonic()
    ran = command("demo", "--json", "--keep")
    killed += [int(pid) for pid in re.findall(r"process (\d+)", ran.err)]
    assert ran.code == 0, ran.err
    assert ran.json == {
        "tokenized": 30_677,
        "rejected": 146,
        "detokenized": 9_891,
        "refused": 9,
        "log_entries": 114,
        "log_verified": True,
        "tamper_detected": True,
        "plaintext_found": 0,
        "rotation": {"from": 1, "to": 2, "remaining": 0},
        "erased": True,
        "certified": True,
    }
    assert time.monotonic() - begun < 120
    assert "12. What whoever steals the disk finds" in ran.err
    assert "403 purpose_not_allowed" in ran.err

    found = re.search(r"export XDG_CONFIG_HOME=(\S+)", ran.err)
    assert found is not None
    monkeypatch.setenv("XDG_CONFIG_HOME", found[1])
    assert command("audit", "list", "--profile", "reviewer").code == 0
    assert "mina" in command("staff", "list", "--profile", "officer").out
    assert temporary in Path(found[1]).parents


def test_a_demo_that_fails_prints_its_object_too_and_ends_with_1(
    command: Command, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(hosts, "_free_port", lambda: taken.getsockname()[1])
        ran = command("demo", "--json")
    assert ran.code == 1
    assert ran.json == Figures().document()
    assert "piivault: demo: unavailable: the server did not start" in ran.err
    assert list(temporary.iterdir()) == []


def test_figures_that_are_off_are_named() -> None:
    figures = Figures(tokenized=1, plaintext_found=2, log_verified=True)
    faults = figures.faults()
    assert "tokenized is 1, not 30677" in faults
    assert "plaintext_found is 2, not 0" in faults
    assert not any(fault.startswith("log_verified") for fault in faults)


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ],
)
def test_codes_are_those_of_rfc_6238_appendix_b(at: int, code: str) -> None:
    assert totp(RFC_SECRET, at // STEP_S) == code


def test_an_authenticator_shows_no_code_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    authenticator = Authenticator(RFC_SECRET)
    codes = [authenticator.code() for _ in range(4)]
    assert codes == [totp(RFC_SECRET, 1_000_000_000 // STEP_S + step) for step in range(4)]
    # Two at once, this step's and the next one's; for the others one waits.
    assert 1_000_000_030 <= now[0] < 1_000_000_061


def test_what_is_looked_for_would_be_found() -> None:
    planted = Planted(chain(members(), partners()))
    source = (FILES["members.csv"]() + FILES["partners.csv"]()).encode()
    assert planted.found_in(source) == planted.count > 30_000
    assert planted.found_in(FILES["policy.toml"]().encode()) == 0
    first = next(iter(members()))["member.phone"]
    digits = first.replace(" ", "").replace("-", "")
    for text in (digits, f"+82{digits[1:]}", f"x'{digits[:3]}-{digits[3:7]}-{digits[7:]}'"):
        assert planted.found_in(text.encode()) == 1
    assert planted.found_in("…장보람…".encode()) == 1
    assert planted.found_in(b"") == 0


def test_a_flipped_byte_is_one_bit(tmp_path: Path) -> None:
    bundle = tmp_path / "tile" / "entries" / "000"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(bytes(9))
    assert flip_byte(tmp_path) == bundle
    assert bundle.read_bytes() == bytes([0, 0, 0, 0, 1, 0, 0, 0, 0])


def test_a_row_that_cannot_be_planted_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no such table"):
        plant_grant(tmp_path / "vault.db", holder="a", another="b")


@pytest.mark.usefixtures("temporary")
def test_a_host_says_why_init_failed() -> None:
    host = Host()
    with pytest.raises(UnavailableError, match="LOGIN:NAME"):
        host.initialise(administrator="x", officer="y")
    assert host.leave() == 0
    host.stop()
    host.remove()
    assert not host.work.exists()


STUBBORN = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Answering).serve_forever()
"""


@pytest.mark.usefixtures("temporary")
def test_a_server_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "COMMAND", (sys.executable, "-c", STUBBORN))
    monkeypatch.setattr(hosts, "STOP_S", 0.2)
    host = Host()
    host.start()
    with pytest.raises(UnavailableError, match="not integrated in time"):
        host.settle()
    host.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", host.port), 1)
    assert host.leave() == 0
