"""Two nodes that release while what they release by is taken away, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from threading import Event, Lock
from typing import Protocol, TypeVar

from tests.conformance.counter import WAIT, Counter, Logged
from tests.conformance.keeper import Keeper
from tests.support.furnished import MEMBER, READING
from vault.access import approvals, grants, services
from vault.access.entries import Request
from vault.domain.errors import AccessDeniedError, ConflictError, UnavailableError
from vault.domain.model import Actor, Reveal
from vault.service.vault import Vault
from vault.tokens.requests import DetokenizeItem, DetokenizeRequest
from vault.tokens.work import Result

T = TypeVar("T")

TRIES = 50


def decided(act: Callable[[], T]) -> T:
    """Return what ``act`` returns, asking again where decisions changed faster than it could be made."""
    for _ in range(TRIES):
        with suppress(UnavailableError):
            return act()
    return act()


# Tokens

REVOKERS = 4
"""Threads on each node."""

AHEAD = 24
BEHIND = 8
"""Tokens in one request of a reader: not revoked when it is asked, but soon; and revoked just before."""


class TokenRace:
    """Tokens are revoked in turn on every node, and read shortly before and after that on every node."""

    revokers = REVOKERS

    def __init__(self, counter: Counter, nodes: Sequence[Vault], tokens: Sequence[str]) -> None:
        self._counter = counter
        self._nodes = nodes
        self._tokens = tokens
        self._left = iter(tokens)
        self._turn = Lock()
        self._over = Event()
        self.revoked: dict[str, int] = {}
        """Log index of each token's revocation, as its answer says."""
        self.answers: list[Result] = []
        """What readers got."""

    def run(self) -> None:
        """Return when all tokens are revoked."""
        with ThreadPoolExecutor((self.revokers + 1) * len(self._nodes)) as pool:
            reading = [pool.submit(self._read, node) for node in self._nodes]
            revoking = [pool.submit(self._revoke, node) for node in self._nodes for _ in range(self.revokers)]
            wait(revoking)
            self._over.set()
        for each in (*revoking, *reading):
            each.result()

    def _next(self) -> str | None:
        with self._turn:
            return next(self._left, None)

    def _revoke(self, node: Vault) -> None:
        while (token := self._next()) is not None:
            self.revoked[token] = self._end(token, node)

    def _end(self, token: str, node: Vault) -> int:
        """Have the token open no more; return the log index from which."""
        return int(decided(partial(self._counter.revoke, token, at=node))["log_index"])

    def _read(self, node: Vault) -> None:
        while not self._over.is_set():
            done = len(self.revoked)
            around = self._tokens[max(0, done - BEHIND) : done + AHEAD]
            self.answers.append(decided(partial(self._counter.detokenize, *around, at=node)))


class SubjectRace(TokenRace):
    """The persons behind the tokens are erased and restricted by turns, instead of the tokens revoked."""

    revokers = 1

    def __init__(self, keeper: Keeper, nodes: Sequence[Vault], tokens: Mapping[str, str]) -> None:
        super().__init__(keeper.counter, nodes, list(tokens))
        self._keeper = keeper
        self._subjects = tokens
        self._proposed = {
            token: keeper.propose("erase", subject).approval_id
            for token, subject in list(tokens.items())[::2]
        }
        self.erased = frozenset(self._proposed)

    def _end(self, token: str, node: Vault) -> int:
        for _ in range(TRIES):
            # The other node changes things in a loop, too, and may win eight times in a row.
            with suppress(ConflictError):
                return self._act(token, node)
        return self._act(token, node)

    def _act(self, token: str, node: Vault) -> int:
        if token not in self._proposed:
            return decided(partial(self._keeper.restrict, self._subjects[token], at=node))
        made = decided(partial(self._keeper.decide, self._proposed[token], at=node))
        # The erasure's own entry is the one after the decision.
        return made.receipt.index + 1


# Rights


@dataclass(frozen=True)
class Right:
    """What somebody could read by, and the indexes of the entries between which it was in force."""

    session: str
    """Of the actor who had it."""
    begins: int
    ends: int

    def covers(self, logged: Logged) -> bool:
        """Say whether it was in force at this entry."""
        return logged.entry.actor.session == self.session and self.begins < logged.index < self.ends


class Giver(Protocol):
    """A way to give a right and to take it away, at any node."""

    action: str
    """What takes it away, as the log names it."""
    rule: str
    """What refuses afterwards, as the log names it."""

    def give(self, node: Vault) -> tuple[Actor, int]:
        """Return who may read now, and the log index from which."""
        ...

    def take(self, node: Vault) -> int:
        """Return the log index from which nobody may."""
        ...


