"""Whatever is done, in any order: a value opens unless it was erased, restricted or shut by its key."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keys.passwords import Passwords
from tests.conformance.counter import PHONE, Counter, phone
from tests.conformance.keeper import Keeper
from tests.conformance.restoring import PostgresBench
from tests.conformance.suspicion import WHY, shut_of
from tests.conformance.yard import Yard
from tests.support.furnished import CHEAP, Furnished, copy, phones
from tests.support.postgres import PostgresCluster
from vault.access.entries import Request
from vault.assembly import Sealing, change_root_key, open_vault, unseal_on_host
from vault.domain.errors import (
    ConflictError,
    InvalidInputError,
    KeySuspendedError,
    NotFoundError,
    SealedError,
)
from vault.domain.model import Role
from vault.rotation.jobs import LEASE_US
from vault.settings import Settings
from vault.storage.errors import RolledBackError, StaleRevisionError

SWAPPED = 3
"""Values in a request."""

OTHERS = ("authority", "session", "log_mac", "staff_data", "log_signing", "token")
"""Kinds of keys beside those that values and digests hang on."""

LOGGED_IN_S = 240
"""A login is taken to be good for so long: well below the idle limit of a session."""


class Kept(RuleBasedStateMachine):
    """One vault, and what each token must open to."""

    def __init__(self, opened: Callable[[], Counter], folder: Path, empty: Callable[[], str]) -> None:
        super().__init__()
        self._opened, self._folder, self._empty = opened, folder, empty
        self._numbers = itertools.count()
        self._copies = itertools.count()
        self.values: dict[str, str] = {}
        self.subjects: dict[str, str] = {}
        self.erased: set[str] = set()
        self.restricted: set[str] = set()
        self.kept: dict[str, str] | None = None
        """What the tokens opened to when the backup was made."""
        self.raw: tuple[dict[str, list[dict[str, Any]]], dict[str, str]] | None = None
        """Every row of the database at some moment, and what the tokens opened to then."""
        self._logged_in_at: datetime | None = None

    @initialize()
    def begin(self) -> None:
        """Open a vault with two administrators and a few people in it."""
        self.counter = self._opened()
        self.folder = self._folder / f"yard-{id(self):x}"
        self.folder.mkdir()
        self.office.hire(self.counter.actor("admin"), "second", Role.ADMINISTRATOR)
        self.keeper = Keeper(self.counter)
        self.yard = Yard(self.counter, self.folder, "")
        self.log_in(anew=True)
        self.swap_in()

    @property
    def office(self) -> Furnished:
        """Everybody in the vault."""
        return self.counter.furnished

    def teardown(self) -> None:
        """Close it."""
        self.counter.close()

    @rule()
    def swap_in(self) -> None:
        """Swap new values for tokens."""
        numbers = [phones(1, start=next(self._numbers))[0] for _ in range(SWAPPED)]
        answers = self.counter.tokenize(*map(phone, numbers))["items"]
        for answer, value in zip(answers, numbers, strict=True):
            self.values[answer["token"]] = value
            self.subjects[answer["token"]] = answer["subject"]

    def log_in(self, *, anew: bool = False) -> None:
        """Have everybody logged in; sessions and access tokens end after a while."""
        office = self.office
        since = self._logged_in_at
        if since is not None and not anew and (office.clock.now - since).total_seconds() < LOGGED_IN_S:
            return
        for login in ("admin", "second", "officer"):
            office.actors[login] = office.login(login)
        self._logged_in_at = office.clock.now

    def _asked(self, by: str = "admin") -> Request:
        self.log_in()
        return self.office.request(self.counter.actor(by))

    def _go_on_with(self, counter: Counter) -> None:
        self.counter = self.keeper.counter = self.yard.counter = counter

    def _open_restored(self, values: dict[str, str]) -> None:
        """Open what was restored, in which the tokens open to ``values`` but for the erased."""
        office = self.office
        office.vault = open_vault(office.settings, clock=office.clock, passwords=Passwords(CHEAP))
        self._go_on_with(Counter(office))
        self.yard.let_in(self.counter)
        self.log_in(anew=True)
        self.values = {token: value for token, value in values.items() if token not in self.erased}
        self.restricted &= self.values.keys()
        # Copies of before are of a log that has ended.
        self.kept = self.raw = None


class Keeping(Kept):
    """What is done to it, and what must hold then."""

    # What people do

    @rule(at=st.integers(0, 50))
    @precondition(lambda self: self.values)
    def erase(self, at: int) -> None:
        """Erase somebody, with the officer's approval."""
        token = sorted(self.values)[at % len(self.values)]
        self.log_in()
        self.keeper.erase(self.subjects[token])
        del self.values[token]
        self.restricted.discard(token)
        self.erased.add(token)

    @rule(at=st.integers(0, 50))
    @precondition(lambda self: self.values.keys() - self.restricted)
    def restrict(self, at: int) -> None:
        """Restrict somebody; not while their key is suspended."""
        free = sorted(self.values.keys() - self.restricted)
        token = free[at % len(free)]
        if token in shut_of(self.counter, self.values):
            self.log_in()
            with pytest.raises(KeySuspendedError):
                self.keeper.restrict(self.subjects[token])
            return
        self.keeper.restrict(self.subjects[token])
        self.restricted.add(token)

    @rule(at=st.integers(0, 50))
    @precondition(lambda self: self.restricted)
    def lift(self, at: int) -> None:
        """Lift a restriction, with the officer's approval."""
        token = sorted(self.restricted)[at % len(self.restricted)]
        self.log_in()
        if token in shut_of(self.counter, self.values):
            with pytest.raises(KeySuspendedError):
                self.keeper.lift(self.subjects[token])
            return
        self.keeper.lift(self.subjects[token])
        self.restricted.remove(token)

    @rule(kind=st.sampled_from([*OTHERS, "wrapping", "wrapping", "lookup"]))
    def rotate(self, kind: str) -> None:
        """Put the next version of a key in force."""
        scope = PHONE if kind == "lookup" else ""
        # A log has eight keys at most at a time, and token keys are for ever.
        with suppress(ConflictError):
            self.counter.vault.keys.rotate(self._asked(), kind=kind, scope=scope)

    @rule(kind=st.sampled_from(["wrapping", "lookup"]), version=st.integers(1, 4))
    def compromise(self, kind: str, version: int) -> None:
        """Say that somebody else may have a key."""
        scope = PHONE if kind == "lookup" else ""
        with suppress(ConflictError, NotFoundError):
            self.counter.vault.keys.compromise(
                self._asked(), kind=kind, scope=scope, version=version, reason=WHY, everybody=False
            )

    @rule(act=st.sampled_from(["suspend", "resume"]), version=st.integers(1, 4))
    def doubt(self, act: str, version: int) -> None:
        """Have nothing open under an epoch, or again what hangs on it."""
        with suppress(ConflictError, NotFoundError):
            getattr(self.counter.vault.keys, act)(self._asked(), kind="wrapping", version=version, reason=WHY)

    @rule(job=st.sampled_from(["rewrap", "redigest", "reencrypt", "authority", "staff_data"]))
    def start(self, job: str) -> None:
        """Start work in the background, or join it."""
        keys, asked = self.counter.vault.keys, self._asked()
        with suppress(ConflictError):
            if job == "redigest":
                keys.redigest(asked, PHONE)
            elif job in OTHERS:
                keys.reseal(asked, job)
            else:
                getattr(keys, job)(asked)

    @rule(portions=st.integers(1, 8), size=st.integers(1, 4))
    def work(self, portions: int, size: int) -> None:
        """Let the node do some of what is to be done in the background."""
        for _ in range(portions):
            with suppress(RolledBackError, StaleRevisionError):
                self.counter.vault.worker.portion(size=size)

    @rule(kind=st.sampled_from(["wrapping", "lookup", *OTHERS]), version=st.integers(1, 4))
    def destroy(self, kind: str, version: int) -> None:
        """Ask for the end of a key, and have it approved; too early is refused."""
        scope = PHONE if kind == "lookup" else ""
        keys = self.counter.vault.keys
        try:
            proposed = keys.destroy(self._asked(), kind=kind, scope=scope, version=version, reason=WHY)
        except (ConflictError, NotFoundError, InvalidInputError):
            return
        self.counter.vault.approvals.decide(self._asked("second"), proposed.value.approval_id, approve=True)

    @rule()
    def change_root_key(self) -> None:
        """Seal every key under another root key."""
        change_root_key(self.office.settings, Sealing(), clock=self.office.clock)
        # The file that sealed the one before is gone, and with it what opens a raw copy.
        self.raw = None

    @rule()
    def seal_and_unseal(self) -> None:
        """Seal the vault, which gives out nothing then, and unseal it."""
        vault = self.counter.vault
        vault.seal(self._asked())
        with pytest.raises(SealedError):
            self.counter.token("010-9999-9999")
        vault.upkeep.round()
        unseal_on_host(self.office.settings, clock=self.office.clock)
        assert vault.standings.try_to_open() is None

    @rule()
    def crash(self) -> None:
        """Lose the node, but not its lease, and start another one."""
        office = self.office
        self.counter.vault.tokens.close()
        self.counter.vault.changes.database.close()
        office.vault = office.reopen()
        self._go_on_with(Counter(office))

    @rule()
    def lease_runs_out(self) -> None:
        """Let the time pass after which a lost node's work is taken over."""
        self.office.clock.pass_time(microseconds=LEASE_US)

    @rule()
    def look_after_itself(self) -> None:
        """Let the vault do what it does every half second."""
        self.counter.verify_log()

    @rule()
    def back_up(self) -> None:
        """Make a backup in the place of the one before, and keep what opens the root key of now."""
        self.counter.verify_log()
        shutil.rmtree(self.folder / "backup", ignore_errors=True)
        shutil.rmtree(self.folder / "keys", ignore_errors=True)
        self.yard.backup()
        shutil.copytree(self.office.home / "keys", self.folder / "keys")
        self.kept = dict(self.values)

    @rule()
    @precondition(lambda self: self.kept is not None)
    def restore(self) -> None:
        """Put the backup back somewhere else, with the newest file of tombstones, and go on there."""
        assert self.kept is not None
        self.counter.verify_log()
        before, home = self.office, self.folder / f"home-{next(self._copies)}"
        shutil.copytree(self.folder / "keys", home / "keys")
        outside: dict[str, Any] = {
            "tombstones": before.home / "log" / "tombstones",
            "checkpoint": before.home / "log" / "checkpoint",
            "log_keys": tuple(key.vkey for key in self.counter.vault.audit.public_keys()),
        }
        self.yard.restore(home=home, database_url=self._empty(), **outside)
        self.counter.close()
        self.office.home, self.office.settings = home, Settings.load(home)
        self._open_restored(self.kept)

    @rule()
    def copy_raw(self) -> None:
        """Copy the database as whoever owns it does."""
        self.counter.verify_log()
        self.raw = (self.yard.raw_copy(), dict(self.values))

    @rule()
    @precondition(lambda self: self.raw is not None)
    def put_raw_back(self) -> None:
        """Put that copy back in place, which has to be settled before anybody is served."""
        assert self.raw is not None
        # What was made since is not in the copy, and outside it was seen that there is more.
        self.swap_in()
        self.counter.verify_log()
        self.counter.close()
        rows, values = self.raw
        self.yard.put_back(rows, self.office.settings.database_url)
        self.yard.restore_raw(self.office.settings)
        self._open_restored(values)

    # What must hold

    @invariant()
    def a_value_opens_unless_it_was_erased_or_is_closed(self) -> None:
        """Detokenize everything."""
        asked = [*self.values, *self.erased]
        if not asked:
            return
        answers = {answer["token"]: answer for answer in self.counter.detokenize(*asked)["items"]}
        shut = shut_of(self.counter, self.values)
        closed = self.restricted | set(shut)
        free = {token: value for token, value in self.values.items() if token not in closed}
        assert {token: answers[token].get("value") for token in free} == free
        codes = {token: answers[token]["error"]["code"] for token in closed}
        assert {codes[token] for token in closed - set(shut)} <= {"subject_restricted"}
        assert set(codes.values()) <= {"subject_restricted", "key_suspended"}
        assert all("value" not in answers[token] for token in self.erased)

    @invariant()
    def a_value_is_found(self) -> None:
        """Search for the values that have been here longest."""
        shut = shut_of(self.counter, self.values)
        free = ((token, value) for token, value in self.values.items() if token not in self.restricted)
        for token, value in itertools.islice(free, 2):
            if token in shut:
                with pytest.raises(KeySuspendedError):
                    self.counter.search(PHONE, value)
                continue
            (hit,) = self.counter.search(PHONE, value)
            (answer,) = self.counter.detokenize(hit["token"])["items"]
            assert answer["value"] == value


