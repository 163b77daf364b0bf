from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from keys.envelope import DataKey
from keys.errors import KeysError, MalformedError
from keys.otp import accept_code
from keys.secret import SecretBytes, SecretText

CANARY = "canary-5e0f"
SECRETS = [SecretText(CANARY), SecretBytes(CANARY.encode())]


@pytest.fixture(params=SECRETS, ids=["text", "bytes"])
def secret(request: pytest.FixtureRequest) -> SecretText | SecretBytes:
    found: SecretText | SecretBytes = request.param
    return found


def test_exposes_what_it_holds() -> None:
    assert SecretText(CANARY).expose() == CANARY
    assert SecretBytes(b"\0\1").expose() == b"\0\1"


def test_does_not_show_in_any_text_form(secret: SecretText | SecretBytes) -> None:
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret!r}",
        f"{[secret]}",
        "%s" % secret,  # noqa: UP031 (one of the forms)
    ]
    assert not [text for text in shown if CANARY in text]
    assert not hasattr(secret, "__dict__")


def test_refuses_to_be_pickled(secret: SecretText | SecretBytes) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(secret, protocol)


def test_refuses_to_be_copied(secret: SecretText | SecretBytes) -> None:
    with pytest.raises(TypeError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        copy.deepcopy([secret])


def test_refuses_to_be_compared_or_hashed(secret: SecretText | SecretBytes) -> None:
    with pytest.raises(TypeError):
        _ = secret == secret  # noqa: PLR0124 (the point of the test)
    with pytest.raises(TypeError):
        _ = secret != CANARY
    with pytest.raises(TypeError):
        hash(secret)


def locals_of(error: KeysError) -> str:
    found = traceback.TracebackException.from_exception(error, capture_locals=True)
    # The frames of the package, not that of the test, which holds the canary itself.
    return "\n".join(
        str(frame.locals)
        for frame in found.stack
        if "/keys/" in frame.filename[-20:] and "test_" not in frame.filename
    )


def test_key_of_wrong_length_does_not_show_in_the_traceback() -> None:
    with pytest.raises(MalformedError) as caught:
        DataKey(1, SecretBytes(CANARY.encode()))
    assert "<secret>" in locals_of(caught.value)
    assert CANARY not in locals_of(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_second_factor_secret_does_not_show_in_the_traceback() -> None:
    with pytest.raises(MalformedError) as caught:
        accept_code(SecretText(CANARY), "123456", 0, -1)
    assert "<secret>" in locals_of(caught.value)
    assert CANARY not in locals_of(caught.value)
