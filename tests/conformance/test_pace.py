"""Background work makes way for whoever uses the vault, on any node, and goes on at full speed after that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.conformance.counter import PHONE, Counter, phone
from tests.conformance.suspicion import compromise
from tests.support.furnished import MEMBER, phones
from vault.access.entries import Request
from vault.rotation import jobs, pace
from vault.rotation.jobs import Worker
from vault.rotation.pace import BUSY_PAUSE, LONGEST_PAUSE_US

PEOPLE = 120
BUSY, IDLE = 4, 24
"""Portions of the tests, in the place of 100 and 5,000: there are not so many people here."""

BETWEEN_S = 0.5
MANY, FEW = 12, 2
"""Entries of others in between: above and below what counts as use."""


class Ticking:
    """A clock that is ``step`` later at each look. A portion looks twice: so long it takes."""

    def __init__(self, counter: Counter, step: timedelta) -> None:
        self._now: datetime = counter.furnished.clock.now
        self._step = step

    def __call__(self) -> datetime:
        self._now += self._step
        return self._now

    def wait(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


def _rewrap(counter: Counter, asked: Request) -> None:
    counter.vault.keys.rotate(asked)
    counter.vault.keys.rewrap(asked)


def _redigest(counter: Counter, asked: Request) -> None:
    counter.vault.keys.rotate(asked, kind="lookup", scope=PHONE)
    counter.vault.keys.redigest(asked, PHONE)


def _reencrypt(counter: Counter, _asked: Request) -> None:
    compromise(counter)


def _reseal(counter: Counter, asked: Request) -> None:
    office, shop = counter.furnished, ("service", counter.shop.id)
    for _ in range(2 * IDLE):
        office.grant(counter.actor("admin"), shop, ("token:show",), purposes=(MEMBER,))
    counter.vault.keys.rotate(asked, kind="authority")
    counter.vault.keys.reseal(asked, "authority")


START: dict[str, Callable[[Counter, Request], None]] = {
    "rewrap": _rewrap,
    "redigest": _redigest,
    "reencrypt": _reencrypt,
    "reseal": _reseal,
}


class Node:
    """One node that does a job, and the others that use the vault between its portions."""

    def __init__(self, counter: Counter, *, took: timedelta) -> None:
        self._counter, self._other = counter, counter.node()
        self._clock = Ticking(counter, took)
        self._worker = Worker(counter.vault.changes, self._clock)

    def portion(self, *, entries: int = 0) -> tuple[int, float]:
        """Let others make ``entries`` in the log; return what the next portion moves, and its rest."""
        for _ in range(entries):
            self._counter.search(PHONE, phones(1)[0], at=self._other)
        self._clock.wait(BETWEEN_S)
        rest = self._worker.portion()
        assert rest is not None, "the job is over"
        return int(dict(self._counter.last().entry.target)["moved"]), round(rest, 6)


@pytest.fixture
def filled(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """A vault with people in it, and portions that fit them."""
    monkeypatch.setattr(pace, "BUSY_PORTION", BUSY)
    monkeypatch.setattr(jobs, "_LONGEST_PORTION", dict.fromkeys(("postgresql", "sqlite"), IDLE))
    counter.tokenize(*map(phone, phones(PEOPLE)))
    return counter


@pytest.mark.parametrize("job", START)
def test_portions_and_rests_follow_the_traffic(filled: Counter, job: str) -> None:
    START[job](filled, filled.furnished.request(filled.actor("admin")))
    node = Node(filled, took=timedelta(milliseconds=10))
    resting = round(0.01 * BUSY_PAUSE, 2)
    # Until it has measured anything, and as long as others are there.
    for entries in (0, MANY, MANY):
        moved, rest = node.portion(entries=entries)
        assert (moved <= BUSY, rest) == (True, resting)
    # They are gone, but for one now and then: it notices after a portion, and then takes all there is.
    moved, rest = node.portion(entries=FEW)
    assert (moved <= BUSY, rest) == (True, 0.0)
    at_full_speed = [node.portion(entries=FEW) for _ in range(2)]
    assert max(moved for moved, _ in at_full_speed) > BUSY
    assert [rest for _, rest in at_full_speed] == [0.0, 0.0]
    # They are back.
    assert node.portion(entries=MANY)[1] == resting
    moved, rest = node.portion(entries=MANY)
    assert (moved <= BUSY, rest) == (True, resting)


def test_the_sizes_are_those_it_is_told(filled: Counter) -> None:
    _rewrap(filled, filled.furnished.request(filled.actor("admin")))
    node = Node(filled, took=timedelta(milliseconds=10))
    assert [node.portion()[0] for _ in range(3)] == [BUSY, BUSY, IDLE]


def test_a_rest_is_never_longer_than_a_lease_bears(filled: Counter) -> None:
    _rewrap(filled, filled.furnished.request(filled.actor("admin")))
    node = Node(filled, took=timedelta(seconds=3))
    assert node.portion()[1] == LONGEST_PAUSE_US / 1_000_000
    # Its own entries are no traffic.
    assert node.portion()[1] == 0.0
