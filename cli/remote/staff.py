"""Named people: invite, enrol, list, let go."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from cli import asking
from cli.command import group
from cli.output import Output, moment
from cli.remote.command import add_remote, tell
from cli.remote.server import Answer, Server
from vault.domain.model import Role

_COLUMNS: Final = ("id", "login", "name", "roles", "team", "employer", "state")

StaffId = Annotated[str, typer.Argument(metavar="STAFF_ID", help="Id of the person, stf_…")]


def add_to(app: typer.Typer) -> None:
    """Add the group ``staff``."""
    staff = group("staff", "Named people and what becomes of their accounts.", parent=app)
    add_remote(
        staff,
        "invite",
        invite,
        "piivault staff invite haneul --name 김하늘 --role handler --team support",
    )
    add_remote(
        staff,
        "invite-again",
        invite_again,
        "piivault staff invite-again stf_0123456789abcdef0123",
    )
    add_remote(
        staff,
        "enrol",
        enrol,
        "piivault staff enrol --url https://vault.example:8443",
        "piivault staff enrol --invitation pvi_… --url https://vault.example:8443",
    )
    add_remote(staff, "list", list_staff, "piivault staff list", "piivault staff list --json")
    add_remote(staff, "leave", leave, "piivault staff leave stf_0123456789abcdef0123")


def invite(
    server: Server,
    out: Output,
    login: Annotated[str, typer.Argument(help="Login; it is theirs for ever.")],
    *,
    name: Annotated[str, typer.Option("--name", help="Name, as the log will have it.")],
    role: Annotated[Role, typer.Option("--role", help="What they are there for.")],
    team: Annotated[str, typer.Option("--team", help="Code of their team.")] = "",
    employer: Annotated[str, typer.Option("--employer", help="Company, when it is not your own.")] = "",
) -> None:
    """Register somebody and print a one-time code.

    For administrators. They enrol with the code within 72 hours; hand it over
    in person.
    """
    person = {"login": login, "name": name, "role": role.value, "team": team, "employer": employer}
    _tell_invitation(out, server.post("/v1/staff", person), login)


def invite_again(server: Server, out: Output, staff_id: StaffId) -> None:
    """Print a new code for somebody registered.

    For administrators, when somebody lost password, authenticator or code.
    What they had ends now, and the officer approves anew.
    """
    answer = server.post(f"/v1/staff/{quote(staff_id, safe='')}/invitation")
    _tell_invitation(out, answer, staff_id)


def enrol(
    server: Server,
    out: Output,
    *,
    invitation: Annotated[
        str | None, typer.Option("--invitation", help="The code you were given; asked for without it.")
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin", help="Read the password from a line on stdin, the code from the next."
        ),
    ] = False,
) -> None:
    """Set your password and your authenticator.

    With the code of your invitation. Shows the authenticator's secret: add it to your app, then type the six
    digits it shows. Closing the window loses nothing; begin again with the
    same code and add the secret shown then, as every beginning ends the one before.
    """
    invitation = invitation or asking.ask_secret("Invitation", option="--invitation")
    begun = server.post("/v1/enrolment", {"invitation": invitation}, public=True).body
    _show_authenticator(out, begun)
    if password_stdin:
        password, code = asking.read_line("password"), asking.read_line("code")
    else:
        password = asking.ask_new_password()
        code = asking.ask("Code your authenticator shows now", option="--password-stdin")
    finished = server.post(
        "/v1/enrolment/finish",
        {"invitation": invitation, "password": password, "code": code},
        public=True,
    )
    waits = finished.body.get("state") == "waiting"
    told = (
        "Enrolled; you can log in when the officer has approved it."
        if waits
        else "Enrolled. Log in with the authenticator's next code; this one is used."
    )
    tell(out, finished, told)


def list_staff(server: Server, out: Output) -> None:
    """List everybody, those who have left included."""
    answer = server.get("/v1/staff")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("id", "login", "name", "roles", "team", "employer", "state"),
        ([person[key] for key in _COLUMNS] for person in answer.body["items"]),
    )


def leave(server: Server, out: Output, staff_id: StaffId) -> None:
    """Take everything from somebody who leaves.

    For administrators. Sessions, grants and services of theirs end at once.
    """
    answer = server.post(f"/v1/staff/{quote(staff_id, safe='')}/leave")
    tell(out, answer, f"{staff_id} has left; nothing of theirs is in force any more.")


def _tell_invitation(out: Output, answer: Answer, whom: str) -> None:
    body = answer.body
    tell(
        out,
        answer,
        f"{whom} ({body['staff_id']}) is invited. Shown this once:",
        "",
        f"  {body['invitation']}",
        "",
        f"Good until {moment(body['expires_at'])}, for: piivault staff enrol --url URL",
    )


def _show_authenticator(out: Output, begun: dict[str, Any]) -> None:
    out.note(f"Hello {begun['name']}. Your login is {begun['login']}.")
    out.note("Add this to your authenticator (TOTP, six digits, 30 seconds):\n")
    out.note(f"  {begun['provisioning_uri']}\n")
    out.note(f"or type its secret: {begun['secret']}\n")
    out.note(f"A good password, if you want one: {begun['suggested_password']}\n")
