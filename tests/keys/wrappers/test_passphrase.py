from __future__ import annotations

import os
import pickle
import struct
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import normalize

import pytest
from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from keys.context import encode_context
from keys.errors import DecryptionError, KeysError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes, SecretText
from keys.wrappers import KeyWrapper, passphrase
from keys.wrappers.passphrase import Argon2Cost, PassphraseWrapper, read_passphrase

TEXT = "금고의 열쇠는 서랍 속에 있다"
KEY = bytes(range(32))
CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
WRAPPER = PassphraseWrapper(SecretText(TEXT), CHEAP)
WRAPPED = WRAPPER.wrap(SecretBytes(KEY), b"context")
HEADER = struct.Struct(">BIIB16s")

EARLIER = bytes.fromhex(
    "02000000080000000101e8d2e5f3e75083c31bc4ec8bac85c5cf01fcb6a8ec27599572d0aaa5765063c2bdf199a7472b78"
    "80f616979d96afc6966d24139384fc2efc9c816ad8e84f9a9efc395821e04d204a8d1ea8f6c9"
)
"""``KEY`` under ``TEXT``, wrapped in ``context`` when the format was made."""


def opened(wrapper: KeyWrapper, wrapped: bytes, context: bytes = b"context") -> bytes:
    return wrapper.unwrap(wrapped, context).expose()


def asking(memory_kib: int, passes: int, lanes: int) -> bytes:
    """Return ``WRAPPED`` with another cost in its header."""
    return HEADER.pack(2, memory_kib, passes, lanes, WRAPPED[10:26]) + WRAPPED[26:]


TESTS = Path(__file__).parents[2]


