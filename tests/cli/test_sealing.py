"""Seal and unseal from the command line: a server that starts sealed, keepers one by one, and the host."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import Command
from tests.cli.test_root_keys import PASSPHRASE, PEOPLE, lines
from tests.cli.town import Town
from tests.support.furnished import POLICY
from vault.assembly import Settings, open_vault
from vault.storage.maintenance import set_sealed

WAIT_S = 20.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def in_shares(command: Command, home: Path) -> list[str]:
    """Make a vault in shares of which two open it, and return them."""
    made = command("init", "--home", home, "--policy", POLICY, *PEOPLE, "--root-key", "shamir:2/3", "--json")
    shares: list[str] = made.json["root_key"]["shares"]
    return shares


def sealed_by_flag(home: Path) -> None:
    """Do to the database what an administrator's seal does."""
    vault = open_vault(Settings.load(home))
    with vault.changes.database.writing() as connection:
        set_sealed(connection)
    vault.close()


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve without a terminal; give the address."""
    arguments = [sys.executable, "-P", "-m", "cli", "serve", "--home", str(home), "--port", "0", "--json"]
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, server.stderr.read() if server.stderr else ""
            yield json.loads(line)["url"]
        finally:
            server.kill()


def ready(url: str) -> dict[str, Any]:
    """Return what ``/readyz`` says."""
    body: dict[str, Any] = httpx2.get(f"{url}/readyz", trust_env=False, timeout=WAIT_S).json()
    return body


def test_a_server_starts_sealed_and_keepers_open_it_one_by_one(command: Command, home: Path) -> None:
    shares = in_shares(command, home)
    with serving(home) as url:
        assert (ready(url)["status"], ready(url)["why"]) == ("unready", "waiting")
        shut = command("status", "--url", url)
        assert shut.code == 0, shut.err
        assert re.search(r"^sealed +waiting$", shut.out, re.MULTILINE)
        for number, told in ((1, "1 of 2 shares given"), (0, "Unsealed, at log index 1.")):
            with lines(shares[number]) as descriptor:
                ran = command("unseal", "--url", url, "--unseal-fd", descriptor)
            assert ran.code == 0, ran.err
            assert told in ran.out
            assert shares[number].split()[5] not in ran.out + ran.err
        assert ready(url)["status"] == "ready"
        again = command("unseal", "--url", url)
        assert (again.code, "not sealed" in again.err) == (5, True)


def test_all_shares_of_a_file_are_given_at_once(command: Command, home: Path) -> None:
    shares = in_shares(command, home)
    with serving(home) as url:
        with lines(shares[0]) as descriptor:
            command("unseal", "--url", url, "--unseal-fd", descriptor)
        with lines(shares[1], shares[2]) as descriptor:
            ran = command("unseal", "--url", url, "--afresh", "--unseal-fd", descriptor, "--json")
        assert (ran.json["sealed"], ran.json["log_index"]) == (False, 1)


def test_a_refused_share_names_the_rule_and_no_word(command: Command, home: Path) -> None:
    shares = in_shares(command, home)
    with serving(home) as url:
        words = shares[0].split()
        words[5] = "acid" if words[5] != "acid" else "acne"
        with lines(" ".join(words)) as descriptor:
            ran = command("unseal", "--url", url, "--unseal-fd", descriptor)
        assert (ran.code, "share_malformed" in ran.err) == (2, True)
        assert words[6] not in ran.err.split()
        nobody = command("unseal", "--url", url)
        assert (nobody.code, "--unseal-fd" in nobody.err) == (7, True)


def test_a_passphrase_is_typed_at_a_real_terminal(command: Command, home: Path) -> None:
    options = ("--home", home, "--policy", POLICY, *PEOPLE, "--root-key", "passphrase")
    with lines(PASSPHRASE) as descriptor:
        assert command("init", *options, "--unseal-fd", descriptor).code == 0
    with serving(home) as url:
        shown = _typed(["unseal", "--url", url], "Root key, passphrase: ", PASSPHRASE)
        assert "Unsealed, at log index 1." in shown
        assert PASSPHRASE not in shown
        assert ready(url)["status"] == "ready"


def _typed(arguments: list[str], prompt: str, answer: str) -> str:
    """Run a command at a terminal, answer its prompt, and return what the terminal showed."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "cli", *arguments])  # noqa: S606 - our own
    shown, answered, ends = b"", False, time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 4_096)
        except OSError:
            break
        shown += piece
        if not answered and prompt.encode() in shown:
            # getpass turns the echo off and throws away what was typed before; both come with the prompt.
            time.sleep(0.2)
            os.write(terminal, f"{answer}\n".encode())
            answered = True
    os.waitpid(child, 0)
    os.close(terminal)
    return shown.decode()


