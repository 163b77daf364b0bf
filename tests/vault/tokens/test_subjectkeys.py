"""Held data keys: bounded, and dropped whole."""

from __future__ import annotations

import pytest

from keys.envelope import DataKey
from keys.keyring import Keyring
from keys.secret import SecretBytes
from vault.domain.model import SubjectState
from vault.storage.hot import HotConnection
from vault.tokens import subjectkeys
from vault.tokens.subjectkeys import SubjectKeyCache, SubjectKeys


def _subject(number: int) -> SubjectKeys:
    return SubjectKeys(number, bytes(8), "member", bytes(16), SubjectState.OPEN, {}, 1)


def _keys(count: int) -> dict[int, DataKey]:
    return {at: DataKey(at, SecretBytes(bytes(32))) for at in range(1, count + 1)}


def test_the_one_key_of_an_open_subject_is_at_hand() -> None:
    subject = _subject(1)
    subject.by_generation = _keys(1)
    assert subject.ready().sole is subject.by_generation[1]


@pytest.mark.parametrize("count", [0, 2])
def test_a_subject_with_another_number_of_keys_has_none_at_hand(count: int) -> None:
    subject = _subject(1)
    subject.by_generation = _keys(count)
    assert subject.ready().sole is None


@pytest.mark.parametrize("state", [state for state in SubjectState if state is not SubjectState.OPEN])
def test_a_subject_that_is_not_open_has_none_at_hand(state: SubjectState) -> None:
    subject = _subject(1)
    subject.by_generation, subject.state = _keys(1), state
    assert subject.ready().sole is None


def test_a_broken_subject_has_none_at_hand() -> None:
    subject = _subject(1)
    subject.by_generation, subject.broken = _keys(1), True
    assert subject.ready().sole is None


def test_a_suspect_key_opens_and_seals_nothing() -> None:
    subject = _subject(1)
    subject.by_generation, subject.suspect = _keys(1), frozenset({1})
    subject.ready()
    assert (subject.sole, subject.sealing) == (subject.by_generation[1], None)


def test_the_newest_key_seals_though_an_older_one_is_suspect() -> None:
    subject = _subject(1)
    subject.by_generation, subject.newest, subject.suspect = _keys(2), 2, frozenset({1})
    assert subject.ready().sealing is subject.by_generation[2]


class Asked(Exception):  # noqa: N818 - it is an answer
    """The database was asked."""


class NoConnection:
    """Whatever is not held has to be asked for."""

    def __getattr__(self, name: str) -> object:
        raise Asked


def _held(cache: SubjectKeyCache, number: int, keyring: Keyring, connection: HotConnection) -> bool:
    try:
        return number in cache.fetch([number], keyring, connection)
    except Asked:
        return False


def test_holds_so_many_and_then_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjectkeys, "HELD", 3)
    cache = SubjectKeyCache()
    keyring: Keyring = object.__new__(Keyring)
    connection: HotConnection = NoConnection()  # type: ignore[assignment]
    for number in range(1, 4):
        cache.add(_subject(number))
    assert all(_held(cache, number, keyring, connection) for number in (1, 2, 3))
    cache.add(_subject(4))
    assert [_held(cache, number, keyring, connection) for number in (1, 2, 3, 4)] == [
        False,
        False,
        False,
        True,
    ]
    cache.drop()
    assert not _held(cache, 4, keyring, connection)


def test_forgets_whom_it_is_told_to() -> None:
    cache = SubjectKeyCache()
    keyring: Keyring = object.__new__(Keyring)
    connection: HotConnection = NoConnection()  # type: ignore[assignment]
    for number in (1, 2):
        cache.add(_subject(number))
    cache.forget([1, 7])
    assert [_held(cache, number, keyring, connection) for number in (1, 2)] == [False, True]