class Credentials:
    """The shop's secret: the next one ends it at once."""

    action = "service:rotate"
    rule = "credential"

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._next = counter.shop, counter.next_index() - 1

    def give(self, node: Vault) -> tuple[Actor, int]:  # noqa: ARG002 - was given where the last one was taken
        return self._next

    def take(self, node: Vault) -> int:
        request = _request(self._counter, "admin", node)
        made = services.rotate(node.changes, request, self._counter.shop.id, overlap_us=0)
        actor = replace(self._counter.shop, session=made.value.credential_id)
        self._next = actor, made.receipt.index
        return made.receipt.index


class Grants:
    """A handler's grant of whole values: proposed, approved, revoked."""

    action = "grant:revoke"
    rule = "grant"

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        (first,) = counter.furnished.grants["minji"]
        grants.revoke(counter.vault.changes, _request(counter, "admin", counter.vault), first)
        self._grant = ""

    def give(self, node: Vault) -> tuple[Actor, int]:
        minji = self._counter.actor("minji")
        terms = grants.Terms(
            holder_kind="staff",
            holder=minji.id,
            actions=READING,
            fields=("member.phone",),
            purposes=(MEMBER,),
            reason="needed for the work",
            reveal=Reveal.PLAIN,
        )
        proposed = grants.propose(node.changes, _request(self._counter, "admin", node), terms).value
        self._grant = proposed.grant_id
        made = approvals.decide_approval(
            node.changes, _request(self._counter, "officer", node), proposed.approval_id, approve=True
        )
        return minji, made.receipt.index

    def take(self, node: Vault) -> int:
        request = _request(self._counter, "admin", node)
        return grants.revoke(node.changes, request, self._grant).receipt.index


def _request(counter: Counter, who: str, node: Vault) -> Request:
    return Request(actor=counter.actor(who), origin=counter.furnished.origin(), now_us=node.now_us())


class Reader:
    """Reads one token on one node by whatever right it is handed, until that is refused."""

    def __init__(self, counter: Counter, node: Vault, token: str) -> None:
        self._counter = counter
        self._node = node
        self._request = DetokenizeRequest(
            purpose=MEMBER, items=[DetokenizeItem(token=token)], reveal=Reveal.PLAIN
        )
        self._actors: SimpleQueue[Actor | None] = SimpleQueue()
        self._stopped = Event()
        self.has_read = Event()
        self.was_refused = Event()
        self.released: list[int] = []
        """Log indexes of answers that held the value."""
        self.refusals = 0

    def hand(self, actor: Actor) -> None:
        """Have it read as ``actor``; return at once."""
        self.has_read.clear()
        self.was_refused.clear()
        self._actors.put(actor)

    def stop(self) -> None:
        """Have it return, even if it is never refused."""
        self._stopped.set()
        self._actors.put(None)

    def run(self) -> None:
        """Read until stopped."""
        while (actor := self._actors.get()) is not None:
            try:
                while not self._stopped.is_set():
                    self.released.append(decided(partial(self._read, actor)))
                    self.has_read.set()
            except AccessDeniedError:
                self.refusals += 1
                self.was_refused.set()

    def _read(self, actor: Actor) -> int:
        work = self._node.tokens.detokenize(actor, self._counter.furnished.origin(), self._request)
        answer = self._node.tokens.complete(work)
        assert "value" in answer["items"][0]
        return int(answer["log_index"])


def race_rights(giver: Giver, readers: Sequence[Reader], nodes: Sequence[Vault], count: int) -> list[Right]:
    """Give and take away ``count`` rights, on each node in turn; return when they were in force.

    Each is read by on every node before it is taken away, and until it is refused there.
    """
    rights = []
    with _running(readers):
        for number in range(count):
            actor, begins = giver.give(nodes[number % len(nodes)])
            for reader in readers:
                reader.hand(actor)
            for reader in readers:
                assert reader.has_read.wait(WAIT), "a right never took effect"
            ends = giver.take(nodes[number // len(nodes) % len(nodes)])
            for reader in readers:
                assert reader.was_refused.wait(WAIT), "a revocation never took effect"
            rights.append(Right(actor.session, begins, ends))
    return rights


@contextmanager
def _running(readers: Sequence[Reader]) -> Iterator[None]:
    with ThreadPoolExecutor(len(readers)) as pool:
        running = [pool.submit(reader.run) for reader in readers]
        try:
            yield
        finally:
            for reader in readers:
                reader.stop()
    for each in running:
        each.result()
