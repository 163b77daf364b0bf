from __future__ import annotations

import pickle

import pytest

from keys.errors import (
    CredentialExpiredError,
    CredentialMismatchError,
    DecryptionError,
    IllegalTransitionError,
    KeysError,
    MalformedError,
    UnknownKeyVersionError,
    VerificationError,
    WrapperUnavailableError,
)

EVERY = [
    DecryptionError(),
    VerificationError(),
    MalformedError("shape"),
    UnknownKeyVersionError("wrapping//1"),
    WrapperUnavailableError("permissions", "key file /x"),
    CredentialMismatchError(),
    CredentialExpiredError(),
    IllegalTransitionError("active", "destroyed"),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_every_error_belongs_to_the_tree_and_crosses_processes(error: KeysError) -> None:
    assert isinstance(error, KeysError)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (made on the line itself)
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_tree_is_complete() -> None:
    def below(cls: type[KeysError]) -> set[type[KeysError]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    assert below(KeysError) - {KeysError} == {type(error) for error in EVERY}


def test_wrapper_error_says_the_rule_without_a_message() -> None:
    assert str(WrapperUnavailableError("missing")) == "root key unavailable: missing"
