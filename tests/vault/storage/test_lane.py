"""The lane: one unit in flight, the next forms meanwhile, no caller fails another, and it never dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.cutting_proxy import CuttingProxy
from tests.support.postgres import PostgresCluster
from tests.vault.storage.test_hot import BASE, hot_connection, token
from tests.vault.storage.units import Units, append, require_whole_log
from vault.domain.errors import OutcomeUnknownError, SealedError, UnavailableError, VaultError
from vault.storage import lane as module
from vault.storage.append import LogUnit
from vault.storage.database import Database
from vault.storage.errors import RolledBackError
from vault.storage.hot import HotConnection, Writes
from vault.storage.lane import Lane

CANARY = "canary-2b77"
WAIT = 20


@dataclass(eq=False)
class Job:
    """A work that writes the token rows it is given."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    size: int = 1
    while_prepared: Callable[[], object] = lambda: None
    when_told: Callable[[], object] = lambda: None
    index: int | None = None
    error: VaultError | None = None
    answers: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def settle(self, index: int) -> None:
        self.index = index
        self._answer()

    def fail(self, error: VaultError) -> None:
        self.error = error
        self._answer()

    def _answer(self) -> None:
        self.answers += 1
        self.when_told()
        self.done.set()


@dataclass(frozen=True)
class Unit:
    """A prepared unit."""

    jobs: Sequence[Job]
    unit: LogUnit
    writes: Writes
    revision: int


class Desk:
    """A preparer that gives each job one entry, and counts what the lane does."""

    def __init__(self) -> None:
        self.units = Units()
        self.sizes: list[int] = []
        self.revision = 1
        self.stales = 0
        self.unknowns = 0
        self.forgotten = threading.Event()
        self.on_stale: Callable[[], object] = lambda: None
        self.on_settled: Callable[[], object] = lambda: None

    def prepare(self, works: Sequence[Job], connection: HotConnection) -> Unit:
        del connection
        for job in works:
            job.while_prepared()
        self.sizes.append(len(works))
        writes = Writes(tokens=[row for job in works for row in job.rows])
        return Unit(works, self.units.make(len(works)), writes, self.revision)

    def settled(self, prepared: Unit, first: int) -> None:
        self.on_settled()
        for at, job in enumerate(prepared.jobs):
            job.settle(first + at)

    def stale(self) -> None:
        self.stales += 1
        self.on_stale()

    def unknown(self) -> None:
        self.unknowns += 1
        self.units = Units()

    def forget(self) -> None:
        self.forgotten.set()


@dataclass
class Counter:
    """A lane on a database, with its desk."""

    database: Database
    desk: Desk
    lane: Lane[Job, Unit]

    def run(self, *jobs: Job) -> None:
        """Hand over ``jobs`` and wait for every answer."""
        for job in jobs:
            self.lane.submit(job)
        for job in jobs:
            assert job.done.wait(WAIT), "no answer"

    def run_together(self, *jobs: Job) -> None:
        """Hand over ``jobs`` while the lane is busy, so that they form one unit."""
        arrived, go = threading.Event(), threading.Event()

        def hold() -> None:
            arrived.set()
            assert go.wait(WAIT)

        self.lane.submit(Job(while_prepared=hold))
        assert arrived.wait(WAIT)
        for job in jobs:
            self.lane.submit(job)
        go.set()
        for job in jobs:
            assert job.done.wait(WAIT), "no answer"


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


def counter_on(database: Database) -> Counter:
    desk = Desk()
    return Counter(database, desk, Lane[Job, Unit](desk, hot_connection(database)))


@pytest.fixture
def counter(log_database: Database) -> Iterator[Counter]:
    """A lane on each kind of database."""
    made = counter_on(log_database)
    yield made
    made.lane.close()


def test_lone_work_waits_for_nobody(counter: Counter) -> None:
    first, second = Job(), Job()
    counter.run(first)
    counter.run(second)
    assert (first.index, second.index) == (0, 1)
    assert counter.desk.sizes == [1, 1]


def test_works_that_arrive_during_a_unit_share_the_next(counter: Counter) -> None:
    jobs = [Job([token(number, 1)]) for number in range(1, 11)]
    counter.run_together(*jobs)
    assert counter.desk.sizes == [1, 10]
    assert [job.index for job in jobs] == list(range(1, 11))
    assert require_whole_log(counter.database) == 11


def test_unit_takes_no_more_once_it_is_full(counter: Counter) -> None:
    counter.run_together(*[Job(size=1_000) for _ in range(5)])
    assert counter.desk.sizes == [1, 2, 2, 1]


def test_stale_unit_is_decided_again(counter: Counter) -> None:
    append(counter.database, Units().make(), revise=True)

    def reload() -> None:
        counter.desk.revision = 2

    counter.desk.on_stale = reload
    job = Job()
    counter.run(job)
    assert job.index == 1
    assert counter.desk.stales == 1


def test_unit_that_is_stale_again_and_again_is_given_up(counter: Counter) -> None:
    counter.desk.revision = 7
    job = Job()
    counter.run(job)
    assert type(job.error) is UnavailableError
    assert counter.desk.stales == module.STALE_ATTEMPTS
    assert require_whole_log(counter.database) == 0


@pytest.mark.parametrize(
    ("fault", "told"),
    [(SealedError(), SealedError), (UnavailableError(), UnavailableError), (OSError(CANARY), VaultError)],
    ids=["sealed", "unavailable", "ours"],
)
def test_standing_that_cannot_be_read_fails_the_unit_and_not_the_lane(
    counter: Counter, fault: Exception, told: type[VaultError]
) -> None:
    counter.desk.revision = 7
    counter.desk.on_stale = raising(fault)
    job, next_job = Job(), Job()
    counter.run(job)
    assert type(job.error) is told
    counter.desk.revision = 1
    counter.run(next_job)
    assert next_job.index == 0


