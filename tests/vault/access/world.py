"""A whole vault's access layer on one database, with people and programs that act in it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyotp
from sqlalchemy import insert, select, update

from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key
from keys.passwords import Argon2Parameters, Passwords
from keys.rootkey import RootKey, RootSlot
from keys.secret import SecretText
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper
from vault.access import approvals, grants, services
from vault.access import staff as register
from vault.access.access_tokens import issue_access_token
from vault.access.bootstrap import Initial, initialise
from vault.access.changes import Changes
from vault.access.enrolment import Enrolled, Enrolment
from vault.access.entries import Request
from vault.access.grants import Proposed, Terms
from vault.access.identities import SECOND_US
from vault.access.invitations import Invited
from vault.access.keyrows import lookup_scopes
from vault.access.logins import Logins, Opened
from vault.access.password_rules import PasswordRules
from vault.access.roots import Roots
from vault.access.sessions import authenticate_session
from vault.access.staff import Person
from vault.access.standing import Standings
from vault.audit.entry import Entry, decode
from vault.audit.journal import Journal
from vault.domain.actions import Action
from vault.domain.ids import RequestId
from vault.domain.model import Actor, Origin, Reveal, Role
from vault.policy.policy import Policy
from vault.storage import tables
from vault.storage.database import Database
from vault.storage.keys import add_field_ids, insert_keys
from vault.storage.roots import RootRow, insert_roots

VAULT_ID = bytes(range(16))
START_US = 1_800_000_000 * SECOND_US
DESK = "192.0.2.10"
ELSEWHERE = "198.51.100.7"
PASSWORD = SecretText("otter-granite-7-plum")
CHEAP = Argon2Parameters(memory_kib=8, passes=1)

POLICY = """
[policy]
company = "Example"
version = "1"
notice = 2026-11-01
effective = 2026-12-01
timezone = "Asia/Seoul"

[officer]
contact = "privacy@example.test"

[fields."member.phone"]
type = "phone"
region = "KR"

[fields."member.gender"]
type = "gender"

[purposes.inquiry]
title = "Inquiries"
legal_basis = "contract"
fields = ["member.phone", "member.gender"]
roles = ["handler", "service"]
reason = "required"

[purposes.mailing]
title = "Mailing"
legal_basis = "consent"
fields = ["member.phone"]
roles = ["handler", "officer", "service"]
reason = "optional"

