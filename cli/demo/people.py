"""The people of the demo: they enrol and log in as anybody does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cli.demo.authenticator import Authenticator
from cli.remote.server import Server
from vault.domain.model import Role


@dataclass(slots=True)
class Somebody:
    """One person, with what only they know."""

    login: str
    name: str
    role: Role
    team: str = ""
    alias: str = ""
    """Name of their profile, where the role is another's already."""
    staff_id: str = ""
    password: str = field(default="", repr=False)
    authenticator: Authenticator | None = None
    used_code: str = ""
    """The code of their login: used, so worth nothing any more."""
    session: str = field(default="", repr=False)
    session_id: str = ""
    expires_at: str = ""

    @property
    def profile(self) -> str:
        """Name of the profile that keeps their session."""
        return self.alias or self.role.value

    def server(self, url: str) -> Server:
        """Return a connection in this person's session."""
        return Server(url, bearer=lambda _server: self.session)


ADMINISTRATOR: Final = ("mina", "김민아")
SECOND: Final = ("jiho", "최지호")
OFFICER: Final = ("junseo", "박준서")
HANDLER: Final = ("sua", "이수아")
REVIEWER: Final = ("dohyun", "정도현")


def enrol(url: str, person: Somebody, invitation: str) -> str:
    """Enrol with the code of an invitation and return the state: ``active`` or ``waiting``."""
    with Server(url) as server:
        offer = server.post("/v1/enrolment", {"invitation": invitation}, public=True).body
        person.password = offer["suggested_password"]
        person.authenticator = Authenticator(offer["secret"])
        body = {
            "invitation": invitation,
            "password": person.password,
            "code": person.authenticator.code(),
        }
        done = server.post("/v1/enrolment/finish", body, public=True).body
    person.staff_id = done["staff_id"]
    return str(done["state"])


def log_in(url: str, person: Somebody) -> None:
    """Open a session with password and the authenticator's next code."""
    assert person.authenticator is not None  # enrolled before
    person.used_code = person.authenticator.code()
    body = {"login": person.login, "password": person.password, "code": person.used_code}
    with Server(url) as server:
        opened = server.post("/v1/session", body, public=True).body
    person.session = opened["session"]
    person.session_id = opened["session_id"]
    person.expires_at = opened["expires_at"]
