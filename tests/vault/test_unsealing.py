"""Unseal by hand: shares in any order, one passphrase at a time, and what is refused on the way."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from argon2.exceptions import HashingError
from sqlalchemy import update

from keys.errors import WrapperUnavailableError
from keys.rootkey import RootKey
from keys.secret import SecretBytes, SecretText
from keys.wrappers.passphrase import PassphraseWrapper
from keys.wrappers.shamir import ShamirWrapper
from tests.support.furnished import POLICY, START
from vault.access.entries import Request
from vault.access.standing import Standing, Standings, Why
from vault.access.unsealing import UNSEALER, unseal
from vault.assembly import (
    New,
    Person,
    Policy,
    Sealing,
    Settings,
    change_root_key,
    initialise,
    open_or_wait,
    unseal_on_host,
)
from vault.assembly.rootkeys import RootChange
from vault.audit.entry import Entry, decode
from vault.domain.errors import ConflictError, InvalidInputError, TooManyAttemptsError, UnavailableError
from vault.domain.ids import RequestId
from vault.domain.model import Origin, Role
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.log import read_entries
from vault.storage.maintenance import clear_sealed, set_sealed

PASSPHRASE = "correct horse 배터리 staple"
ORIGIN = Origin(RequestId("req_" + "0" * 32), "127.0.0.1")


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, **parts: float) -> None:
        self.now += timedelta(**parts)


class Bench:
    """A vault that starts sealed, and what opens it."""

    def __init__(self, home: Path, url: str, root: New) -> None:
        self.clock = Clock()
        made = initialise(
            home,
            policy=Policy.parse(POLICY.read_text(encoding="utf-8")),
            administrator=Person(login="admin", name="Admin Park", role=Role.ADMINISTRATOR),
            officer=Person(login="officer", name="Officer Lee", role=Role.OFFICER),
            database_url=url,
            sealing=Sealing(root=root, ask=lambda _what: SecretText(PASSPHRASE)),
            now=START,
        )
        self.settings: Settings = made.settings
        self.shares = [share.expose() for share in made.shares]
        self.nodes: list[Vault] = []

    def start(self) -> Vault:
        vault = open_or_wait(self.settings, clock=self.clock)
        self.nodes.append(vault)
        assert vault.standings.sealed is not None
        assert vault.standings.sealed.why is Why.WAITING
        return vault

    def share(self, vault: Vault, text: str) -> int | None:
        return vault.unsealing.share(text, origin=ORIGIN, now_us=vault.now_us())

    def passphrase(self, vault: Vault, text: str) -> int:
        return vault.unsealing.passphrase(text, origin=ORIGIN, now_us=vault.now_us())

    def refused(self, act: Callable[[], object]) -> str:
        """Return the rule of the refusal; then let the wait after it pass."""
        with pytest.raises(InvalidInputError) as caught:
            act()
        assert all(word not in str(caught.value) for word in ("acid", "stable"))
        with pytest.raises(TooManyAttemptsError):
            act()
        self.clock.pass_time(minutes=1)
        return caught.value.rule

    def log(self, vault: Vault) -> list[Entry]:
        with vault.changes.database.reading() as connection:
            return [decode(row.body) for row in read_entries(connection, 0, 1 << 62)]


@pytest.fixture
def in_shares(tmp_path: Path, migrated_url: str) -> Iterator[Bench]:
    bench = Bench(tmp_path / "home", migrated_url, New("shamir", threshold=2, shares=3))
    yield bench
    for vault in bench.nodes:
        vault.close()


@pytest.fixture
def in_words(tmp_path: Path, migrated_url: str) -> Iterator[Bench]:
    bench = Bench(tmp_path / "home", migrated_url, New("passphrase"))
    yield bench
    for vault in bench.nodes:
        vault.close()


def test_shares_open_in_any_order(in_shares: Bench) -> None:
    vault = in_shares.start()
    assert in_shares.share(vault, in_shares.shares[2]) is None
    state = vault.unsealing.state()
    assert (state.why, state.holder, state.given, state.needed) == (Why.WAITING, "shamir", 1, 2)
    assert in_shares.share(vault, in_shares.shares[0]) == 1
    assert not vault.is_sealed
    assert vault.unsealing.state().given == 0
    said = in_shares.log(vault)[1]
    assert (said.action, said.actor.id, said.origin.address) == ("vault:unseal", "unseal", "127.0.0.1")
    assert dict(said.target) == {"flag": "clear", "holder": "shamir", "shares": "2", "version": "1"}
    vault.upkeep.round()
    assert vault.upkeep.health.trouble == ""


def test_refused_shares_leave_the_others_and_are_counted_in_the_log(in_shares: Bench) -> None:
    vault = in_shares.start()
    first, second, _ = in_shares.shares
    foreign = ShamirWrapper.create(2, 3)[1][0].expose()
    words = first.split()
    in_shares.share(vault, first)
    mistyped = " ".join([*words[:-1], "acid" if words[-1] != "acid" else "acne"])
    assert in_shares.refused(lambda: in_shares.share(vault, mistyped)) == "share_malformed"
    assert in_shares.refused(lambda: in_shares.share(vault, first)) == "share_duplicate"
    assert in_shares.refused(lambda: in_shares.share(vault, foreign)) == "share_of_another_set"
    assert vault.unsealing.state().given == 1
    assert in_shares.share(vault, second) == 1
    in_shares.clock.pass_time(minutes=1)
    vault.upkeep.round()
    counted = [entry for entry in in_shares.log(vault) if entry.outcome == "refused"]
    assert sorted(entry.decision.rule for entry in counted) == [
        "share_duplicate",
        "share_malformed",
        "share_of_another_set",
    ]
    assert {(entry.action, entry.origin.address) for entry in counted} == {("vault:unseal", "127.0.0.1")}


def test_shares_of_another_root_key_are_dropped_all(in_shares: Bench) -> None:
    vault = in_shares.start()
    others = ShamirWrapper.create(2, 3)[1]
    in_shares.share(vault, others[0].expose())
    assert in_shares.refused(lambda: in_shares.share(vault, in_shares.shares[0])) == "share_of_another_set"
    with pytest.raises(InvalidInputError) as caught:
        in_shares.share(vault, others[1].expose())
    assert caught.value.rule == "shares_mismatch"
    assert vault.unsealing.state().given == 0
    assert vault.is_sealed
    in_shares.clock.pass_time(minutes=1)
    for share in in_shares.shares[:2]:
        in_shares.share(vault, share)
    assert not vault.is_sealed


def test_shares_that_nobody_adds_to_are_dropped(in_shares: Bench) -> None:
    vault = in_shares.start()
    in_shares.share(vault, in_shares.shares[0])
    in_shares.clock.pass_time(minutes=9)
    vault.upkeep.round()
    assert vault.unsealing.state().given == 1
    in_shares.clock.pass_time(minutes=2)
    vault.upkeep.round()
    assert vault.unsealing.state().given == 0
    in_shares.share(vault, in_shares.shares[0])
    in_shares.clock.pass_time(minutes=11)
    assert in_shares.share(vault, in_shares.shares[1]) is None


def test_each_node_in_shares_needs_its_own_unseal(in_shares: Bench) -> None:
    one, other = in_shares.start(), in_shares.start()
    for share in in_shares.shares[:2]:
        in_shares.share(one, share)
    other.upkeep.round()
    assert (one.is_sealed, other.is_sealed) == (False, True)
    for share in in_shares.shares[1:]:
        in_shares.share(other, share)
    assert [entry.action for entry in in_shares.log(one)] == ["vault:init", *["vault:unseal"] * 2]


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object]) -> None:
    """Have others ``act`` each time that an unseal has read what stands, before it appends."""
    read, times = Standings.read_with, itertools.count()

    def reading(standings: Standings, root: RootKey) -> tuple[Standing, bool] | None:
        found = read(standings, root)
        act(next(times))
        return found

    monkeypatch.setattr(Standings, "read_with", reading)


def opened_by_one(bench: Bench) -> tuple[Vault, Vault]:
    """Return a node that was unsealed, and another that lacks one share."""
    one, other = bench.start(), bench.start()
    for share in bench.shares[:2]:
        bench.share(one, share)
    bench.share(other, bench.shares[0])
    return one, other


def raise_revision(vault: Vault, *, sealed: bool = False) -> None:
    """Do what any change to what decisions rest on does to the counter; or what a seal does."""
    with vault.changes.database.writing() as connection:
        connection.execute(update(tables.counter).values(revision=tables.counter.c.revision + 1))
        if sealed:
            set_sealed(connection)


def test_a_seal_while_shares_are_opened_wins(in_shares: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = opened_by_one(in_shares)
    meanwhile(monkeypatch, lambda _: raise_revision(one, sealed=True))
    with pytest.raises(ConflictError, match="sealed meanwhile"):
        in_shares.share(other, in_shares.shares[1])
    assert other.is_sealed
    assert one.counts().sealed_everywhere
    assert in_shares.log(one)[-1].action == "vault:unseal"


def test_a_seal_after_another_change_wins_too(in_shares: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = opened_by_one(in_shares)
    read = Standings.read_with

    def reading(standings: Standings, root: RootKey) -> tuple[Standing, bool] | None:
        found = read(standings, root)
        if found is not None and not found[1]:
            raise_revision(one)
            # The append finds another revision; before it is read again, an administrator seals.
            monkeypatch.setattr(Standings, "read_with", sealed_first)
        return found

    def sealed_first(standings: Standings, root: RootKey) -> tuple[Standing, bool] | None:
        raise_revision(one, sealed=True)
        return read(standings, root)

    monkeypatch.setattr(Standings, "read_with", reading)
    with pytest.raises(ConflictError, match="sealed meanwhile"):
        in_shares.share(other, in_shares.shares[1])
    assert one.counts().sealed_everywhere


def seal_again(vault: Vault) -> None:
    """Do what an unseal elsewhere does to the counter, and a seal right after it."""
    with vault.changes.database.writing() as connection:
        assert clear_sealed(connection)
    raise_revision(vault)
    raise_revision(vault, sealed=True)


def test_a_seal_between_two_shares_wins_and_they_are_dropped(in_shares: Bench) -> None:
    one, other = opened_by_one(in_shares)
    raise_revision(one, sealed=True)
    for vault in (one, other):
        vault.upkeep.round()
    with pytest.raises(ConflictError, match="sealed meanwhile"):
        in_shares.share(other, in_shares.shares[1])
    assert one.counts().sealed_everywhere
    assert other.unsealing.state().given == 0
    for share in in_shares.shares[:2]:
        in_shares.share(other, share)
    assert dict(in_shares.log(one)[-1].target)["flag"] == "cleared"
    assert not other.counts().sealed


def test_a_second_seal_is_not_undone_by_an_unseal_of_the_first(
    in_shares: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = in_shares.start()
    raise_revision(one, sealed=True)
    other = open_or_wait(in_shares.settings, clock=in_shares.clock)
    in_shares.nodes.append(other)
    in_shares.share(other, in_shares.shares[0])
    meanwhile(monkeypatch, lambda times: None if times else seal_again(one))
    with pytest.raises(ConflictError, match="sealed meanwhile"):
        in_shares.share(other, in_shares.shares[1])
    assert one.counts().sealed_everywhere


def test_a_seal_while_somebody_types_on_the_host_wins(in_words: Bench) -> None:
    vault = in_words.start()
    raise_revision(vault, sealed=True)

    def slow(_what: str) -> SecretText:
        seal_again(vault)
        return SecretText(PASSPHRASE)

    with pytest.raises(ConflictError, match="sealed meanwhile"):
        unseal_on_host(in_words.settings, ask=slow, clock=in_words.clock)
    assert vault.counts().sealed_everywhere
    unseal_on_host(in_words.settings, ask=lambda _: SecretText(PASSPHRASE), clock=in_words.clock)
    assert not vault.counts().sealed_everywhere


def test_a_seal_while_a_passphrase_is_tried_wins(in_words: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = in_words.start()
    unwrap = PassphraseWrapper.unwrap

    def slow(wrapper: PassphraseWrapper, wrapped: bytes, context: bytes) -> SecretBytes:
        raise_revision(vault, sealed=True)
        return unwrap(wrapper, wrapped, context)

    monkeypatch.setattr(PassphraseWrapper, "unwrap", slow)
    with pytest.raises(ConflictError, match="sealed meanwhile"):
        in_words.passphrase(vault, PASSPHRASE)
    assert vault.counts().sealed_everywhere


def test_other_changes_meanwhile_do_not_stop_an_unseal(
    in_shares: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = opened_by_one(in_shares)
    meanwhile(monkeypatch, lambda times: raise_revision(one) if times < 3 else None)
    assert in_shares.share(other, in_shares.shares[1]) == 2
    assert not other.is_sealed


def test_an_unseal_that_is_always_overtaken_gives_up(
    in_shares: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = opened_by_one(in_shares)
    meanwhile(monkeypatch, lambda _: raise_revision(one))
    with pytest.raises(ConflictError, match="by others"):
        in_shares.share(other, in_shares.shares[1])
    assert other.is_sealed


def test_another_root_key_unseals_nothing(in_shares: Bench) -> None:
    vault = in_shares.start()
    request = Request(actor=UNSEALER, origin=ORIGIN, now_us=vault.now_us())
    with vault.changes.database.reading() as connection:
        begun = vault.changes.database.counter(connection)
    with pytest.raises(ConflictError, match="another root key"):
        unseal(vault.changes.database, vault.standings, RootKey.generate(2), request, target={}, begun=begun)


def test_without_memory_for_the_hash_it_is_no_wrong_passphrase(
    in_words: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = in_words.start()

    def exhausted(*_: object, **_more: object) -> bytes:
        raise HashingError

    with monkeypatch.context() as patched:
        patched.setattr("keys.wrappers.passphrase.hash_secret_raw", exhausted)
        with pytest.raises(UnavailableError, match="free 256 MiB"):
            in_words.passphrase(vault, PASSPHRASE)
    assert in_words.passphrase(vault, PASSPHRASE) == 1
    assert vault.standings.try_to_open() is None


def test_what_the_wrapper_refuses_to_be_made_of_is_a_refusal(
    in_words: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = in_words.start()

    def refuses(*_: object, **_more: object) -> bytes:
        raise WrapperUnavailableError("format", "a passphrase is not like this")

    with monkeypatch.context() as patched:
        patched.setattr("keys.wrappers.passphrase.hash_secret_raw", refuses)
        with pytest.raises(InvalidInputError):
            in_words.passphrase(vault, PASSPHRASE)
    in_words.clock.pass_time(minutes=1)
    assert in_words.passphrase(vault, PASSPHRASE) == 1


def test_a_root_key_changed_meanwhile_is_not_opened(in_shares: Bench) -> None:
    vault = in_shares.start()
    in_shares.share(vault, in_shares.shares[0])
    rest = list(in_shares.shares)
    change_root_key(
        in_shares.settings,
        Sealing(root=New("file")),
        ask=lambda _what: SecretText(rest.pop(0)),
        clock=in_shares.clock,
    )
    with pytest.raises(ConflictError, match="held by file"):
        in_shares.share(vault, in_shares.shares[1])
    in_shares.clock.pass_time(seconds=6)
    vault.upkeep.round()
    assert not vault.is_sealed


def test_a_new_passphrase_is_brought_to_a_running_server_without_a_restart(in_words: Bench) -> None:
    vault = in_words.start()
    in_words.passphrase(vault, PASSPHRASE)
    told: list[RootChange] = []
    change_root_key(
        in_words.settings,
        Sealing(ask=lambda _what: SecretText("another long passphrase")),
        told.append,
        ask=lambda _what: SecretText(PASSPHRASE),
        clock=in_words.clock,
    )
    assert told[0].by_people
    vault.upkeep.round()
    state = vault.unsealing.state()
    assert (state.why, state.holder, state.by_people) == (Why.WAITING, "passphrase", True)
    assert not vault.counts().sealed_everywhere
    vault.upkeep.round()
    assert vault.unsealing.state().why is Why.WAITING
    assert in_words.refused(lambda: in_words.passphrase(vault, PASSPHRASE)) == "wrong"
    in_words.passphrase(vault, "another long passphrase")
    assert (vault.is_sealed, vault.unsealing.state().why) == (False, None)
    vault.upkeep.round()
    assert vault.upkeep.health.trouble == ""
    made = [entry.action for entry in in_words.log(vault) if entry.outcome != "refused"]
    assert made[-3:] == ["vault:unseal", "key:root", "vault:unseal"]


def test_a_passphrase_opens_and_another_is_slowed_down(in_words: Bench) -> None:
    vault = in_words.start()
    waits = []
    for _ in range(3):
        with pytest.raises(InvalidInputError) as caught:
            in_words.passphrase(vault, "correct horse 배터리 stable")
        assert (caught.value.field, caught.value.rule) == ("passphrase", "wrong")
        assert "stable" not in str(caught.value)
        with pytest.raises(TooManyAttemptsError) as early:
            in_words.passphrase(vault, PASSPHRASE)
        waits.append(early.value.retry_after)
        in_words.clock.pass_time(seconds=early.value.retry_after)
    assert waits == [1, 2, 4]
    assert in_words.passphrase(vault, PASSPHRASE) == 1
    assert not vault.is_sealed
    in_words.clock.pass_time(minutes=1)
    vault.upkeep.round()
    assert sum(entry.count for entry in in_words.log(vault) if entry.outcome == "refused") == 3


def test_one_passphrase_is_tried_at_a_time(in_words: Bench) -> None:
    vault = in_words.start()
    with vault.unsealing._inner._alone(), pytest.raises(TooManyAttemptsError, match="somebody else"):
        in_words.passphrase(vault, PASSPHRASE)
    thread = threading.Thread(target=in_words.passphrase, args=(vault, PASSPHRASE))
    thread.start()
    thread.join()
    assert not vault.is_sealed


def test_shares_are_not_taken_where_a_passphrase_opens(in_words: Bench) -> None:
    with pytest.raises(ConflictError, match="held by passphrase"):
        in_words.share(in_words.start(), "academic")


def test_a_passphrase_is_not_taken_where_shares_open(in_shares: Bench) -> None:
    with pytest.raises(ConflictError, match="held by shamir"):
        in_shares.passphrase(in_shares.start(), PASSPHRASE)


def test_what_was_given_is_not_kept(in_words: Bench) -> None:
    vault = in_words.start()
    needle = "not the passphrase " + "7" * 20
    with pytest.raises(InvalidInputError):
        in_words.passphrase(vault, needle)
    gc.collect()
    kept = [found for found in gc.get_objects() if isinstance(found, SecretText) and found.expose() == needle]
    assert kept == []
