"""A vault with people, a service and grants in it: what most tests begin with.

Everything is done through the vault's own functions, with real codes; only the
Argon2 parameters are cheap and the clock is the test's own.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs, urlsplit

import pyotp

from keys.passwords import Argon2Parameters, Passwords
from keys.secret import SecretText
from vault.access import approvals, grants, services, staff
from vault.access.access_tokens import authenticate_access_token, issue_access_token
from vault.access.enrolment import Enrolment
from vault.access.entries import Request
from vault.access.logins import Logins
from vault.access.password_rules import PasswordRules
from vault.access.staff import Person
from vault.assembly import initialise, open_vault
from vault.domain.ids import RequestId
from vault.domain.model import Actor, Origin, Reveal, Role
from vault.policy.policy import Policy
from vault.service.vault import Vault
from vault.settings import Settings

POLICY = Path(__file__).parents[2] / "examples" / "policy.toml"
CHEAP = Argon2Parameters(memory_kib=8, passes=1, lanes=1)
PASSWORD = "lantern-oxide-47-wharf"
ADDRESS = "127.0.0.1"
START = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


class Clock:
    """A clock that moves when it is told to, and a microsecond at each look. Never back, whoever looks."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now
        self._lock = Lock()

    def __call__(self) -> datetime:
        """Return the time."""
        return self._later(timedelta(microseconds=1))

    def pass_time(self, **parts: float) -> None:
        """Let time pass, in the units of ``timedelta``."""
        self._later(timedelta(**parts))

    def _later(self, by: timedelta) -> datetime:
        with self._lock:
            self.now += by
            return self.now


@dataclass
class Furnished:
    """An open vault and everybody in it."""

    home: Path
    settings: Settings
    vault: Vault
    clock: Clock
    policy: Policy
    people: dict[str, str] = field(default_factory=dict)
    """Staff id by login."""
    seeds: dict[str, str] = field(default_factory=dict)
    """Authenticator secret by login."""
    actors: dict[str, Actor] = field(default_factory=dict)
    """Who may act at once, by login or name of the service; filled by ``furnish``."""
    grants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Ids of their grants; filled by ``furnish``."""

    def origin(self) -> Origin:
        """Return where a fresh request comes from."""
        return Origin(request=RequestId("req_" + secrets.token_hex(16)), address=ADDRESS)

    def request(self, actor: Actor) -> Request:
        """Return a fresh request of ``actor``."""
        return Request(actor=actor, origin=self.origin(), now_us=self.vault.now_us())

    def code(self, login: str) -> str:
        """Return the next code of somebody's authenticator, after letting its time come."""
        self.clock.pass_time(seconds=31)
        return pyotp.TOTP(self.seeds[login]).at(self.clock.now)

    def enrol(self, login: str, invitation: SecretText) -> str:
        """Go through both steps; return the state the person is in then."""
        enrolment = Enrolment(self.vault.changes, Passwords(CHEAP), PasswordRules())
        begun = enrolment.begin(invitation, origin=self.origin(), now_us=self.vault.now_us())
        query = parse_qs(urlsplit(begun.provisioning_uri.expose()).query)
        self.seeds[login] = query["secret"][0]
        done = enrolment.finish(
            invitation,
            password=SecretText(PASSWORD),
            totp_code=self.code(login),
            origin=self.origin(),
            now_us=self.vault.now_us(),
        )
        self.people[login] = done.staff_id
        return done.state

    def login(self, login: str) -> Actor:
        """Open a session and return the actor."""
        logins = Logins(self.vault.changes, Passwords(CHEAP), PasswordRules())
        opened = logins.open(
            login,
            password=SecretText(PASSWORD),
            totp_code=self.code(login),
            origin=self.origin(),
            now_us=self.vault.now_us(),
        )
        return opened.actor

    def approve_all(self, officer: Actor) -> None:
        """Approve whatever waits."""
        waiting = approvals.list_approvals(self.vault.changes, self.request(officer)).value
        for row in waiting:
            if row.state == "open":
                approvals.decide_approval(self.vault.changes, self.request(officer), row.id, approve=True)

    def hire(self, administrator: Actor, login: str, role: Role, *, team: str = "") -> str:
        """Invite and enrol somebody; return their state."""
        person = Person(login=login, name=f"{login} Kim", role=role, team=team)
        invited = staff.invite(self.vault.changes, self.request(administrator), person).value
        return self.enrol(login, invited.code)

    def service(self, administrator: Actor, name: str) -> tuple[str, Actor]:
        """Make a service owned by the administrator; return its id and the actor of a fresh access token."""
        made = services.create(
            self.vault.changes, self.request(administrator), name=name, owner=administrator.id
        ).value
        return made.service_id, self.authenticate(made)

    def authenticate(self, made: services.Secret) -> Actor:
        """Return the actor of a fresh access token, issued for ``made``."""
        issued = issue_access_token(
            self.vault.changes,
            made.service_id,
            made.client_secret,
            origin=self.origin(),
            now_us=self.vault.now_us(),
        )
        standing = self.vault.standings.refresh()
        return authenticate_access_token(
            standing.authority, standing.keyring.sessions, issued.text.expose(), self.vault.now_us()
        )

    def grant(
        self,
        administrator: Actor,
        holder: tuple[str, str],
        actions: tuple[str, ...],
        *,
        purposes: tuple[str, ...],
        reveal: Reveal | None = None,
        fields: tuple[str, ...] = (),
    ) -> str:
        """Propose a grant over the fields that all ``purposes`` use; return its id."""
        shared = [
            name
            for name in self.policy.fields
            if all(name in self.policy.purpose(code).fields for code in purposes)
        ]
        terms = grants.Terms(
            holder_kind=holder[0],
            holder=holder[1],
            actions=actions,
            fields=fields or tuple(shared),
            purposes=purposes,
            reason="needed for the work",
            reveal=reveal,
        )
        return grants.propose(self.vault.changes, self.request(administrator), terms).value.grant_id

    def reopen(self) -> Vault:
        """Open the same vault a second time: another node."""
        return open_vault(self.settings, clock=self.clock, passwords=Passwords(CHEAP))


