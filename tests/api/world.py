"""A served vault with people and a service in it, and a clock to turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import pyotp
from httpx2 import Client, Response
from starlette.testclient import TestClient

from api.app import build_app
from api.edge import Edge
from keys.passwords import Argon2Parameters, Passwords
from vault.access.staff import Person
from vault.assembly import initialise, open_vault
from vault.domain.model import Role
from vault.policy.policy import Policy
from vault.service.vault import Vault
from vault.settings import Settings

PASSWORD = "wise-lamp-onto-milk"
PURPOSE = "member_communication"
PHONE = "010-1234-5678"

T = TypeVar("T")

WAIT_S: Final = 30.0
"""Seconds a test waits for what must happen."""
CHEAP = Argon2Parameters(memory_kib=8, passes=1)
FOR_TWO_DAYS = "\n[cryptoperiods]\nroot = 2\nsession = 2\nwrapping = 2\n"
"""Keys that are due before a password is."""
POLICY = Path(__file__).parents[2] / "examples" / "policy.toml"
LOOPBACK = ("127.0.0.1", 50_000)

_numbers = itertools.count(1)


class Clock:
    """Time, as the vault is told it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 12, 1, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


def eventually(look: Callable[[], T], enough: Callable[[T], bool]) -> T:
    """Return what ``look`` finds once it is ``enough``: background threads take the time others leave."""
    deadline = time.monotonic() + WAIT_S
    while not enough(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@dataclass
class Human:
    """Somebody with an authenticator."""

    login: str
    staff_id: str
    totp: pyotp.TOTP
    bearer: dict[str, str] = field(default_factory=dict)


@dataclass
class Program:
    """A service with its secret."""

    client_id: str
    secret: str
    bearer: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """Everything a test of the interface needs."""

    settings: Settings
    vault: Vault
    app: Edge
    client: Client
    clock: Clock
    invitations: dict[str, str]
    people: dict[str, Human] = field(default_factory=dict)
    service: Program = field(default_factory=lambda: Program("", ""))

    def enrol(self, login: str, invitation: str) -> Human:
        """Enrol with a real code and return who that is."""
        offer = self.ok(self.client.post("/v1/enrolment", json={"invitation": invitation}))
        totp = pyotp.TOTP(offer["secret"])
        body = {"invitation": invitation, "password": PASSWORD, "code": self.code(totp)}
        enrolled = self.ok(self.client.post("/v1/enrolment/finish", json=body))
        human = self.people[login] = Human(login, enrolled["staff_id"], totp)
        return human

    def code(self, totp: pyotp.TOTP) -> str:
        """Return the code that the authenticator shows now."""
        return totp.at(self.clock.now)

    def log_in(self, human: Human) -> dict[str, str]:
        """Log in with the next code and return the header."""
        self.clock.advance(seconds=30)
        body = {"login": human.login, "password": PASSWORD, "code": self.code(human.totp)}
        opened = self.ok(self.client.post("/v1/session", json=body))
        human.bearer = {"Authorization": f"Bearer {opened['session']}"}
        return human.bearer

    def hire(self, role: str) -> Human:
        """Invite, enrol and approve somebody; log them in."""
        login = f"{role}{next(_numbers)}"
        body = {"login": login, "name": f"Kim {login}", "role": role}
        invited = self.ok(self.client.post("/v1/staff", json=body, headers=self.admin))
        human = self.enrol(login, invited["invitation"])
        waiting = self.ok(self.client.get("/v1/approvals", headers=self.officer))["items"]
        (approval,) = [item for item in waiting if item["target"] == human.staff_id]
        self.approve(approval["id"])
        self.log_in(human)
        return human

    def approve(self, approval_id: str) -> dict[str, Any]:
        """Let the officer approve."""
        return self.ok(
            self.client.post(
                f"/v1/approvals/{approval_id}", json={"decision": "approve"}, headers=self.officer
            )
        )

    def employ(self) -> Program:
        """Register a service and get it an access token."""
        body = {"name": f"shop {next(_numbers)}", "owner": self.people["admin"].staff_id}
        made = self.ok(self.client.post("/v1/services", json=body, headers=self.admin))
        program = Program(made["service_id"], made["client_secret"])
        self.authorise(program)
        return program

    def authorise(self, program: Program) -> dict[str, str]:
        """Get an access token and return the header."""
        told = self.ok(self.token(program))
        program.bearer = {"Authorization": f"Bearer {told['access_token']}"}
        return program.bearer

    def token(self, program: Program) -> Response:
        """Ask for an access token."""
        return self.client.post(
            "/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(program.client_id, program.secret),
        )

    def grant(self, kind: str, holder: str, *, reveal: str | None = "plain", **terms: Any) -> str:
        """Propose a grant and have it approved; return its id."""
        body = {
            "actor_kind": kind,
            "actor_id": holder,
            "actions": ["token:tokenize", "token:detokenize", "token:search", "token:show", "token:revoke"],
            "fields": ["member.phone", "member.gender"],
            "purposes": [PURPOSE],
            "reveal": reveal,
            "reason": "for the tests",
            **terms,
        }
        proposed = self.ok(self.client.post("/v1/grants", json=body, headers=self.admin))
        if proposed["approval_id"]:
            self.approve(proposed["approval_id"])
        return str(proposed["grant_id"])

    def tokenize(self, *values: str, **headers: str) -> Response:
        """Tokenize telephone numbers through the service."""
        body = {"purpose": PURPOSE, "items": [{"field": "member.phone", "value": value} for value in values]}
        return self.client.post("/v1/tokenize", json=body, headers={**self.service.bearer, **headers})

    def detokenize(self, *tokens: str, reveal: str = "masked", purpose: str = PURPOSE) -> Response:
        """Detokenize through the service."""
        body = {"purpose": purpose, "reveal": reveal, "items": [{"token": token} for token in tokens]}
        return self.client.post("/v1/detokenize", json=body, headers=self.service.bearer)

    @property
    def admin(self) -> dict[str, str]:
        """Header of the administrator."""
        return self.people["admin"].bearer

    @property
    def officer(self) -> dict[str, str]:
        """Header of the officer."""
        return self.people["officer"].bearer

    @staticmethod
    def ok(response: Response) -> dict[str, Any]:
        """Return the body of a success."""
        assert response.is_success, (response.status_code, response.text)
        body: dict[str, Any] = response.json()
        return body


def open_world(home: Path, database_url: str = "", *, more_policy: str = "") -> World:
    """Make and open a vault in ``home``; the caller enters ``world.client`` and then calls ``populate``."""
    clock = Clock()
    made = initialise(
        home,
        policy=Policy.parse(POLICY.read_text(encoding="utf-8") + more_policy),
        administrator=Person("admin", "Kim Admin", Role.ADMINISTRATOR),
        officer=Person("officer", "Lee Officer", Role.OFFICER),
        database_url=database_url,
        now=clock.now,
    )
    vault = open_vault(made.settings, clock=clock, passwords=Passwords(CHEAP))
    app = build_app(vault)
    people = made.people
    invitations = {
        "admin": people.administrator.code.expose(),
        "officer": people.officer.code.expose(),
    }
    return World(made.settings, vault, app, TestClient(app, client=LOOPBACK), clock, invitations)


def populate(world: World) -> None:
    """Enrol administrator and officer, and give a service what it needs."""
    for login, invitation in world.invitations.items():
        world.log_in(world.enrol(login, invitation))
    world.service = world.employ()
    world.grant("service", world.service.client_id)
