"""``piivault serve``: what it refuses to start with, and that it starts and stops as a process."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cli.output import Output
from cli.serve import application, require_safe, run_server, serve, worker_application
from tests.api.world import POLICY
from vault.access.staff import Person
from vault.assembly import initialise
from vault.domain.errors import InvalidInputError, UnavailableError
from vault.domain.model import Role
from vault.policy.policy import Policy
from vault.settings import Settings

ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there: it is what has to be refused
COMMAND = [sys.executable, "-P", "-m", "cli", "serve"]


def _vault(home: Path, database_url: str = "") -> Settings:
    return initialise(
        home,
        policy=Policy.parse(POLICY.read_text(encoding="utf-8")),
        administrator=Person("admin", "Kim", Role.ADMINISTRATOR),
        officer=Person("officer", "Lee", Role.OFFICER),
        database_url=database_url,
    ).settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return _vault(tmp_path / "home")


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.0.2.1", "vault.example", ""])
def test_refuses_plaintext_off_loopback(settings: Settings, host: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        require_safe(replace(settings, host=host))
    assert (caught.value.field, caught.value.rule) == ("server.certificate", "plaintext")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_takes_plaintext_on_loopback(settings: Settings, host: str) -> None:
    require_safe(replace(settings, host=host))


def test_takes_tls_anywhere(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "pem"
    file.touch()
    require_safe(replace(settings, host=ANYWHERE, certificate=file, private_key=file))


@pytest.mark.parametrize(
    ("changed", "field", "rule"),
    [
        ({"certificate": Path("a")}, "server.private_key", "required"),
        ({"private_key": Path("a")}, "server.private_key", "required"),
        ({"certificate": Path("/a"), "private_key": Path("/b")}, "server.certificate", "missing"),
        ({"workers": 2}, "server.workers", "sqlite"),
    ],
)
def test_refuses_what_cannot_work(settings: Settings, changed: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        require_safe(replace(settings, **changed))
    assert (caught.value.field, caught.value.rule) == (field, rule)


def test_refuses_an_address_that_is_taken(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnavailableError):
            run_server(replace(settings, port=port), pytest.fail)


def test_worker_that_cannot_open_the_vault_says_so_and_ends(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = replace(settings, root_key=settings.home / "nothing")
    with pytest.raises(SystemExit) as ended:
        worker_application(broken)
    assert ended.value.code == 3
    assert capsys.readouterr().err.startswith("unavailable: ")


def test_application_belongs_to_a_vault_of_its_own(settings: Settings) -> None:
    for make in (application, worker_application):
        app = make(settings)
        app._stop()


def test_says_where_it_listens(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def run(taken: Settings, announce: Callable[[str], None], _ask: object) -> None:
        assert taken == replace(settings, port=0, host="::1")
        announce("http://[::1]:1")

    monkeypatch.setattr("cli.serve.run_server", run)
    monkeypatch.setattr("sys.stdout.write", told.append)
    serve(Output(), home=settings.home, port=0, host="::1")
    serve(Output(as_json=True), home=settings.home, port=0, host="::1")
    assert "".join(told) == 'listening on http://[::1]:1\n{"url": "http://[::1]:1"}\n'


@contextmanager
def _running(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [*COMMAND, "--port", "0", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, server.stderr.read() if server.stderr else ""
            yield json.loads(line)["url"], server
        finally:
            server.kill()


def test_serves_until_it_is_terminated(settings: Settings) -> None:
    with _running("--home", str(settings.home)) as (url, server):
        limits = Path(f"/proc/{server.pid}/limits").read_text(encoding="ascii")
        assert re.search(r"Max core file size +0 +0 ", limits)
        assert httpx2.get(f"{url}/readyz", trust_env=False).is_success
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in {0, -signal.SIGTERM}


def test_an_interrupt_is_how_it_ends(settings: Settings) -> None:
    with _running("--home", str(settings.home)) as (_, server):
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
        assert server.communicate() == ("", "")


def test_an_interrupt_before_it_serves_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.serve.run_server", stop)
    with pytest.raises(KeyboardInterrupt):
        serve(Output(), home=settings.home)


def test_workers_share_an_address(tmp_path: Path, migrated_postgres_url: str) -> None:
    settings = _vault(tmp_path / "home", migrated_postgres_url)
    with _running("--home", str(settings.home), "--workers", "2") as (url, server):
        assert httpx2.get(f"{url}/readyz", trust_env=False, timeout=30).is_success
        server.send_signal(signal.SIGTERM)
        assert server.wait(40) in {0, -signal.SIGTERM}