[purposes.ethics]
title = "Ethics"
legal_basis = "consent"
fields = ["member.phone"]
roles = ["team:ethics"]
reason = "optional"
"""

KEYS = (
    (KeyKind.WRAPPING, ""),
    (KeyKind.TOKEN, ""),
    (KeyKind.AUTHORITY, ""),
    (KeyKind.LOG_MAC, ""),
    (KeyKind.SESSION, ""),
    (KeyKind.STAFF_DATA, ""),
    (KeyKind.LOG_SIGNING, "piivault/test"),
    *((KeyKind.LOOKUP, scope) for scope in lookup_scopes(Policy.parse(POLICY))),
)


def origin(address: str = DESK) -> Origin:
    return Origin(request=RequestId("req_" + secrets.token_hex(16)), address=address)


def new_keys(root: RootKey, version: int = 1) -> list[KeyRecord]:
    made = [generate_key(kind, scope, version, vault_id=VAULT_ID, root=root) for kind, scope in KEYS]
    return [KeyRecord(key.kind, key.scope, key.version, KeyState.ACTIVE, key.wrapped) for key in made]


@dataclass
class Someone:
    """A person with what they know and hold."""

    staff_id: str
    login: str
    totp: pyotp.TOTP
    password: SecretText = PASSWORD
    actor: Actor | None = None
    secret: SecretText = field(default_factory=lambda: SecretText(""))

    def code(self, now_us: int) -> str:
        return str(self.totp.at(now_us // SECOND_US))


class Node:
    """One process of the vault: its own pools, journal and caches on the shared database."""

    def __init__(self, url: str, wrapper: KeyFileWrapper) -> None:
        self.database = Database.open(url)
        self.standings = Standings(self.database, Roots(lambda _row: wrapper, lambda: datetime.now(UTC)))
        self.standings.open()
        self.journal = Journal(self.database, lambda: self.standings.current.keyring)
        self.changes = Changes(self.database, self.journal, self.standings)
        passwords = Passwords(CHEAP)
        rules = PasswordRules()
        self.enrolment = Enrolment(self.changes, passwords, rules)
        self.logins = Logins(self.changes, passwords, rules)

    def close(self) -> None:
        self.database.close()


class World:
    """A vault after init, and the steps that everybody's tests need."""

    def __init__(self, url: str, folder: Path, *, policy: str = POLICY) -> None:
        self.url = url
        self.now_us = START_US
        self.wrapper = KeyFileWrapper.create(folder / "root.key")
        self.initial = self._initialise(policy)
        self.nodes = [Node(url, self.wrapper)]
        self._numbers = itertools.count(1)

    @property
    def node(self) -> Node:
        return self.nodes[0]

    @property
    def changes(self) -> Changes:
        return self.node.changes

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def another_node(self) -> Node:
        self.nodes.append(Node(self.url, self.wrapper))
        return self.nodes[-1]

    def later(self, us: int = 31 * SECOND_US) -> int:
        """Let time pass, by default enough for another TOTP step."""
        self.now_us += us
        return self.now_us

    def _initialise(self, policy: str) -> Initial:
        parsed = Policy.parse(policy)
        self.root = RootKey.generate(1)
        records = new_keys(self.root)
        keyring = Keyring.unlock(VAULT_ID, records, self.root)
        database = Database.open(self.url)
        with database.writing() as connection:
            counter = {"id": 1, "vault_id": VAULT_ID, "next_index": 0, "revision": 1, "sealed": False}
            connection.execute(insert(tables.counter).values(counter))
            sealed = self.root.sealed_by(self.wrapper, vault_id=VAULT_ID, slot=RootSlot.LIVE)
            insert_roots(connection, [RootRow(1, "live", "file", "active", sealed, self.now_us)])
            insert_keys(connection, records, now_us=self.now_us)
            add_field_ids(connection, list(parsed.fields))
            initial = initialise(
                connection,
                keyring,
                policy=parsed,
                administrator=Person("root.admin", "Ada Lim", Role.ADMINISTRATOR),
                officer=Person("privacy.officer", "Omar Seo", Role.OFFICER),
                now_us=self.now_us,
            )
        database.close()
        return initial

    # People

    def enrol(self, invited: Invited, *, address: str = DESK) -> tuple[Someone, Enrolled]:
        begun = self.node.enrolment.begin(invited.code, origin=origin(address), now_us=self.now_us)
        totp = pyotp.parse_uri(begun.provisioning_uri.expose())
        assert isinstance(totp, pyotp.TOTP)
        someone = Someone(invited.staff_id, begun.login, totp)
        enrolled = self.node.enrolment.finish(
            invited.code,
            password=someone.password,
            totp_code=someone.code(self.now_us),
            origin=origin(address),
            now_us=self.now_us,
        )
        return someone, enrolled

    def log_in(self, someone: Someone, *, address: str = DESK) -> Opened:
        self.later()
        opened = self.node.logins.open(
            someone.login,
            password=someone.password,
            totp_code=someone.code(self.now_us),
            origin=origin(address),
            now_us=self.now_us,
        )
        someone.actor, someone.secret = opened.actor, opened.secret
        return opened

    def authenticate(self, someone: Someone, *, address: str = DESK) -> Actor:
        return authenticate_session(self.changes, someone.secret, origin=origin(address), now_us=self.now_us)

    def request(self, someone: Someone, *, address: str = DESK) -> Request:
        assert someone.actor is not None
        return Request(actor=someone.actor, origin=origin(address), now_us=self.now_us)

    def found(self) -> tuple[Someone, Someone]:
        """Enrol and log in the two people of init."""
        administrator, _ = self.enrol(self.initial.administrator)
        officer, _ = self.enrol(self.initial.officer)
        self.log_in(administrator)
        self.log_in(officer)
        return administrator, officer

    # Things they do

    def approve(self, officer: Someone, target: str, *, approve: bool = True) -> None:
        waiting = approvals.list_approvals(self.changes, self.request(officer)).value
        approval = next(row for row in waiting if row.target == target and row.state == "open")
        approvals.decide_approval(self.changes, self.request(officer), approval.id, approve=approve)

    def hire(
        self, administrator: Someone, officer: Someone, role: Role, *, team: str = "", login: str = ""
    ) -> Someone:
        """Invite, enrol, approve and log in."""
        person = Person(login or f"person{next(self._numbers)}", "Hana Park", role, team=team)
        invited = register.invite(self.changes, self.request(administrator), person).value
        someone, enrolled = self.enrol(invited)
        assert enrolled.state == "waiting"
        self.approve(officer, someone.staff_id)
        self.log_in(someone)
        return someone

    def serve(
        self, administrator: Someone, *, networks: Iterable[str] = (), owner: str = "", days: int = 90
    ) -> services.Secret:
        return services.create(
            self.changes,
            self.request(administrator),
            name=f"shop {next(self._numbers)}",
            owner=owner or administrator.staff_id,
            networks=networks,
            days=days,
        ).value

    def token(self, secret: services.Secret, *, address: str = DESK) -> str:
        issued = issue_access_token(
            self.changes,
            secret.service_id,
            secret.client_secret,
            origin=origin(address),
            now_us=self.now_us,
        )
        return issued.text.expose()

    def propose(self, administrator: Someone, terms: Terms) -> Proposed:
        return grants.propose(self.changes, self.request(administrator), terms).value

    # What is in the database

    def log(self) -> list[Entry]:
        with self.node.database.reading() as connection:
            rows = connection.execute(select(tables.log_entry.c.body).order_by(tables.log_entry.c.idx))
            return [decode(bytes(row.body)) for row in rows]

    def said(self, action: Action) -> list[Entry]:
        return [entry for entry in self.log() if entry.action == action]

    def alarms(self) -> set[tuple[str, str]]:
        return {
            (dict(entry.target)["table"], dict(entry.target)["row"])
            for entry in self.said(Action.INTEGRITY_ALARM)
        }

    def rows(self, name: str, **where: Any) -> list[dict[str, Any]]:
        table = tables.metadata.tables[name]
        conditions = [table.c[column] == value for column, value in where.items()]
        with self.node.database.reading() as connection:
            found = connection.execute(select(table).where(*conditions)).mappings()
            return [dict(row) for row in found]

    def plant(self, name: str, values: dict[str, Any]) -> None:
        """Do as somebody who holds the database: insert a row and make every node look again."""
        with self.node.database.writing() as connection:
            connection.execute(tables.metadata.tables[name].insert().values(values))
            self._raise(connection)

    def tamper(self, name: str, where: dict[str, Any], values: dict[str, Any]) -> None:
        """Do as somebody who holds the database: change rows and make every node look again."""
        table = tables.metadata.tables[name]
        conditions = [table.c[column] == value for column, value in where.items()]
        with self.node.database.writing() as connection:
            changed = connection.execute(table.update().where(*conditions).values(values))
            assert changed.rowcount == 1
            self._raise(connection)

    @staticmethod
    def _raise(connection: Any) -> None:
        connection.execute(update(tables.counter).values(revision=tables.counter.c.revision + 1))


def plain_terms(holder: str, *, kind: str = "service", **other: Any) -> Terms:
    """A grant of plaintext for inquiries."""
    fields: dict[str, Any] = {
        "actions": (Action.TOKEN_DETOKENIZE, Action.TOKEN_TOKENIZE),
        "fields": ("member.phone",),
        "purposes": ("inquiry",),
        "reason": "call centre desk",
        "reveal": Reveal.PLAIN,
    }
    return Terms(holder_kind=kind, holder=holder, **(fields | other))
