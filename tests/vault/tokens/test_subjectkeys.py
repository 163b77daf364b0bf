"""Held data keys: bounded, and dropped whole."""

from __future__ import annotations

import pytest

from keys.keyring import Keyring
from vault.domain.model import SubjectState
from vault.storage.hot import HotConnection
from vault.tokens import subjectkeys
from vault.tokens.subjectkeys import SubjectKeyCache, SubjectKeys


def _subject(number: int) -> SubjectKeys:
    return SubjectKeys(number, bytes(8), "member", bytes(16), SubjectState.OPEN, {}, 1)


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
