"""The root key from the command line: what is asked, what is printed once, what is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.furnished import POLICY

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

PEOPLE = ("--administrator", "mina:김민아", "--officer", "jun:박준")
PASSPHRASE = "correct horse 배터리 staple"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@contextmanager
def lines(*texts: str) -> Iterator[str]:
    """Give the number of a file descriptor that has these lines."""
    reading, writing = os.pipe()
    os.write(writing, "".join(f"{text}\n" for text in texts).encode())
    os.close(writing)
    try:
        yield str(reading)
    finally:
        os.close(reading)


def test_shares_for_recovery_are_printed_once_and_work(command: Command, home: Path) -> None:
    told = command("init", "--home", home, "--policy", POLICY, *PEOPLE, "--json").json
    shares = told["recovery"]["shares"]
    assert [len(share.split()) for share in shares] == [33, 33, 33]
    assert told["root_key"]["shares"] == []
    with lines(shares[2], shares[0]) as descriptor:
        drilled = command("drill", "recovery", "--home", home, "--unseal-fd", descriptor)
    assert "Recovery works: root key 1, opened by Shamir shares, 2 needed" in drilled.out
    with lines(shares[1], shares[0]) as descriptor:
        told = command("drill", "recovery", "--home", home, "--unseal-fd", descriptor, "--json").json
    assert (told["version"], told["keys"] > 10) == (1, True)


def test_shares_are_printed_to_be_written_down(command: Command, home: Path) -> None:
    ran = command("init", "--home", home, "--policy", POLICY, *PEOPLE, "--root-key", "shamir:3/5")
    assert re.findall(r"share (\d), shown this once:", ran.out) == [*"12345", *"123"]
    assert "sealed by: Shamir shares, 3 of 5, fingerprint" in ran.out
    words = [line for line in ran.out.splitlines() if line.startswith("    ")]
    assert max(len(line.split()) for line in words) == 8
    assert "never beside the database" in ran.err


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_vault_is_made_whose_codes_and_shares_nobody_can_see(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", full)
        ran = command("init", "--home", home, "--policy", POLICY, *PEOPLE, *form)
        # What could not be written is tried again when the file is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert (ran.code, "no vault was made" in ran.err) == (7, True)
    assert not home.exists()
    assert command("init", "--home", home, "--policy", POLICY, *PEOPLE, *form).code == 0


def test_a_passphrase_opens_what_it_sealed(command: Command, home: Path) -> None:
    options = ("--home", home, "--policy", POLICY, *PEOPLE, "--root-key", "passphrase")
    with lines(PASSPHRASE) as descriptor:
        ran = command("init", *options, "--unseal-fd", descriptor)
    assert ran.code == 0, ran.err
    assert PASSPHRASE not in ran.out + ran.err
    shut = command("status", "--home", home)
    assert (shut.code, "--unseal-fd" in shut.err) == (7, True)
    with lines(PASSPHRASE) as descriptor:
        to_a_file = ("--root-key", "file", "--unseal-fd", descriptor)
        changed = command("keys", "root", "rotate", "--home", home, *to_a_file)
    assert "Root key 2 is in force; 1 opens nothing any more." in changed.out
    assert "It is sealed by: key file" in changed.out
    opened = command("status", "--home", home)
    assert (opened.code, "root-2.key" in opened.out) == (0, True)


def test_a_passphrase_is_typed_at_a_terminal(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed: list[str] = []

    def type_it(prompt: str, _stream: object) -> str:
        typed.append(prompt)
        return PASSPHRASE

    monkeypatch.setattr("getpass.getpass", type_it)
    options = ("--home", home, "--policy", POLICY, *PEOPLE, "--root-key", "passphrase")
    ran = command("init", *options, typed="")
    assert ran.code == 0, ran.err
    assert command("status", "--home", home, typed="").code == 0
    # What is new is typed twice: nobody could correct it later.
    assert typed == ["Root key, new passphrase: ", "The same again: ", "Root key, passphrase: "]


def test_a_share_is_typed_as_it_was_printed_and_again_when_mistyped(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = command("init", "--home", home, "--policy", POLICY, *PEOPLE, "--json").json["recovery"]["shares"]
    words = shares[0].split()
    typed = [
        " ".join([*words[:32], "acid" if words[32] == "academic" else "academic"]),
        *(" ".join(words[start : start + 8]) for start in range(0, 33, 8)),
        shares[0],
        shares[1],
    ]
    monkeypatch.setattr("getpass.getpass", lambda *_: typed.pop(0))
    ran = command("drill", "recovery", "--home", home, typed="")
    assert ran.code == 0, ran.err
    assert "share_malformed" in ran.err
    assert "share_duplicate" in ran.err
    assert typed == []


def test_a_recovery_file_is_named_with_from_recovery_only(command: Command, home: Path) -> None:
    command("init", "--home", home, "--policy", POLICY, *PEOPLE)
    ran = command("keys", "root", "rotate", "--home", home, "--recovery-file", "x.key")
    assert (ran.code, "--from-recovery" in ran.err) == (2, True)


def test_a_reason_that_the_log_must_not_hold_is_refused(command: Command, home: Path) -> None:
    command("init", "--home", home, "--policy", POLICY, *PEOPLE)
    ran = command("keys", "root", "rotate", "--home", home, "--reason", "ask 010-1234-5678")
    assert (ran.code, "reason" in ran.err, "1234" in ran.err) == (2, True, False)
    changed = command("keys", "root", "rotate", "--home", home, "--reason", "once a year")
    assert changed.code == 0, changed.err


def test_a_new_root_key_says_what_to_destroy(command: Command, home: Path) -> None:
    command("init", "--home", home, "--policy", POLICY, *PEOPLE)
    ran = command("keys", "root", "rotate", "--home", home)
    assert f"Destroy {home}/keys/root.key with every copy" in ran.err
    told = command("keys", "root", "rotate", "--home", home, "--json").json
    assert (told["old"], told["new"], len(told["recovery"]["shares"])) == (2, 3, 3)
    assert told["old_file"] == f"{home}/keys/root-2.key"
    assert "piivault unseal" not in ran.err
    to_people = command("keys", "root", "rotate", "--home", home, "--root-key", "shamir:2/3")
    assert "every running server is sealed until it has that: piivault unseal, at each" in to_people.err


def test_shares_bring_a_vault_back_whose_key_file_is_lost(command: Command, home: Path) -> None:
    shares = command("init", "--home", home, "--policy", POLICY, *PEOPLE, "--json").json["recovery"]["shares"]
    (home / "keys" / "root.key").unlink()
    lost = command("status", "--home", home)
    assert (lost.code, "missing" in lost.err) == (7, True)
    with lines(*shares[:2]) as descriptor:
        ran = command("keys", "root", "rotate", "--home", home, "--from-recovery", "--unseal-fd", descriptor)
    assert ran.code == 0, ran.err
    assert command("status", "--home", home).code == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--root-key", "paper"),
        ("--root-key", "shamir"),
        ("--root-key", "shamir:a/b"),
        ("--root-key", "file:/elsewhere/root.key"),
        ("--recovery", "openbao"),
        ("--recovery", "file"),
        ("--recovery", "shamir:4/3"),
        ("--recovery", "shamir:1/3"),
        ("--root-key-settings", "/nowhere/settings.toml"),
        ("--root-key-settings", str(POLICY)),
    ],
)
def test_refuses_what_holds_no_root_key(command: Command, home: Path, option: str, value: str) -> None:
    ran = command("init", "--home", home, "--policy", POLICY, *PEOPLE, option, value)
    assert ran.code == 2, ran.err
    assert not home.exists() or not any(path.is_file() for path in home.rglob("*"))
