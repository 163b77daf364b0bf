"""A vault to measure: people, one service with plaintext grants, and genuine values in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.support.furnished import POLICY, Clock, Furnished
from vault.access import services
from vault.access.staff import Person
from vault.assembly import initialise, open_vault
from vault.domain.model import Actor, Reveal, Role
from vault.policy.policy import Policy
from vault.service.vault import Vault
from vault.settings import Settings
from vault.tokens.requests import NewSubject, TokenizeItem, TokenizeRequest

INTAKE: Final = "member_communication"
"""Purpose of tokenizing; asks for no reason."""

PURPOSE: Final = "inquiry"
"""Purpose of revealing; asks for a reason, which is sealed and kept beside the entry."""

FIELD: Final = "member.phone"
REASON: Final = "call back, ticket 4711"
SUBJECTS: Final = 200
VALUES_PER_SUBJECT: Final = 50
VALUES: Final = SUBJECTS * VALUES_PER_SUBJECT
BATCH: Final = 1_000

EARLIER: Final = timedelta(minutes=30)
"""People enrol this long before now: each code of an authenticator needs half a minute of its own."""


@dataclass(frozen=True, slots=True)
class Site:
    """A vault that is set up and closed, and what a client of it needs."""

    settings: Settings
    client_id: str
    client_secret: str
    values: tuple[str, ...]
    tokens: tuple[str, ...]
    """One for each value, in the same order."""
    subjects: tuple[str, ...]
    administrator: Actor


@dataclass(frozen=True, slots=True)
class Size:
    """How much a vault holds."""

    values: int = VALUES
    people: int = SUBJECTS

    def whose(self, at: int) -> int:
        """Return whose the value at this place is: a few of everybody, in turn."""
        return at // min(VALUES_PER_SUBJECT, max(1, self.values // self.people)) % self.people


def furnish(home: Path, *, database_url: str = "", size: Size = Size(), seed: int = 1) -> Site:
    """Make a vault in ``home`` with phone numbers in it, as many as ``size`` says, and close it again."""
    furnished = _people(home, database_url)
    try:
        administrator = furnished.login("admin")
        client_id, client_secret, actor = _service(furnished, administrator)
        furnished.clock.now = datetime.now(UTC)
        filled = list(fill(furnished.vault, furnished, actor, size, seed=seed))
    finally:
        furnished.vault.close()
    return Site(
        furnished.settings,
        client_id,
        client_secret,
        values=tuple(value for value, _, _ in filled),
        tokens=tuple(token for _, token, _ in filled),
        subjects=tuple(dict.fromkeys(subject for _, _, subject in filled)),
        administrator=administrator,
    )


def fill(
    vault: Vault, furnished: Furnished, actor: Actor, size: Size, *, seed: int
) -> Iterator[tuple[str, str, str]]:
    """Tokenize phone numbers of new subjects, in turn once all are there; yield value, token, subject."""
    numbers = random.Random(seed)
    people: dict[int, str] = {}
    for start in range(0, size.values, BATCH):
        batch = range(start, min(start + BATCH, size.values))
        whose = [size.whose(at) for at in batch]
        items = [
            TokenizeItem(FIELD, phone_number(numbers), subject=people.get(who, NewSubject(f"s{who}")))
            for who in whose
        ]
        request = TokenizeRequest(INTAKE, items)
        result = vault.tokens.complete(vault.tokens.tokenize(actor, furnished.origin(), request))
        for who, asked, item in zip(whose, items, result["items"], strict=True):
            people[who] = item["subject"]
            yield asked.value, item["token"], item["subject"]


def phone_number(numbers: random.Random) -> str:
    """Return a phone number as people write it: 13 characters."""
    return f"010-{numbers.randrange(2000, 10_000)}-{numbers.randrange(10_000):04d}"


def _people(home: Path, database_url: str) -> Furnished:
    clock = Clock(datetime.now(UTC) - EARLIER)
    policy = Policy.parse(POLICY.read_text(encoding="utf-8"))
    made = initialise(
        home,
        policy=policy,
        administrator=Person(login="admin", name="Admin Park", role=Role.ADMINISTRATOR),
        officer=Person(login="officer", name="Officer Lee", role=Role.OFFICER),
        database_url=database_url,
        now=clock.now,
    )
    furnished = Furnished(home, made.settings, open_vault(made.settings, clock=clock), clock, policy)
    furnished.enrol("admin", made.people.administrator.code)
    furnished.enrol("officer", made.people.officer.code)
    return furnished


def _service(furnished: Furnished, administrator: Actor) -> tuple[str, str, Actor]:
    made = services.create(
        furnished.vault.changes, furnished.request(administrator), name="shop", owner=administrator.id
    ).value
    holder = ("service", made.service_id)
    furnished.grant(administrator, holder, ("token:tokenize",), purposes=(INTAKE,))
    furnished.grant(administrator, holder, ("token:detokenize",), purposes=(PURPOSE,), reveal=Reveal.PLAIN)
    furnished.approve_all(furnished.login("officer"))
    return made.service_id, made.client_secret.expose(), furnished.authenticate(made)
