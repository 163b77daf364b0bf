"""Commands run in this process; what they talk to is a real server, one for all tests of a process."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.main import run
from tests.cli.town import Ran, Town


class Typed(io.StringIO):
    """A terminal at which ``text`` is typed."""

    def isatty(self) -> bool:
        return True


Command = Callable[..., Ran]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``piivault`` with arguments and return how it ended; nothing of the real user's is in sight."""
    for name in list(os.environ):
        if name.startswith(("PIIVAULT_", "XDG_")) and name != "PIIVAULT_TEST_PG_BIN":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def call(*arguments: object, stdin: str = "", typed: str | None = None) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin) if typed is None else Typed(typed))
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return call


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    """A vault with people and services, served."""
    with Town() as built:
        yield built


@pytest.fixture
def at_town(town: Town, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Like ``command``, with everybody of the town logged in under a profile by their role."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(town.config))
    return command
