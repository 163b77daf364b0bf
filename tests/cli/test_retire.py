"""``keys retire`` from its beginning to its end, at a real server, with everybody it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.local.retiring import Holders, end_copies, state
from cli.output import Output
from cli.remote import profiles
from cli.remote.keys import COUNTS
from cli.remote.retiring import WHY, move
from cli.remote.server import Target, connect
from tests.cli.conftest import Command
from tests.cli.stub import Canned, StubServer
from tests.cli.test_root_keys import lines
from tests.cli.town import Town
from tests.support.furnished import POLICY
from vault.domain.errors import ConflictError

ADMINISTRATOR = ("--profile", "administrator")
SECOND = ("--profile", "second")
NUMBERS = "010-1234-5678\n02-345-6789\n"
INQUIRY = ("--purpose", "inquiry", "--reason", "ticket 4711")


@pytest.fixture(scope="module")
def own_town() -> Iterator[Town]:
    """A town whose keys end."""
    with Town() as built:
        yield built


@pytest.fixture
def at(own_town: Town, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run commands as somebody of that town, on its host."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own_town.config))
    monkeypatch.setenv("PIIVAULT_HOME", str(own_town.host.home))
    return command


def _tokens(at: Command) -> list[str]:
    ran = at("tokenize", *INQUIRY, "--field", "member.phone", "--profile", "handler", stdin=NUMBERS)
    return ran.out.splitlines()


@pytest.mark.usefixtures("command")  # nothing of the real user's is in sight
def test_waits_for_a_suspended_key_to_be_resumed_or_compromised() -> None:
    suspended = {
        "kind": "wrapping",
        "scope": "",
        "version": 1,
        "state": "suspended",
        **dict.fromkeys(COUNTS, 3),
    }
    with StubServer(Canned(200, {"items": [suspended]})) as stub:
        profiles.save("default", profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", ""))
        with connect(Target()) as server, pytest.raises(ConflictError, match="wrapping//1 is suspended"):
            move(server, Output(), [suspended])
    assert len(stub.seen) == 1


def _begin(at: Command) -> list[tuple[str, str]]:
    """Begin, and return what waits for another administrator: the approval and the key."""
    begun = at("keys", "retire", "--begin", *ADMINISTRATOR)
    assert begun.code == 8, begun.err
    assert "nothing hangs on the keys of before" in begun.out
    return re.findall(r"piivault approval approve (apr_\w+)    # (\S+)", begun.out)


def _new_root_key(at: Command) -> tuple[list[str], list[str]]:
    """Go on to the new root key; return its shares, and the copies of the old one."""
    rooted = at("keys", "retire", *ADMINISTRATOR, "--json")
    assert rooted.code == 8, rooted.err
    told = rooted.json
    return told["changed_root_key"]["recovery"]["shares"], [copy["name"] for copy in told["copies"]]


def test_from_the_beginning_to_the_end(at: Command, own_town: Town) -> None:
    tokens = _tokens(at)
    approvals = _begin(at)
    assert {"wrapping//1", "lookup/member.phone/1", "lookup/ref/member/1"} <= {key for _, key in approvals}
    again = at("keys", "retire", *ADMINISTRATOR, "--json")
    assert again.code == 8
    assert {found["approval_id"] for found in again.json["approvals"]} == {one for one, _ in approvals}
    assert at("approval", "approve", approvals[0][0], *ADMINISTRATOR).code == 4
    for approval, _ in approvals:
        assert at("approval", "approve", approval, *SECOND).code == 0
    shown = at("keys", "retire", "--status")
    assert (shown.code, "root key 1  in force" in shown.out) == (0, True)

    shares, names = _new_root_key(at)
    file = own_town.host.home / "keys" / "root.key"
    assert names == [str(file), "3 recovery shares of root key 1"]
    listed = at("keys", "retire", *ADMINISTRATOR)
    assert (listed.code, "collect and destroy the paper" in listed.out) == (8, True)
    with lines(*shares[:2]) as descriptor:
        first = at("keys", "retire", "--confirm", names[1], "--unseal-fd", descriptor, *ADMINISTRATOR)
    assert (first.code, f"{names[1]}: confirmed." in first.out) == (8, True), first.err
    with lines(*shares[1:]) as descriptor:
        confirm = ("--confirm", names[0], "--confirm", names[1])
        done = at("keys", "retire", *confirm, "--unseal-fd", descriptor, *ADMINISTRATOR)
    assert done.code == 0, done.err
    assert f"{names[0]}: overwritten and removed." in done.out
    assert "or it has ended already" in done.err
    assert "An overwritten file may live on" in done.err
    assert not file.exists()

    opened = at("detokenize", *INQUIRY, "--plain", *tokens, "--profile", "handler")
    assert opened.out == NUMBERS
    log = at("audit", "list", "--json", "--profile", "reviewer").json["items"]
    retired = [entry for entry in log if entry["action"] == "key:retire"]
    assert {entry["target"]["confirmed_by"] for entry in retired} == {own_town.cast.administrator.staff_id}
    for entry in log:
        if entry["action"] in {"key:root", "key:retire"}:
            shown = at("audit", "show", entry["index"], "--json", "--profile", "reviewer").json
            assert shown["reason"] == WHY
    quiet = at("keys", "retire", *ADMINISTRATOR)
    assert (quiet.code, "are dead." in quiet.out, "--begin" in quiet.err) == (0, True, True)


def test_at_a_terminal_each_name_is_typed(at: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for approval, _ in _begin(at):
        assert at("approval", "approve", approval, *SECOND).code == 0
    shares, names = _new_root_key(at)
    given = list(shares[:2])
    monkeypatch.setattr("getpass.getpass", lambda *_: given.pop(0))
    typed = at("keys", "retire", *ADMINISTRATOR, typed=f"{names[0]}\n{names[1]}x\n")
    assert (typed.code, "That is not its name" in typed.err) == (8, True)
    assert f"{names[0]}: overwritten and removed." in typed.out
    assert (given, names[1] in typed.out) == ([], True)
    left = at("keys", "retire", "--status", "--json").json
    assert [copy["name"] for copy in left["copies"]] == [names[1]]
    given += shares[:2]
    assert at("keys", "retire", *ADMINISTRATOR, typed=f"{names[1]}\n").code == 0
    assert at("keys", "retire", "--status").out.endswith("are dead.\n")
    assert at("keys", "retire", "--of", "2026-01-01").code == 0


def test_only_an_administrator_of_this_vault_goes_on(at: Command, command: Command, tmp_path: Path) -> None:
    # The officer may list people as well, and is none.
    assert at("keys", "retire", "--begin", "--profile", "officer").code == 4
    assert at("keys", "retire", "--begin", "--profile", "nobody").code == 3
    other = tmp_path / "other"
    command(
        "init", "--home", other, "--policy", POLICY, "--administrator", "mina:김민아", "--officer", "jun:박준"
    )
    ran = at("keys", "retire", "--begin", "--home", other, *ADMINISTRATOR)
    assert (ran.code, "another vault" in ran.err) == (5, True)
    assert at("keys", "retire", "--status", "--json").json["keys"] == []


@pytest.mark.parametrize(
    ("from_recovery", "recovery", "file", "proved"),
    [
        (True, "file:/safe/new.key", "/safe/old.key", "/safe/new.key"),
        (True, None, "/safe/in-force.key", "/safe/in-force.key"),
        (False, "file:/safe/new.key", None, "/safe/new.key"),
        (False, "file:/safe/new.key", "/safe/moved.key", "/safe/moved.key"),
        (True, "shamir:2/3", None, None),
    ],
)
def test_the_new_copy_for_recovery_is_proved_by_its_own_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    from_recovery: bool,
    recovery: str | None,
    file: str | None,
    proved: str | None,
) -> None:
    asked: list[Any] = []

    def end(*_arguments: object, **named: object) -> tuple[()]:
        asked.append(named)
        return ()

    monkeypatch.setattr("vault.assembly.Settings.load", lambda home: home)
    monkeypatch.setattr("vault.assembly.end_copies", end)
    holders = Holders(
        from_recovery=from_recovery, recovery=recovery, recovery_file=None if file is None else Path(file)
    )
    end_copies(tmp_path, [], holders, by="stf_00000000000000000000", reason="because")
    [named] = asked
    assert named["recovery_file"] == (None if proved is None else Path(proved))


@pytest.mark.parametrize("step", ["rotate", "destroy", "root"])
def test_copies_are_dead_when_everything_is_done_and_not_before(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """As when somebody else rotates a key at that moment, or a clock was behind when the root key changed."""
    home = tmp_path / "vault"
    command(
        "init", "--home", home, "--policy", POLICY, "--administrator", "mina:김민아", "--officer", "jun:박준"
    )
    before = state(home)
    server = SimpleNamespace()
    monkeypatch.setattr("cli.retire.connect", lambda _: nullcontext(server))
    monkeypatch.setattr("cli.remote.retiring.require_vault", lambda *_: None)
    monkeypatch.setattr("cli.remote.retiring.administrator", lambda *_: "stf_00000000000000000000")
    monkeypatch.setattr("cli.retire._Procedure.run", lambda *_: None)
    monkeypatch.setattr("cli.local.retiring.state", lambda *_: {**before, "step": step})
    ran = command("keys", "retire", "--home", home)
    assert (ran.code, "dead" in ran.out, f"The step {step} is due again" in ran.out) == (8, False, True)


@pytest.mark.parametrize("date", ["yesterday", "2026-13-01", ""])
def test_refuses_what_is_no_date(at: Command, date: str) -> None:
    ran = at("keys", "retire", "--of", date)
    assert (ran.code, "--of" in ran.err) == (2, True)