def _run(opened: Callable[[], Counter], folder: Path, examples: int, empty: Callable[[], str]) -> None:
    run_state_machine_as_test(
        partial(Keeping, opened, folder, empty),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
            print_blob=True,
        ),
    )


SEQUENCES = {
    "an erasure is done again": ["back_up", "erase", "restore"],
    "so is one under another root key": ["erase", "change_root_key", "back_up", "erase", "restore", "erase"],
    "an erasure is done again on a raw copy": ["copy_raw", "erase", "put_raw_back"],
    "after a rotation, half moved": [
        "rotate wrapping",
        "back_up",
        "start rewrap",
        "work",
        "erase",
        "compromise",
        "restore",
        "crash",
        "erase",
        "back_up",
        "erase",
        "look_after_itself",
        "restore",
    ],
}
"""What is not left to chance: an erasure between a backup and its restore, and what is around it."""


def _step(machine: Keeping, step: str) -> None:
    name, _, more = step.partition(" ")
    arguments: dict[str, dict[str, Any]] = {
        "erase": {"at": 0},
        "rotate": {"kind": more},
        "start": {"job": more},
        "work": {"portions": 1, "size": 1},
        "compromise": {"kind": "wrapping", "version": 1},
    }
    getattr(machine, name)(**arguments.get(name, {}))
    machine.a_value_opens_unless_it_was_erased_or_is_closed()
    machine.a_value_is_found()


