"""People, services, grants and approvals, by commands, at a real server."""

from __future__ import annotations

import getpass
import io
import stat
from pathlib import Path

import pytest

from cli.demo.authenticator import Authenticator
from cli.errors import ProblemError
from cli.remote import profiles
from tests.cli.conftest import Command, Typed
from tests.cli.stub import Canned, StubServer
from tests.cli.town import Town

ADMINISTRATOR = ("--profile", "administrator")
OFFICER = ("--profile", "officer")
HANDLER = ("--profile", "handler")


def _invite(at_town: Command, login: str, role: str = "handler") -> str:
    ran = at_town("staff", "invite", login, "--name", "한가람", "--role", role, "--json", *ADMINISTRATOR)
    assert ran.code == 0, ran.err
    return str(ran.json["invitation"])


def _secret(err: str) -> str:
    return err.rpartition("type its secret: ")[2].split()[0]


def _password(err: str) -> str:
    return err.rpartition("if you want one: ")[2].split()[0]


def test_the_way_of_a_person_from_invitation_to_leaving(
    at_town: Command, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invite, enrol, wait, be approved, log in, log out, leave."""
    told = at_town(
        *("staff", "invite", "garam", "--name", "한가람", "--role", "handler", "--team", "support"),
        *ADMINISTRATOR,
    )
    assert told.code == 0
    assert "Good until" in told.out
    invitation = next(line.strip() for line in told.out.splitlines() if line.strip().startswith("pvi_"))
    staff_id = told.out.split("(")[1].split(")")[0]

    # Asked for without terminal: nobody is there to type a password, and the offer is shown all the same.
    offered = at_town("staff", "enrol", "--url", town.url, "--invitation", invitation)
    assert offered.code == 2
    assert "otpauth://totp/" in offered.err
    password = _password(offered.err)
    typed = iter([invitation, password, "another one", password, password])
    authenticators: list[Authenticator] = []

    def type_unseen(_question: str, screen: io.StringIO) -> str:
        if not authenticators and "type its secret" in screen.getvalue():
            # This beginning shows a secret of its own; the code to type next is of that one.
            authenticators.append(Authenticator(_secret(screen.getvalue())))
            monkeypatch.setattr("sys.stdin", Typed(f"{authenticators[0].code()}\n"))
        return next(typed)

    monkeypatch.setattr(getpass, "getpass", type_unseen)
    enrolled = at_town("staff", "enrol", "--url", town.url, typed="")
    assert enrolled.code == 0, enrolled.err
    (authenticator,) = authenticators
    assert _secret(offered.err) != _secret(enrolled.err)
    assert "when the officer has approved" in enrolled.out
    assert "The two differ." in enrolled.err

    waiting = at_town("approval", "list", *OFFICER)
    row = next(line for line in waiting.out.splitlines() if staff_id in line)
    approved = at_town("approval", "approve", row.split()[0], *OFFICER)
    assert approved.out.endswith("is approved.\n")
    assert staff_id not in at_town("approval", "list", *OFFICER).out
    assert staff_id in at_town("approval", "list", "--all", *OFFICER).out

    _come_and_go(at_town, town, password, authenticator)
    left = at_town("staff", "leave", staff_id, *ADMINISTRATOR)
    assert left.code == 0
    listed = at_town("staff", "list", *OFFICER)
    assert any(staff_id in line and line.endswith("left") for line in listed.out.splitlines())


def _come_and_go(at_town: Command, town: Town, password: str, authenticator: Authenticator) -> None:
    opened = at_town(
        "login", "garam", "--url", town.url, "--profile", "garam", "--password-stdin",
        stdin=f"{password}\n{authenticator.code()}\n",
    )  # fmt: skip
    assert opened.code == 0, opened.err
    assert "as 한가람 (handler)" in opened.out
    path = profiles.profile_path("garam")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert password not in path.read_text()

    closed = at_town("logout", "--profile", "garam")
    assert (closed.code, closed.out) == (0, "Logged out.\n")
    assert not path.exists()


def test_a_login_that_fails_says_one_thing_and_keeps_nothing(at_town: Command, town: Town) -> None:
    for login in ("sua", "nobody"):
        ran = at_town(
            "login", login, "--url", town.url, "--profile", "x", "--password-stdin", "--json",
            stdin="wrong password\n000000\n",
        )  # fmt: skip
        assert ran.code == 3
        assert ran.json["error"]["code"] == "authentication_failed"
        assert ran.json["error"]["request_id"].startswith("req_")
        assert "wrong password" not in ran.out + ran.err
    assert not profiles.profile_path("x").exists()


def test_login_asks_for_password_and_code_without_echo(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = {
        "session": "pvn_1", "session_id": "ses_1", "expires_at": "2026-12-01T00:00:00+00:00",
        "staff": {"id": "stf_1", "name": "김민아", "roles": ["officer"]},
        "warnings": ["password_renewal_due", "new_one"],
    }  # fmt: skip
    asked: list[str] = []

    def typed(question: str, _stream: object) -> str:
        asked.append(question)
        return ["", "the password", "123456"][len(asked) - 1]

    monkeypatch.setattr(getpass, "getpass", typed)
    with StubServer(Canned(201, session)) as stub:
        ran = command("login", "mina", "--url", stub.url, "--json", typed="")
        assert ran.code == 0
        assert asked == ["Password: ", "Password: ", "Code: "]
        assert stub.seen[0].json == {"login": "mina", "password": "the password", "code": "123456"}
        assert "session" not in ran.json
        assert ran.json["session_id"] == "ses_1"
        assert "due for renewal" in ran.err
        assert "new_one" in ran.err
        # Where one logged in before is where one logs in again.
        assert command("login", "mina", "--password-stdin", "--code", "1", stdin="p\n").code == 0
        assert len(stub.seen) == 2


def test_login_needs_to_know_where(command: Command) -> None:
    ran = command("login", "mina", "--password-stdin", stdin="p\n1\n")
    assert ran.code == 2
    assert "--url" in ran.err


@pytest.mark.parametrize("stdin", ["", "p\n"])
def test_what_was_to_come_on_stdin_and_does_not_is_said(command: Command, stdin: str) -> None:
    ran = command("login", "mina", "--url", "http://127.0.0.1:1", "--password-stdin", stdin=stdin)
    assert ran.code == 2
    assert "stdin" in ran.err


def test_a_session_that_is_over_is_logged_out_all_the_same(command: Command) -> None:
    with StubServer(Canned(401, {"code": "session_expired"}), Canned(500)) as stub:
        for code, left in ((0, False), (1, True)):
            profile = profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", "")
            path = profiles.save("default", profile)
            ran = command("logout", "--json")
            assert ran.code == code
            assert path.exists() is left
    assert command("logout", "--profile", "nobody").code == 3


def test_logout_tells_programs_whether_it_was_open(command: Command) -> None:
    with StubServer(Canned(204, b"")) as stub:
        profiles.save("default", profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", ""))
        assert command("logout", "--json").json == {"session_id": "ses_1", "closed": True}
    with StubServer(Canned(401, {"code": "session_expired"})) as stub:
        profiles.save("default", profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", ""))
        assert "over already" in command("logout").out


def test_a_password_is_renewed_with_the_old_one_and_a_code(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"login": "mina", "password": "old", "code": "123456", "new_password": "new"}
    with StubServer(Canned(204, b"")) as stub:
        ran = command("password", "mina", "--url", stub.url, "--password-stdin", stdin="old\n123456\nnew\n")
        assert (ran.code, ran.out) == (0, "The new password is set; log in with it.\n")
        typed = iter(["old", "123456", "new", "new"])
        monkeypatch.setattr(getpass, "getpass", lambda *_: next(typed))
        assert command("password", "mina", "--url", stub.url, "--json", typed="").json == {}
        assert [seen.json for seen in stub.seen] == [body, body]


def test_only_an_administrator_invites(at_town: Command) -> None:
    ran = at_town("staff", "invite", "x", "--name", "X", "--role", "handler", *HANDLER)
    assert ran.code == 4
    assert "access_denied" in ran.err


def test_a_login_is_taken_once(at_town: Command) -> None:
    ran = at_town("staff", "invite", "sua", "--name", "X", "--role", "handler", *ADMINISTRATOR)
    assert ran.code == 5
    assert "(request req_" in ran.err


def test_a_lost_code_is_replaced(at_town: Command, town: Town) -> None:
    first = _invite(at_town, "narae")
    staff_id = next(
        item["id"]
        for item in at_town("staff", "list", "--json", *OFFICER).json["items"]
        if item["login"] == "narae"
    )
    again = at_town("staff", "invite-again", staff_id, "--json", *ADMINISTRATOR)
    assert again.code == 0
    assert again.json["invitation"] != first
    lost = at_town("staff", "enrol", "--url", town.url, "--invitation", first, "--json")
    assert lost.code == 3
    enrolled = at_town(
        "staff", "enrol", "--url", town.url, "--invitation", again.json["invitation"], "--password-stdin",
        stdin="only a password\n",
    )  # fmt: skip
    assert enrolled.code == 2


def test_services_come_and_go(at_town: Command, town: Town, tmp_path: Path) -> None:
    owner = town.cast.administrator.staff_id
    file = tmp_path / "call-centre.secret"
    made = at_town(
        *("service", "create", "call-centre", "--owner", owner, "--network", "10.0.0.0/8", "--days", "30"),
        *("--secret-file", file, "--json", *ADMINISTRATOR),
    )
    assert made.code == 0, made.err
    assert made.json["client_secret"] is None
    assert file.read_text().startswith("pvs_")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    service_id = made.json["service_id"]

    spoilt = at_town("service", "rotate", service_id, "--secret-file", file, *ADMINISTRATOR)
    assert spoilt.code == 5
    rotated = at_town("service", "rotate", service_id, "--overlap-hours", "2", "--days", "20", *ADMINISTRATOR)
    assert rotated.code == 0
    assert "pvs_" in rotated.out
    assert "shown this once" in rotated.out

    listed = at_town("service", "list", *OFFICER)
    assert "10.0.0.0/8" in next(line for line in listed.out.splitlines() if "call-centre" in line)
    assert at_town("service", "revoke", service_id, *ADMINISTRATOR).out == f"{service_id} is revoked.\n"
    assert at_town("service", "revoke", service_id, *ADMINISTRATOR).code == 5
    unknown = "svc_" + "0" * 20
    assert at_town("service", "revoke", unknown, "--json", *ADMINISTRATOR).json["exit_code"] == 4
    items = at_town("service", "list", "--json", *OFFICER).json["items"]
    assert next(item for item in items if item["id"] == service_id)["state"] == "revoked"


def test_a_secret_is_shown_once_or_goes_into_a_file(at_town: Command, town: Town, tmp_path: Path) -> None:
    owner = town.cast.administrator.staff_id
    shown = at_town("service", "create", "one", "--owner", owner, "--json", *ADMINISTRATOR)
    assert shown.json["client_secret"].startswith("pvs_")
    hidden = at_town(
        "service", "create", "two", "--owner", owner, "--secret-file", tmp_path / "two", *ADMINISTRATOR
    )
    assert "pvs_" not in hidden.out
    assert str(tmp_path / "two") in hidden.out


def test_a_grant_that_yields_plaintext_waits_and_another_does_not(at_town: Command, town: Town) -> None:
    holder = f"staff:{town.cast.handler.staff_id}"
    terms = ("--field", "member.phone", "--purpose", "inquiry", "--reason", "for a test", "--days", "9")
    plain = at_town(
        *("grant", "propose", holder, "--action", "token:detokenize", "--reveal", "plain", *terms),
        *ADMINISTRATOR,
    )
    assert plain.code == 0
    grant, approval = plain.out.split()[0], plain.out.split()[-1]
    assert at_town("approval", "refuse", approval, "--json", *OFFICER).json["approval"]["state"] == "refused"
    assert at_town("approval", "refuse", approval, *OFFICER).code == 5
    assert at_town("approval", "approve", "apr_" + "0" * 20, *OFFICER).code == 4

    narrow = at_town("grant", "propose", holder, "--action", "token:show", *terms, "--network", "127.0.0.0/8",
                     *ADMINISTRATOR)  # fmt: skip
    assert narrow.out.endswith("is in force.\n")
    listed = at_town("grant", "list", *OFFICER).out.splitlines()
    assert " refused " in next(line for line in listed if line.startswith(grant))
    mine = narrow.out.split()[0]
    assert at_town("grant", "revoke", mine, *ADMINISTRATOR).out == f"{mine} is revoked.\n"
    assert at_town("grant", "revoke", mine, *ADMINISTRATOR).code == 5
    assert at_town("grant", "list", "--json", *HANDLER).code == 4


@pytest.mark.parametrize("holder", ["stf_1", "staff:", ":x"])
def test_a_holder_has_a_kind_and_an_id(at_town: Command, holder: str) -> None:
    ran = at_town(
        "grant", "propose", holder, "--action", "a", "--field", "f", "--reason", "r", *ADMINISTRATOR
    )
    assert ran.code == 2
    assert "KIND:ID" in ran.err


def test_the_table_of_grants_is_json_too(at_town: Command) -> None:
    for noun in ("grant", "approval", "staff", "service"):
        ran = at_town(noun, "list", "--json", *ADMINISTRATOR)
        assert ran.code == 0
        assert isinstance(ran.json["items"], list)
        assert ran.err == ""


def test_the_demo_s_people_are_refused_as_anybody_else(town: Town) -> None:
    with town.cast.handler.server(town.url) as server, pytest.raises(ProblemError) as caught:
        server.get("/v1/keys")
    assert caught.value.status == 403