def test_work_that_the_database_refuses_fails_alone(counter: Counter) -> None:
    counter.run(Job([token(1, 1)]))
    jobs = [Job([token(number, 1)]) for number in range(2, 10)]
    jobs[5].rows = [token(1, 1)]
    counter.run_together(*jobs)
    assert type(jobs[5].error) is RolledBackError
    fine = [job for at, job in enumerate(jobs) if at != 5]
    assert [job.error for job in fine] == [None] * 7
    assert len({job.index for job in fine}) == 7
    assert require_whole_log(counter.database) == 2 + 7
    assert all(job.answers == 1 for job in jobs)


def test_two_works_that_exclude_each_other_give_one_its_due(counter: Counter) -> None:
    jobs = [Job([token(1, 1)]), Job([token(1, 1)])]
    counter.run_together(*jobs)
    assert [type(job.error) for job in jobs] == [type(None), RolledBackError]


def test_fault_of_ours_fails_its_unit_and_not_the_lane(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    job, next_job = Job(while_prepared=raising(KeyError(CANARY))), Job()
    counter.run(job)
    assert type(job.error) is VaultError
    assert job.error.code == "internal"
    counter.run(next_job)
    assert next_job.index == 0
    assert counter.desk.unknowns == 1
    assert "KeyError at" in caplog.text
    assert CANARY not in caplog.text


def test_fault_of_ours_after_the_commit_leaves_nobody_without_an_answer(counter: Counter) -> None:
    counter.desk.on_settled = raising(RuntimeError(CANARY))
    job, next_job = Job(), Job()
    counter.run(job)
    assert type(job.error) is VaultError
    counter.desk.on_settled = lambda: None
    counter.run(next_job)
    assert next_job.index == 1


def test_caller_who_cannot_be_told_keeps_nobody_else_from_it(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    counter.desk.revision = 7
    gone = Job(when_told=raising(RuntimeError(CANARY)))
    here = Job()
    counter.lane.submit(gone)
    counter.run(here)
    assert type(here.error) is UnavailableError
    assert "could not be told" in caplog.text
    assert CANARY not in caplog.text


def test_too_much_waiting_is_refused_and_taken_again_later(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PENDING_ITEMS", 1_000)
    arrived, go = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        assert go.wait(WAIT)

    counter.lane.submit(Job(while_prepared=hold))
    assert arrived.wait(WAIT)
    waiting = [Job(size=600), Job(size=600)]
    for job in waiting:
        counter.lane.submit(job)
    refused = Job()
    with pytest.raises(UnavailableError):
        counter.lane.submit(refused)
    go.set()
    for job in waiting:
        assert job.done.wait(WAIT)
    counter.run(Job(size=900))
    assert refused.answers == 0


def test_what_waits_is_counted_right_however_many_hand_over(counter: Counter) -> None:
    """A count that drifts upwards would end with everything refused and nothing waiting."""
    jobs = [[Job() for _ in range(200)] for _ in range(4)]
    threads = [threading.Thread(target=counter.run, args=batch) for batch in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.lane._pending == 0
    assert require_whole_log(counter.database) == 800


def test_closing_finishes_what_was_handed_over(log_database: Database) -> None:
    counter = counter_on(log_database)
    jobs = [Job() for _ in range(50)]
    for job in jobs:
        counter.lane.submit(job)
    counter.lane.close()
    assert sorted(index for job in jobs if (index := job.index) is not None) == list(range(50))


def test_closed_lane_takes_nothing_more(log_database: Database) -> None:
    counter = counter_on(log_database)
    counter.lane.close()
    counter.lane.close()
    with pytest.raises(UnavailableError, match="closing"):
        counter.lane.submit(Job())


def test_everybody_who_hands_over_while_it_closes_gets_an_answer(log_database: Database) -> None:
    counter = counter_on(log_database)
    jobs: list[Job] = []

    def hand_over() -> None:
        try:
            while True:
                job = Job()
                counter.lane.submit(job)
                jobs.append(job)
        except UnavailableError:
            return

    thread = threading.Thread(target=hand_over)
    thread.start()
    while not jobs:
        pass
    counter.lane.close()
    thread.join()
    assert all(job.index is not None for job in jobs)


def test_database_that_cannot_serve_fails_the_unit_until_it_can(counter: Counter) -> None:
    with counter.database.writing() as connection:
        connection.execute(text("ALTER TABLE log_unit RENAME TO away"))
    job, next_job = Job([token(1, 1)]), Job([token(1, 1)])
    counter.run(job)
    assert type(job.error) is UnavailableError
    with counter.database.writing() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO log_unit"))
    counter.run(next_job)
    assert next_job.index == 0


def test_unknown_outcome_is_told_to_everybody_of_the_unit_and_never_retried(
    fragile_postgres: PostgresCluster, fragile_url: str
) -> None:
    with CuttingProxy(fragile_postgres.folder) as proxy:
        database = Database.open(proxy.url(fragile_url))
        counter = counter_on(database)
        jobs = [Job([token(number, 1)]) for number in range(1, 6)]
        proxy.lose_answer(b"COMMIT")
        counter.run_together(*jobs)
        assert [type(job.error) for job in jobs] == [OutcomeUnknownError] * 5
        assert [job.answers for job in jobs] == [1] * 5
        assert counter.desk.sizes == [1, 5]
        assert counter.desk.unknowns == 1
        hot = hot_connection(database)
        assert len(hot.read_tokens([BASE + number for number in range(1, 6)])) == 5
        hot.close()
        after = Job()
        counter.run(after)
        assert after.index == 6
        counter.lane.close()
        assert require_whole_log(database) == 7
        database.close()
