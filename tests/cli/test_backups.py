"""Backup and restore from the command line: what they print, what they warn of, what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.local.backups import _vouch
from cli.output import Output
from keys.recipients import new_identity
from tests.cli.conftest import Command
from tests.support.furnished import POLICY
from vault.assembly.backups import Gap
from vault.domain.model import Role

PEOPLE = ("--administrator", "mina:김민아", "--officer", "jun:박준")


@pytest.fixture
def home(tmp_path: Path, command: Command) -> Path:
    folder = tmp_path / "vault"
    assert command("init", "--home", folder, "--policy", POLICY, *PEOPLE).code == 0
    return folder


def identity(tmp_path: Path, name: str) -> tuple[Path, str]:
    secret, recipient = new_identity()
    path = tmp_path / name
    path.write_text(secret.expose())
    return path, recipient


def test_a_vault_is_backed_up_and_restored_elsewhere(command: Command, home: Path, tmp_path: Path) -> None:
    (values, first), (keys, second) = identity(tmp_path, "values.txt"), identity(tmp_path, "keys.txt")
    folder, new = tmp_path / "copy", tmp_path / "new"
    ran = command("backup", folder, "--home", home, "--values-to", first, "--keys-to", second)
    assert (ran.code, "rows, the log up to entry 1." in ran.out) == (0, True), ran.err
    (new / "keys").mkdir(parents=True)
    shutil.copy(home / "keys" / "root.key", new / "keys")
    opening = ("--identity", values, "--identity", keys)
    ran = command("restore", folder, "--home", new, *opening)
    assert ran.code == 0, ran.err
    assert "IS BACK" in ran.err
    assert "/r1+" in ran.out
    assert "No officer was active" in ran.out
    status = command("status", "--home", new)
    assert status.code == 0
    again = command("restore", folder, "--home", new, *opening, "--json")
    assert (again.code, again.json["error"]["code"]) == (5, "conflict")


def test_json_says_what_was_done(command: Command, home: Path, tmp_path: Path) -> None:
    path, recipient = identity(tmp_path, "both.txt")
    folder, new = tmp_path / "copy", tmp_path / "new"
    told = command("backup", folder, "--home", home, "--to", recipient, "--json").json
    assert (told["log_index"], told["log_size"]) == (1, 2)
    (new / "keys").mkdir(parents=True)
    shutil.copy(home / "keys" / "root.key", new / "keys")
    told = command("restore", folder, "--home", new, "--identity", path, "--json").json
    assert (told["gap"], told["undigested"], told["ended"]) == (None, 0, {"invitations": 2})
    assert (told["log_index"], told["officer"]) == (2, "")


def test_refuses_a_backup_that_nobody_could_open(command: Command, home: Path, tmp_path: Path) -> None:
    for options in ((), ("--values-to", identity(tmp_path, "v")[1]), ("--to", "age1nonsense")):
        ran = command("backup", tmp_path / "copy", "--home", home, *options)
        assert (ran.code, "recipients" in ran.err) == (2, True)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "a folder, or --raw"),
        (("copy", "--raw"), "a folder, or --raw"),
        (("nowhere",), "no whole backup"),
    ],
)
def test_refuses_what_is_no_restore(
    command: Command, home: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    ran = command("restore", *arguments, "--home", tmp_path / "new")
    assert (ran.code, told in ran.err) == (2, True)
    assert home.exists()


def test_refuses_to_settle_a_vault_that_is_not_behind(command: Command, home: Path) -> None:
    ran = command("restore", "--raw", "--home", home)
    assert (ran.code, "nothing to settle" in ran.err) == (5, True)


def test_identities_that_cannot_be_read_are_named(command: Command, home: Path, tmp_path: Path) -> None:
    _, recipient = identity(tmp_path, "both.txt")
    command("backup", tmp_path / "copy", "--home", home, "--to", recipient)
    new = tmp_path / "new"
    ran = command("restore", tmp_path / "copy", "--home", new, "--identity", tmp_path / "none")
    assert (ran.code, "none cannot be read" in ran.err) == (2, True)
    (tmp_path / "text").write_text("no identity")
    ran = command("restore", tmp_path / "copy", "--home", new, "--identity", tmp_path / "text")
    assert (ran.code, "AGE-SECRET-KEY" in ran.err) == (2, True)
    ran = command("restore", tmp_path / "copy", "--home", new, "--tombstones", tmp_path / "none")
    assert ran.code == 2
    assert not new.exists()


def test_what_the_officer_shows_is_read_when_they_are_asked(tmp_path: Path) -> None:
    """Up to then a code would have become too old."""
    path = tmp_path / "credentials"
    path.write_text("admin\nsecret\n111111\n")
    with path.open() as file:
        vouch = _vouch(Output(as_json=True), file.fileno())
        gap = Gap("log", 1, 2)
        assert vouch(gap, Role.ADMINISTRATOR).totp_code == "111111"
        with path.open("a") as more:
            more.write("officer\nsecret\n222222\n")
        shown = vouch(gap, Role.OFFICER)
    assert (shown.login, shown.totp_code) == ("officer", "222222")


def test_a_place_that_cannot_be_written_is_named_with_the_reason(
    command: Command, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    recipient = identity(tmp_path, "both.txt")[1]
    ran = command("backup", tmp_path / "file" / "copy", "--home", home, "--to", recipient)
    assert (ran.code, "Not a directory" in ran.err) == (7, True), ran.err