def test_host_clears_the_seal_and_the_server_opens_by_itself(command: Command, home: Path) -> None:
    command("init", "--home", home, "--policy", POLICY, *PEOPLE)
    sealed_by_flag(home)
    shut = command("status", "--home", home)
    assert shut.code == 0, shut.err
    assert re.search(r"^sealed +(True|yes)$", shut.out, re.MULTILINE), shut.out
    with serving(home) as url:
        assert ready(url)["why"] == "sealed"
        refused = command("unseal", "--url", url)
        assert (refused.code, "--home" in refused.err) == (5, True)
        ran = command("unseal", "--home", home)
        assert (ran.code, ran.out) == (0, "Unsealed, at log index 1.\n")
        ends = time.monotonic() + WAIT_S
        while ready(url)["status"] != "ready":
            assert time.monotonic() < ends
            time.sleep(0.1)
    again = command("unseal", "--home", home, "--json")
    assert (again.code, again.json["error"]["code"]) == (5, "conflict")


def test_host_whose_holder_is_people_says_what_is_left_to_do(command: Command, home: Path) -> None:
    in_shares(command, home)
    left = command("unseal", "--home", home)
    assert (left.code, "--url" in left.err) == (5, True)


def test_recovery_clears_the_seal_when_the_holder_is_lost(command: Command, home: Path) -> None:
    made = command("init", "--home", home, "--policy", POLICY, *PEOPLE, "--json").json
    sealed_by_flag(home)
    (home / "keys" / "root.key").unlink()
    assert command("unseal", "--home", home).code == 7
    with lines(*made["recovery"]["shares"][:2]) as descriptor:
        ran = command("unseal", "--home", home, "--from-recovery", "--unseal-fd", descriptor)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("unseal", "--url", "http://127.0.0.1:1", "--from-recovery"),
        ("unseal", "--url", "http://127.0.0.1:1", "--recovery-file", "x"),
        ("unseal", "--home", "/nowhere", "--afresh"),
    ],
)
def test_options_that_do_not_go_together(command: Command, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).code == 2


def test_several_workers_are_refused_where_people_open(
    command: Command, home: Path, migrated_postgres_url: str
) -> None:
    shares = command(
        "init",
        "--home",
        home,
        "--policy",
        POLICY,
        *PEOPLE,
        "--root-key",
        "shamir:2/3",
        "--database-url",
        migrated_postgres_url,
    )
    assert shares.code == 0, shares.err
    refused = command("serve", "--home", home, "--port", "0", "--workers", "2")
    assert (refused.code, "only one process" in refused.err) == (2, True)


def test_one_administrator_seals_and_the_host_unseals(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Town() as town:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(town.config))
        mine = ("--profile", town.cast.administrator.profile)
        sealed = command("seal", *mine, "--reason", "drill")
        assert sealed.code == 0, sealed.err
        assert sealed.out.startswith("Sealed, from log index ")
        assert ready(town.url)["why"] == "sealed"
        again = command("seal", *mine)
        assert (again.code, "sealed" in again.err) == (7, True)
        assert command("unseal", "--home", town.host.home).code == 0
        ends = time.monotonic() + WAIT_S
        while ready(town.url)["status"] != "ready":
            assert time.monotonic() < ends
            time.sleep(0.1)
        assert command("status", *mine).code == 0