@pytest.mark.parametrize("steps", SEQUENCES.values(), ids=SEQUENCES)
def test_a_value_opens_unless_it_was_erased_in_the_sequences_that_matter(
    furnished_sqlite: Furnished, tmp_path: Path, steps: list[str]
) -> None:
    """On the other database the drill does it; what differs there is no order of acts."""
    numbers = itertools.count()
    machine = Keeping(
        lambda: Counter(copy(furnished_sqlite, tmp_path / f"home-{next(numbers)}")), tmp_path, lambda: ""
    )
    machine.begin()
    try:
        for step in steps:
            _step(machine, step)
        assert len(machine.erased) == steps.count("erase")
    finally:
        machine.teardown()


EXAMPLES = [3, pytest.param(200, marks=pytest.mark.soak)]


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_value_opens_unless_it_was_erased_on_sqlite(
    furnished_sqlite: Furnished, tmp_path: Path, examples: int
) -> None:
    numbers = itertools.count()
    _run(
        lambda: Counter(copy(furnished_sqlite, tmp_path / f"home-{next(numbers)}")),
        tmp_path,
        examples,
        lambda: "",
    )


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_value_opens_unless_it_was_erased_on_postgresql(
    bench_postgres: PostgresBench, postgres: PostgresCluster, tmp_path: Path, examples: int
) -> None:
    numbers = itertools.count()

    def opened() -> Counter:
        bench_postgres.clear()
        return Counter(copy(bench_postgres.template, tmp_path / f"home-{next(numbers)}", bench_postgres.url))

    made: list[str] = []

    def empty() -> str:
        made.append(postgres.create_database())
        return made[-1]

    try:
        _run(opened, tmp_path, examples, empty)
    finally:
        for url in made:
            postgres.drop_database(url)
        bench_postgres.clear()
