from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from typer.main import get_command

import cli.main
from cli.main import build
from tests.cli.conftest import Command


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    members = getattr(command, "commands", None)
    if members is None:
        yield path, command
        return
    for name, member in members.items():
        yield from _leaves(member, (*path, name))


COMMANDS = dict(_leaves(get_command(build())))

WANTED = [
    *("seal", "unseal", "init", "serve", "status", "demo", "migrate", "login", "logout", "password"),
    *("tokenize", "detokenize", "search", "import", "export"),
    *("staff invite", "staff invite-again", "staff enrol", "staff list", "staff leave"),
    *("service create", "service list", "service rotate", "service revoke"),
    *("grant propose", "grant list", "grant revoke"),
    *("approval list", "approval approve", "approval refuse"),
    *("token show", "token revoke", "keys list", "keys rotate", "keys rewrap"),
    *("subject show", "subject erase", "subject restrict", "subject lift"),
    *("keys jobs", "keys census", "keys destroy", "keys redigest", "keys root rotate", "drill recovery"),
    *("keys suspend", "keys resume", "keys compromise", "keys reencrypt", "keys reseal"),
    "keys retire",
    *("certificate list", "certificate show", "certificate verify"),
    *("backup", "restore"),
    *("audit list", "audit show", "audit export", "audit key", "audit verify"),
]


def test_the_commands_are_these() -> None:
    assert {" ".join(path) for path in COMMANDS} == set(WANTED)


def test_tells_its_version(command: Command) -> None:
    ran = command("--version")
    assert (ran.code, ran.out) == (0, f"piivault {version('piivault')}\n")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_json_examples_and_a_short_help(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert any("--json" in parameter.opts for parameter in command.params)
    assert f"piivault {' '.join(path)}" in command.epilog
    assert command.epilog.startswith("\b\nExamples:\n")
    assert command.help
    assert all(getattr(parameter, "help", None) for parameter in command.params)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_command_takes_a_value_or_a_password_as_an_argument(path: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert options.isdisjoint({"--value", "--password", "--client-secret", "--secret"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["staff"],
        ["staff", "nope"],
        ["grant", "propose"],
        ["audit", "list", "--limit", "0"],
        ["audit", "show", "x"],
        ["status", "--nope"],
    ],
)
def test_a_wrong_command_line_ends_with_2(command: Command, arguments: list[str]) -> None:
    ran = command(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("piivault: usage: ")


def test_with_json_an_error_is_one_object_too(command: Command) -> None:
    ran = command("audit", "show", "x", "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "usage"
    assert ran.err.count("\n") == 1


def test_a_group_alone_shows_its_help(command: Command) -> None:
    ran = command("keys")
    assert ran.code == 2
    assert "Put the next version of a key in force." in ran.err


def test_help_goes_to_stdout(command: Command) -> None:
    ran = command("detokenize", "--help")
    assert ran.code == 0
    assert "--plain" in ran.out
    assert "Examples:\n    piivault detokenize --purpose inquiry" in ran.out


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (RuntimeError("010-1234-5678"), 1)])
def test_whatever_happens_ends_in_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(_path: object) -> None:
        raise error

    monkeypatch.setattr("cli.status.local_state", fail)
    ran = command("status", "--home", "/nonexistent")
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert "1234" not in ran.err + ran.out


def test_an_interrupt_is_one_line_and_with_json_one_object(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.status.local_state", stop)
    ran = command("status", "--home", "/nonexistent", "--json")
    assert ran.code == 130
    assert ran.json["error"]["code"] == "interrupted"
    assert ran.json["exit_code"] == 130
    assert ran.err.strip() == f"piivault: interrupted: {ran.json['error']['detail']}"
    plain = command("status", "--home", "/nonexistent")
    assert (plain.code, plain.out, plain.err) == (130, "", ran.err)


def test_a_password_left_untyped_is_an_interrupt(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", end)
    assert command("login", "mina", "--url", "http://127.0.0.1:1", typed="").code == 130


def test_an_answer_left_unfinished_at_the_keyboard_is_an_interrupt(command: Command) -> None:
    assert command("init", typed="").code == 130


def test_a_reader_that_has_gone_is_no_error_message() -> None:
    reader = "import sys; sys.stdin.readline()"
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "audit", "verify", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as first:
        subprocess.run([sys.executable, "-c", reader], stdin=first.stdout, check=True)
        assert first.stdout is not None
        first.stdout.close()
        assert first.stderr is not None
        assert first.stderr.read() == b""


def test_a_broken_pipe_ends_quietly() -> None:
    code = (
        "import sys, cli.status, cli.main\n"
        "def fail(_): raise BrokenPipeError\n"
        "cli.status.local_state = fail\n"
        "sys.exit(cli.main.run(['status', '--home', '/nonexistent']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "")


def test_the_command_exits_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["piivault", "nope"])
    with pytest.raises(SystemExit) as ended:
        cli.main.main()
    assert ended.value.code == 2


def test_the_module_is_the_command() -> None:
    ran = subprocess.run([sys.executable, "-m", "cli", "--help"], check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("Usage: piivault ")


def test_the_shell_can_complete_commands() -> None:
    env = {"_PIIVAULT_COMPLETE": "complete_bash", "COMP_WORDS": "piivault aud", "COMP_CWORD": "1"}
    ran = subprocess.run([sys.executable, "-m", "cli"], check=False, env=env, capture_output=True, text=True)
    assert ran.stdout.split() == ["audit"]
