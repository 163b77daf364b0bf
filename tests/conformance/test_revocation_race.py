"""Promise 10: a revocation wins. No release carries a later log index than what forbade it, on any node.

Two nodes release as fast as they can while the right to it is taken away, by
each of the ways there are. What counts is not when an answer arrives but the
index of its entry. All rounds together release some thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

import pytest

from tests.conformance.counter import WAIT, Counter
from tests.conformance.keeper import Keeper
from tests.support.furnished import MEMBER
from vault.access import grants, services, staff
from vault.domain.errors import VaultError
from vault.domain.model import Actor, Reveal, Role
from vault.service.vault import Vault
from vault.tokens.requests import DetokenizeItem, DetokenizeRequest

ROUNDS = 12
"""Of each way on each database."""

READERS = 3
"""Threads on each node."""

REFUSALS = 3
"""After so many in a row a reader believes it."""

OPENING = ("token:detokenize",)

WARM = 60
"""Releases before the revocation, from all threads together."""


@dataclass
class Outcomes:
    """What readers got."""

    released: list[int] = field(default_factory=list)
    """Log indexes of answers that held the value."""
    refused: list[str] = field(default_factory=list)
    warm: Event = field(default_factory=Event)


@contextmanager
def reading(counter: Counter, nodes: list[Vault], actor: Actor, token: str) -> Iterator[Outcomes]:
    """Release ``token`` on all nodes until each reader has been refused a few times."""
    outcomes = Outcomes()
    stop = Event()

    def read(vault: Vault) -> None:
        refusals = 0
        while refusals < REFUSALS and not stop.is_set():
            request = DetokenizeRequest(
                purpose=MEMBER, items=[DetokenizeItem(token=token)], reveal=Reveal.PLAIN
            )
            work = vault.tokens.detokenize(actor, counter.furnished.origin(), request)
            try:
                answer = vault.tokens.complete(work)
            except VaultError as error:
                outcomes.refused.append(error.code)
                refusals += 1
                continue
            if "value" in answer["items"][0]:
                outcomes.released.append(answer["log_index"])
                if len(outcomes.released) == WARM:
                    outcomes.warm.set()
            else:
                outcomes.refused.append(answer["items"][0]["error"]["code"])
                refusals += 1

    threads = [Thread(target=read, args=(vault,)) for vault in nodes for _ in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        assert outcomes.warm.wait(WAIT)
        yield outcomes
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive(), "a revocation never took effect"
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT)


@dataclass(frozen=True)
class Round:
    """One revocation to race against: the place, the token that is read, which round it is."""

    counter: Counter
    vault: Vault
    """The node on which the right is taken away."""
    token: str
    number: int


Prepare = Callable[[Round], tuple[Actor, Callable[[], object], str]]
"""Return who reads, what takes it from them, and the action that the log will name."""


def _token(game: Round) -> tuple[Actor, Callable[[], object], str]:
    counter = game.counter
    return counter.shop, lambda: counter.revoke(game.token, at=game.vault), "token:revoke"


def _reader(game: Round) -> tuple[str, str, Actor]:
    """Make a service that may read; return its id, its grant and itself."""
    office, admin = game.counter.furnished, game.counter.actor("admin")
    service, actor = office.service(admin, f"reader {game.number}")
    grant = office.grant(admin, ("service", service), OPENING, purposes=(MEMBER,), reveal=Reveal.PLAIN)
    office.approve_all(game.counter.actor("officer"))
    return service, grant, actor


def _grant(game: Round) -> tuple[Actor, Callable[[], object], str]:
    _, grant, actor = _reader(game)
    request = game.counter.furnished.request(game.counter.actor("admin"))
    return actor, lambda: grants.revoke(game.vault.changes, request, grant), "grant:revoke"


def _service(game: Round) -> tuple[Actor, Callable[[], object], str]:
    service, _, actor = _reader(game)
    request = game.counter.furnished.request(game.counter.actor("admin"))
    return actor, lambda: services.revoke(game.vault.changes, request, service), "service:revoke"


def _staff(game: Round) -> tuple[Actor, Callable[[], object], str]:
    office, admin, login = game.counter.furnished, game.counter.actor("admin"), f"reader{game.number}"
    office.hire(admin, login, Role.HANDLER)
    person = office.people[login]
    office.grant(admin, ("staff", person), OPENING, purposes=(MEMBER,), reveal=Reveal.PLAIN)
    office.approve_all(game.counter.actor("officer"))
    request = office.request(admin)
    return office.login(login), lambda: staff.leave(game.vault.changes, request, person), "staff:leave"


def _erasure(game: Round) -> tuple[Actor, Callable[[], object], str]:
    keeper = Keeper(game.counter)
    subject = game.counter.show(game.token)["subject"]
    waiting = keeper.propose("erase", subject).approval_id
    return game.counter.shop, lambda: keeper.decide(waiting, at=game.vault), "subject:erase"


def _restriction(game: Round) -> tuple[Actor, Callable[[], object], str]:
    keeper = Keeper(game.counter)
    subject = game.counter.show(game.token)["subject"]
    return game.counter.shop, lambda: keeper.restrict(subject, at=game.vault), "subject:restrict"


@pytest.mark.parametrize("prepare", [_token, _grant, _service, _staff, _erasure, _restriction])
def test_nothing_is_released_after_the_index_that_forbids_it(counter: Counter, prepare: Prepare) -> None:
    nodes = [counter.vault, counter.node()]
    released = 0
    for number in range(ROUNDS):
        token = counter.token()
        actor, revoke, action = prepare(Round(counter, nodes[number % 2], token, number))
        start = counter.next_index()
        with reading(counter, nodes, actor, token) as outcomes:
            revoke()
        log = counter.log(start)
        (forbidding,) = [logged for logged in log if logged.entry.action == action]
        assert forbidding.entry.error == ""
        assert max(outcomes.released) < forbidding.index
        opened = [logged.index for logged in log if logged.entry.items and "opened" in logged.outcomes]
        assert sorted(outcomes.released) == opened
        assert len(outcomes.refused) == REFUSALS * READERS * len(nodes)
        released += len(outcomes.released)
    assert released >= ROUNDS * WARM
    counter.verify_log()