def everything_told_by(error: BaseException) -> str:
    """Return what an error reporter would send: texts and local variables, of the whole chain."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    # The frames of the test know the secret; those of the product are under test.
    report.stack[:] = [frame for frame in report.stack if not Path(frame.filename).is_relative_to(TESTS)]
    assert error.__context__ is None
    return "".join(report.format()) + repr(error.args)


@contextmanager
def written(data: bytes) -> Iterator[int]:
    """Give a descriptor that has ``data`` to read."""
    reader, writer = os.pipe()
    try:
        os.write(writer, data)
        os.close(writer)
        yield reader
    finally:
        os.close(reader)


@pytest.fixture
def no_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    def paid(*_arguments: object, **_cost: object) -> bytes:
        pytest.fail("a key was derived")

    monkeypatch.setattr(passphrase, "hash_secret_raw", paid)


# Wrapping


@given(key=st.binary(min_size=32, max_size=32), context=st.binary(max_size=200))
def test_opens_what_it_wrapped(key: bytes, context: bytes) -> None:
    assert opened(WRAPPER, WRAPPER.wrap(SecretBytes(key), context), context) == key


def test_opens_what_was_wrapped_earlier() -> None:
    assert opened(WRAPPER, EARLIER) == KEY


def test_layout_is_that_of_the_document() -> None:
    header, nonce, sealed = WRAPPED[:26], WRAPPED[27:39], WRAPPED[39:]
    assert len(WRAPPED) == 87
    assert HEADER.unpack(header)[:4] == (2, 8, 1, 1)
    assert WRAPPED[26] == 1
    derived = hash_secret_raw(TEXT.encode(), header[10:], 1, 8, 1, 32, Type.ID, 0x13)
    associated = encode_context(b"piivault/passphrase-wrap/v1", header, b"context")
    assert AESGCM(derived).decrypt(nonce, sealed, associated) == KEY


def test_salt_and_nonce_are_drawn_anew() -> None:
    again = WRAPPER.wrap(SecretBytes(KEY), b"context")
    assert again[10:26] != WRAPPED[10:26]
    assert again[27:39] != WRAPPED[27:39]


def test_cost_of_the_header_counts_not_that_of_the_reader() -> None:
    assert opened(PassphraseWrapper(SecretText(TEXT), Argon2Cost(16, 2, 2)), WRAPPED) == KEY


def test_default_cost_is_that_of_the_document() -> None:
    assert PassphraseWrapper(SecretText(TEXT)).describe() == "passphrase, Argon2id with m=262144 t=3 p=4"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_one_passphrase_typed_on_two_keyboards_is_one(form: str) -> None:
    typed = SecretText(normalize(form, TEXT))  # type: ignore[arg-type]
    assert opened(PassphraseWrapper(typed, CHEAP), WRAPPED) == KEY
    assert opened(WRAPPER, PassphraseWrapper(typed, CHEAP).wrap(SecretBytes(KEY), b"context")) == KEY


def test_full_width_letters_are_other_letters() -> None:
    # NFC, as the document has it: NFKC would take these for one passphrase.
    wide = PassphraseWrapper(SecretText("ｐassphrase of the vault"), CHEAP)
    with pytest.raises(DecryptionError):
        opened(
            wide,
            PassphraseWrapper(SecretText("passphrase of the vault"), CHEAP).wrap(SecretBytes(KEY), b""),
            b"",
        )


def test_refuses_another_passphrase() -> None:
    with pytest.raises(DecryptionError):
        opened(PassphraseWrapper(SecretText(TEXT + "."), CHEAP), WRAPPED)


@pytest.mark.parametrize("context", [b"", b"contex", b"context ", b"another"])
def test_refuses_another_context(context: bytes) -> None:
    with pytest.raises(DecryptionError):
        opened(WRAPPER, WRAPPED, context)


@pytest.mark.parametrize("place", range(87))
def test_refuses_a_changed_byte(place: int) -> None:
    changed = bytearray(WRAPPED)
    changed[place] ^= 1
    with pytest.raises(DecryptionError):
        opened(WRAPPER, bytes(changed))


@pytest.mark.parametrize("length", [0, 1, 25, 26, 54, 86])
@pytest.mark.usefixtures("no_derivation")
def test_refuses_what_is_cut_short(length: int) -> None:
    with pytest.raises(DecryptionError):
        opened(WRAPPER, WRAPPED[:length])


@pytest.mark.usefixtures("no_derivation")
def test_refuses_a_longer_text_before_deriving() -> None:
    # Long enough, it could have been made to open under many passphrases at once.
    with pytest.raises(DecryptionError):
        opened(WRAPPER, WRAPPED + b"\0")


@pytest.mark.parametrize("version", [0, 1, 3, 255])
@pytest.mark.usefixtures("no_derivation")
def test_refuses_another_version_before_deriving(version: int) -> None:
    with pytest.raises(DecryptionError):
        opened(WRAPPER, bytes([version]) + WRAPPED[1:])


OUT_OF_BOUNDS = [
    (2**21 + 1, 1, 1),
    (2**32 - 1, 1, 1),
    (8, 17, 1),
    (8, 2**32 - 1, 1),
    (8 * 17, 1, 17),
    (2**21, 1, 255),
    (0, 1, 1),
    (7, 1, 1),
    (15, 1, 2),
    (8, 0, 1),
    (8, 1, 0),
]


@pytest.mark.parametrize("cost", OUT_OF_BOUNDS)
@pytest.mark.usefixtures("no_derivation")
def test_refuses_a_cost_out_of_bounds_before_paying_it(cost: tuple[int, int, int]) -> None:
    with pytest.raises(DecryptionError):
        opened(WRAPPER, asking(*cost))
    with pytest.raises(MalformedError, match="argon2_cost"):
        Argon2Cost(*cost)


@pytest.mark.parametrize("cost", [(2**21, 16, 16), (8, 1, 1), (128, 1, 16)])
def test_takes_a_cost_at_the_bounds(cost: tuple[int, int, int]) -> None:
    assert Argon2Cost(*cost).memory_kib == cost[0]


@pytest.mark.usefixtures("no_derivation")
def test_refuses_to_wrap_under_a_short_passphrase() -> None:
    with pytest.raises(MalformedError, match="passphrase_length"):
        PassphraseWrapper(SecretText("eleven char"), CHEAP).wrap(SecretBytes(KEY), b"")


def test_counts_characters_as_composed() -> None:
    decomposed = normalize("NFD", "열한글자만으로는안된다")
    assert len(decomposed) > 12
    with pytest.raises(MalformedError, match="passphrase_length"):
        PassphraseWrapper(SecretText(decomposed), CHEAP).wrap(SecretBytes(KEY), b"")
    PassphraseWrapper(SecretText(decomposed + "!"), CHEAP).wrap(SecretBytes(KEY), b"")


def test_a_short_passphrase_is_not_told_apart_when_it_unwraps() -> None:
    for short in ("", "short"):
        with pytest.raises(DecryptionError):
            opened(PassphraseWrapper(SecretText(short), CHEAP), WRAPPED)


@pytest.mark.parametrize("length", [0, 3, 31, 33, 64])
@pytest.mark.usefixtures("no_derivation")
def test_refuses_to_wrap_what_is_no_key(length: int) -> None:
    with pytest.raises(MalformedError, match="key_length"):
        WRAPPER.wrap(SecretBytes(bytes(length)), b"")


@pytest.mark.usefixtures("no_derivation")
def test_refuses_a_context_too_long_before_deriving() -> None:
    with pytest.raises(MalformedError, match="part_length"):
        WRAPPER.wrap(SecretBytes(KEY), bytes(65_536))
    with pytest.raises(MalformedError, match="part_length"):
        WRAPPER.unwrap(WRAPPED, bytes(65_536))


def test_refuses_a_passphrase_without_utf8_form() -> None:
    with pytest.raises(MalformedError, match="text"):
        PassphraseWrapper(SecretText("twelve characters \ud800"), CHEAP)


def test_says_when_memory_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_cost: object) -> bytes:
        raise HashingError("Memory allocation error")

    monkeypatch.setattr(passphrase, "hash_secret_raw", fail)
    for call in (lambda: WRAPPER.wrap(SecretBytes(KEY), b""), lambda: WRAPPER.unwrap(WRAPPED, b"context")):
        with pytest.raises(WrapperUnavailableError) as caught:
            call()
        assert caught.value.rule == "resources"
        assert caught.value.hint == "free 1 MiB of memory for it; threads it takes: 1"
        assert TEXT not in everything_told_by(caught.value)


# Keeping the secret


def test_description_and_representation_keep_the_passphrase() -> None:
    assert WRAPPER.describe() == "passphrase, Argon2id with m=8 t=1 p=1"
    assert TEXT not in f"{WRAPPER!r} {WRAPPER}"


def test_refuses_to_be_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(WRAPPER)


@pytest.mark.parametrize(
    "call",
    [
        lambda: WRAPPER.unwrap(asking(0, 0, 0)[:-1], b""),
        lambda: PassphraseWrapper(SecretText(TEXT[:11]), CHEAP).wrap(SecretBytes(KEY), b""),
        lambda: WRAPPER.wrap(SecretBytes(TEXT.encode()), b""),
        lambda: WRAPPER.wrap(SecretBytes(KEY), bytes(65_536)),
    ],
)
def test_errors_keep_the_passphrase_and_the_key(call: Callable[[], object]) -> None:
    with pytest.raises(KeysError) as caught:
        call()
    told = everything_told_by(caught.value)
    assert TEXT[:11] not in told
    assert repr(KEY) not in told


# Reading


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_reads_one_line_without_its_end(end: bytes) -> None:
    with written(TEXT.encode() + end) as descriptor:
        assert read_passphrase(descriptor).expose() == TEXT


def test_leaves_the_rest_to_its_reader() -> None:
    with written(b" first \nsecond\n") as descriptor:
        assert read_passphrase(descriptor).expose() == " first "
        assert read_passphrase(descriptor).expose() == "second"


def test_reads_a_line_of_the_greatest_length() -> None:
    with written(b"x" * 1024 + b"\n") as descriptor:
        assert len(read_passphrase(descriptor).expose()) == 1024


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\r\n", "empty"),
        (b"\nsecond line", "empty"),
        (b"x" * 1025, "format"),
        (b"x" * 1025 + b"\n", "format"),
        (b"passphrase \xff\xfe\n", "format"),
        ("passphrase".encode("utf-16"), "format"),
    ],
)
def test_refuses_what_is_no_line(data: bytes, rule: str) -> None:
    with written(data) as descriptor, pytest.raises(WrapperUnavailableError) as caught:
        read_passphrase(descriptor)
    assert caught.value.rule == rule
    assert caught.value.message == f"line on file descriptor {descriptor}"
    assert caught.value.hint
    told = everything_told_by(caught.value)
    assert "b'pass" not in told
    assert "xxx" not in told


def test_refuses_a_descriptor_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file, pytest.raises(WrapperUnavailableError) as caught:
        read_passphrase(file.fileno())
    assert caught.value.rule == "unreadable"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("descriptor", [-1, 2**16, 2**40])
def test_refuses_a_number_that_is_no_descriptor(descriptor: int) -> None:
    with pytest.raises(WrapperUnavailableError) as caught:
        read_passphrase(descriptor)
    assert caught.value.rule == "unreadable"
