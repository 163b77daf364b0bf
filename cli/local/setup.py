"""Make a vault on this host, and bring one to the schema of this release."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import asking
from cli.command import add
from cli.local.homes import Home, home_of
from cli.local.unsealing import (
    Recovery,
    RootKey,
    RootKeySettings,
    UnsealFd,
    asker,
    holder,
    tables,
    tell_shares,
    words,
)
from cli.output import Output, moment
from vault.domain.errors import InvalidInputError
from vault.domain.model import Role

if TYPE_CHECKING:
    from vault.assembly import Initialised


def add_to(app: typer.Typer) -> None:
    """Add ``init`` and ``migrate``."""
    add(
        app,
        "init",
        init,
        "piivault init",
        "piivault init --home /srv/piivault --policy policy.toml \\",
        "    --administrator mina:김민아 --officer jun:박준",
        "piivault init --home /srv/piivault --policy policy.toml --administrator mina:김민아 \\",
        "    --officer jun:박준 --database-url-file /run/secrets/database-url --json",
        "piivault init --root-key openbao --root-key-settings openbao.toml --recovery shamir:3/5",
        "piivault init --root-key passphrase --unseal-fd 3 3< passphrase.txt",
    )
    add(app, "migrate", migrate, "piivault migrate --home /srv/piivault")


PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="The published policy, as TOML; asked for without it.")
]
Administrator = Annotated[
    str | None, typer.Option("--administrator", help="Who administers.", metavar="LOGIN:NAME")
]
Officer = Annotated[
    str | None, typer.Option("--officer", help="Who approves; another person.", metavar="LOGIN:NAME")
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", help="PostgreSQL; else SQLite in the folder.")
]
DatabaseUrlFile = Annotated[
    Path | None,
    typer.Option("--database-url-file", help="The same in a file: a password is no argument."),
]


def init(  # noqa: PLR0913 - an option for each thing that can be chosen
    out: Output,
    *,
    home: Home = None,
    policy: PolicyFile = None,
    administrator: Administrator = None,
    officer: Officer = None,
    database_url: DatabaseUrl = None,
    database_url_file: DatabaseUrlFile = None,
    root_key: RootKey = "file",
    recovery: Recovery = "shamir:2/3",
    root_key_settings: RootKeySettings = None,
    unseal_fd: UnsealFd = None,
) -> None:
    """Make a vault and invite its first two people.

    Makes folder, root key and database. Asks for what no option gives. Prints
    two one-time codes; hand each to its person, who enrols with it. Neither
    can read personal data. Prints the shares of the root key for recovery, this
    once: write each down on paper and give it to somebody.
    """
    # The whole vault, which no command has to load that talks to a server.
    from vault.assembly import Person, Policy, Sealing, initialise

    folder = home_of(home)
    text = _policy_text(policy)
    first = _person(administrator, "--administrator", "Administrator")
    second = _person(officer, "--officer", "Privacy officer")
    logins = {Role.ADMINISTRATOR: first[0], Role.OFFICER: second[0]}
    initialise(
        folder,
        policy=Policy.parse(text),
        administrator=Person(login=first[0], name=first[1], role=Role.ADMINISTRATOR),
        officer=Person(login=second[0], name=second[1], role=Role.OFFICER),
        database_url=database_url_of(database_url, database_url_file),
        sealing=Sealing(
            root=holder(root_key, option="--root-key"),
            recovery=holder(recovery, option="--recovery"),
            tables=tables(root_key_settings),
            ask=asker(unseal_fd),
        ),
        announce=partial(_tell, out, folder, logins),
        now=datetime.now(UTC),
    )
    if not out.as_json:
        out.note("Keep what opens either of them apart, and never beside the database or a copy of it.")


def _tell(out: Output, folder: Path, logins: Mapping[Role, str], made: Initialised) -> None:
    """Print codes and shares before the commit: no vault may be there whose shares nobody saw."""
    people = {Role.ADMINISTRATOR: made.people.administrator, Role.OFFICER: made.people.officer}
    invited = {role: _invited(logins[role], person) for role, person in people.items()}
    if out.as_json:
        out.document(
            {
                "home": str(folder),
                **{role.value: person for role, person in invited.items()},
                "root_key": {"sealed_by": made.root_key, "shares": words(made.shares)},
                "recovery": {"sealed_by": made.recovery, "shares": words(made.recovery_shares)},
            }
        )
        return
    _tell_people(out, folder, invited)
    tell_shares(out.line, "The root key is sealed by", made.root_key, made.shares)
    tell_shares(out.line, "A copy of it, for recovery, by", made.recovery, made.recovery_shares)
    sys.stdout.flush()


def _invited(login: str, invited: Any) -> dict[str, str]:
    """Return what is printed of an invitation; its code is shown this once."""
    return {
        "login": login,
        "staff_id": invited.staff_id,
        "invitation": invited.code.expose(),
        "expires_at": datetime.fromtimestamp(invited.expires_us / 1_000_000, UTC).isoformat(),
    }


def _tell_people(out: Output, folder: Path, invited: Mapping[Role, dict[str, str]]) -> None:
    out.line(f"A vault is in {folder}. Two codes, shown this once:\n")
    for role, person in invited.items():
        out.line(f"  {role} {person['login']}: {person['invitation']}")
    out.line(f"\nGood until {moment(invited[Role.OFFICER]['expires_at'])}. Next:\n")
    out.line(f"  piivault serve --home {folder}")
    out.line("  piivault staff enrol --url URL      (each of the two)")


def migrate(out: Output, *, home: Home = None) -> None:
    """Bring the database to the schema of this release.

    Stop the server first.
    """
    from vault.assembly import Settings
    from vault.assembly import migrate as bring_up

    folder = home_of(home)
    bring_up(Settings.load(folder))
    if out.as_json:
        out.document({"home": str(folder), "schema": "current"})
    else:
        out.line("The database is at the schema of this release.")


def _policy_text(policy: Path | None) -> str:
    path = policy or Path(asking.ask("Policy", option="--policy", default="policy.toml"))
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read: {error.strerror}", field="--policy", rule="unreadable"
        ) from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8", field="--policy", rule="encoding") from None


def _person(given: str | None, option: str, title: str) -> tuple[str, str]:
    if given is None:
        return (
            asking.ask(f"{title}, login", option=option),
            asking.ask(f"{title}, name", option=option),
        )
    login, colon, name = given.partition(":")
    if not (login and colon and name):
        raise InvalidInputError(f"{option} is LOGIN:NAME", field=option, rule="shape")
    return login, name


def database_url_of(given: str | None, file: Path | None) -> str:
    """Return the address given or read from a file; empty without either. Raises InvalidInputError."""
    if file is None:
        return given or ""
    if given is not None:
        raise InvalidInputError("give one of the two", field="--database-url", rule="exclusive")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError(
            f"{file} cannot be read", field="--database-url-file", rule="unreadable"
        ) from None
