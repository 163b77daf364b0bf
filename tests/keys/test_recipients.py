"""Files sealed to recipients: who opens them, and what of a damaged one is refused."""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator

import pytest

from keys.errors import DecryptionError, MalformedError
from keys.recipients import Identities, Recipients, new_identity
from keys.secret import SecretText

TEXT = [b"values of ", b"", b"a vault " * 20_000, b"end"]


def sealed(*recipients: str) -> bytes:
    file = io.BytesIO()
    Recipients(recipients).seal(TEXT, file)
    return file.getvalue()


def opened(data: bytes, *identities: SecretText) -> bytes:
    pieces: list[bytes] = []
    Identities(identities).open(io.BytesIO(data), pieces.append)
    return b"".join(pieces)


def test_each_recipient_opens_the_file() -> None:
    first, second = new_identity(), new_identity()
    data = sealed(first[1], second[1])
    assert data.startswith(b"age-encryption.org/v1\n")
    assert opened(data, first[0]) == opened(data, second[0]) == b"".join(TEXT)


def test_an_identity_file_has_comments_and_several_identities() -> None:
    (secret, recipient), (other, _) = new_identity(), new_identity()
    file = SecretText(f"# created: today\n# public key: {recipient}\n{other.expose()}\n\n{secret.expose()}\n")
    assert opened(sealed(recipient), file) == b"".join(TEXT)


def test_a_recipient_named_twice_is_one() -> None:
    _, recipient = new_identity()
    assert Recipients([recipient, f" {recipient}\n"]).texts == (recipient,)


def test_somebody_else_opens_nothing() -> None:
    stranger, _ = new_identity()
    with pytest.raises(DecryptionError):
        opened(sealed(new_identity()[1]), stranger)


@pytest.mark.parametrize("damage", ["cut", "changed", "swapped", "none"])
def test_a_damaged_file_is_refused(damage: str) -> None:
    secret, recipient = new_identity()
    data, other = sealed(recipient), sealed(recipient)
    damaged = {
        "cut": data[:-70_000],
        "changed": data[:-1] + bytes([data[-1] ^ 1]),
        "swapped": data[: len(data) // 2] + other[len(data) // 2 :],
        "none": b"",
    }
    with pytest.raises(DecryptionError):
        opened(damaged[damage], secret)


@pytest.mark.parametrize("text", ["", "age1", "AGE-SECRET-KEY-1QQQ", "ssh-ed25519 AAAA", "age1é"])
def test_refuses_what_is_no_recipient_without_showing_it(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Recipients([text])
    assert caught.value.rule == "recipient"
    assert not text or text not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("text", "rule"), [("AGE-SECRET-KEY-1CANARY", "identity"), ("# none", "identities")])
def test_refuses_what_is_no_identity_without_showing_it(text: str, rule: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Identities([SecretText(text)])
    assert caught.value.rule == rule
    assert "CANARY" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__context__ is None


def test_needs_a_recipient() -> None:
    with pytest.raises(MalformedError) as caught:
        Recipients([])
    assert caught.value.rule == "recipients"


class FullDiskError(OSError):
    """No space left."""


def test_what_reading_and_writing_raise_comes_through() -> None:
    secret, recipient = new_identity()

    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise FullDiskError

    def take(_data: bytes) -> None:
        raise FullDiskError

    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise FullDiskError

    with pytest.raises(FullDiskError):
        Recipients([recipient]).seal(chunks(), io.BytesIO())
    with pytest.raises(FullDiskError):
        Recipients([recipient]).seal(TEXT, Full())
    with pytest.raises(FullDiskError):
        Identities([secret]).open(io.BytesIO(sealed(recipient)), take)