def found(home: Path, url: str = "", *, policy_text: str = "", clock: Clock | None = None) -> Furnished:
    """Make and open a vault whose administrator and officer have enrolled."""
    clock = clock or Clock()
    policy = Policy.parse(policy_text or POLICY.read_text(encoding="utf-8"))
    made = initialise(
        home,
        policy=policy,
        administrator=Person(login="admin", name="Admin Park", role=Role.ADMINISTRATOR),
        officer=Person(login="officer", name="Officer Lee", role=Role.OFFICER),
        database_url=url,
        now=clock.now,
    )
    vault = open_vault(made.settings, clock=clock, passwords=Passwords(CHEAP))
    furnished = Furnished(home, made.settings, vault, clock, policy)
    furnished.enrol("admin", made.people.administrator.code)
    furnished.enrol("officer", made.people.officer.code)
    return furnished


MEMBER = "member_communication"
PARTNER = "partner"
READING = ("token:detokenize", "token:search", "token:show", "token:revoke")
ACTING = ("token:tokenize", *READING)


def furnish(home: Path, url: str = "", *, policy_text: str = "", clock: Clock | None = None) -> Furnished:
    """Make a vault with everybody in it: what tests of the hot path copy with ``copy``.

    Services: ``shop`` may do everything, whole values included; ``desk``
    swaps every member field for tokens, and sees phone numbers and genders, masked. Staff:
    ``minji``, a handler who may see everything of members, ``chief``, a reviewer.
    """
    furnished = found(home, url, policy_text=policy_text, clock=clock)
    administrator, officer = furnished.login("admin"), furnished.login("officer")
    furnished.actors.update(admin=administrator, officer=officer)
    for login, role in (("minji", Role.HANDLER), ("chief", Role.REVIEWER)):
        furnished.hire(administrator, login, role, team="support")
    shop, furnished.actors["shop"] = furnished.service(administrator, "shop")
    desk, furnished.actors["desk"] = furnished.service(administrator, "desk")
    minji = ("staff", furnished.people["minji"])
    give = furnished.grant
    furnished.grants = {
        "shop": (
            give(administrator, ("service", shop), ACTING, purposes=(MEMBER,), reveal=Reveal.PLAIN),
            give(administrator, ("service", shop), ACTING, purposes=(PARTNER,), reveal=Reveal.PLAIN),
        ),
        "desk": (
            give(administrator, ("service", desk), ("token:tokenize",), purposes=(MEMBER,)),
            give(
                administrator,
                ("service", desk),
                READING,
                purposes=(MEMBER,),
                reveal=Reveal.MASKED,
                fields=("member.phone", "member.gender"),
            ),
        ),
        "minji": (give(administrator, minji, READING, purposes=(MEMBER,), reveal=Reveal.PLAIN),),
    }
    furnished.approve_all(officer)
    for login in ("minji", "chief"):
        furnished.actors[login] = furnished.login(login)
    return furnished


def copy(template: Furnished, home: Path, url: str = "") -> Furnished:
    """Open a copy of a closed vault; ``url`` is that of a copy of its database, empty for SQLite."""
    shutil.copytree(template.home, home)
    if url:
        (home / "data" / "database-url").write_text(url + "\n", encoding="utf-8")
    settings = Settings.load(home)
    clock = Clock(template.clock.now)
    return Furnished(
        home=home,
        settings=settings,
        vault=open_vault(settings, clock=clock, passwords=Passwords(CHEAP)),
        clock=clock,
        policy=template.policy,
        people=dict(template.people),
        seeds=dict(template.seeds),
        actors=dict(template.actors),
        grants=dict(template.grants),
    )


def phones(count: int, *, start: int = 0) -> Sequence[str]:
    """Return distinct Korean mobile numbers."""
    return [f"010-{1000 + at // 10_000:04d}-{at % 10_000:04d}" for at in range(start, start + count)]
