"""Log in and out: a session in a file of one's own, never a password."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

import typer

from cli import asking
from cli.errors import ProblemError
from cli.output import Output, moment
from cli.remote import profiles
from cli.remote.command import add_targeted, tell
from cli.remote.profiles import Profile
from cli.remote.server import Server, Target, connect
from vault.domain.errors import InvalidInputError

_WARNINGS: Final = {
    "password_renewal_due": "your password is due for renewal soon; see: piivault password",
    "password_overdue": "your password is past its age and yields no plaintext; see: piivault password",
}

Login = Annotated[str, typer.Argument(help="Your login.")]
PasswordStdin = Annotated[
    bool,
    typer.Option("--password-stdin", help="Read the password from a line on stdin, the code from the next."),
]
Code = Annotated[
    str | None, typer.Option("--code", help="The six digits your authenticator shows; asked for without it.")
]


def add_to(app: typer.Typer) -> None:
    """Add ``login``, ``logout`` and ``password``."""
    add_targeted(
        app,
        "login",
        login,
        "piivault login mina --url https://vault.example:8443",
        "piivault login mina --profile officer --ca-file ca.pem --url https://vault.example:8443",
        'printf \'%s\\n%s\\n\' "$PASSWORD" "$CODE" | piivault login mina --password-stdin',
    )
    add_targeted(app, "logout", logout, "piivault logout", "piivault logout --profile officer")
    add_targeted(app, "password", password, "piivault password mina --url https://vault.example:8443")


def login(
    target: Target,
    out: Output,
    login: Login,
    *,
    password_stdin: PasswordStdin = False,
    code: Code = None,
) -> None:
    """Open a session and keep it in a file of your own.

    Asks for password and code without echo. The session ends after ten idle
    minutes and after eight hours.
    """
    url = _url(target)
    ca_file = target.ca_file.absolute() if target.ca_file else None
    with Server(url, ca_file=ca_file) as server:
        password = asking.read_line("password") if password_stdin else _password()
        code = code or (asking.read_line("code") if password_stdin else _code())
        answer = server.post("/v1/session", {"login": login, "password": password, "code": code}, public=True)
    body = answer.body
    profile = Profile(
        url=server.url,
        login=login,
        session=str(body["session"]),
        session_id=str(body["session_id"]),
        expires_at=str(body["expires_at"]),
        ca_file=str(ca_file or ""),
    )
    path = profiles.save(target.profile, profile)
    for warning in body["warnings"]:
        out.note(f"warning: {_WARNINGS.get(warning, warning)}")
    if out.as_json:
        # The secret is in the file; on stdout it would end up in somebody's log.
        out.document({key: value for key, value in body.items() if key != "session"})
    else:
        staff = body["staff"]
        roles = ", ".join(staff.get("roles", ())) or "no role"
        out.line(f"Logged in to {server.url} as {staff.get('name', login)} ({roles}),")
        out.line(f"until {moment(profile.expires_at)} at the latest. Session kept in {path}.")


def logout(target: Target, out: Output) -> None:
    """Close the session and remove its file."""
    profile = profiles.require(target.profile)
    try:
        with connect(Target(profile=target.profile, ca_file=target.ca_file)) as server:
            server.delete("/v1/session")
        closed = True
    except ProblemError as error:
        if error.status != HTTPStatus.UNAUTHORIZED:  # Over already is as good as closed.
            raise
        closed = False
    profiles.forget(target.profile)
    if out.as_json:
        out.document({"session_id": profile.session_id, "closed": closed})
    else:
        out.line("Logged out." if closed else "The session was over already; its file is removed.")


def password(
    target: Target,
    out: Output,
    login: Login,
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read old password, code and new password, a line each.")
    ] = False,
) -> None:
    """Set a new password.

    Takes the old one and a code. Open sessions of yours end.
    """
    if password_stdin:
        old, code, new = (asking.read_line(what) for what in ("password", "code", "new password"))
    else:
        old, code, new = _password(), _code(), asking.ask_new_password()
    body = {"login": login, "password": old, "code": code, "new_password": new}
    with Server(_url(target), ca_file=target.ca_file) as server:
        answer = server.post("/v1/password", body, public=True)
    tell(out, answer, "The new password is set; log in with it.")


def _url(target: Target) -> str:
    if target.url:
        return target.url
    profile = profiles.load(target.profile)
    if profile is None:
        raise InvalidInputError("which server? give --url", field="--url", rule="required")
    return profile.url


def _password() -> str:
    return asking.ask_secret("Password", option="--password-stdin")


def _code() -> str:
    return asking.ask_secret("Code", option="--code")
