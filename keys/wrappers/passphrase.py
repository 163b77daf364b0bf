"""The root key behind a passphrase (docs/formats/envelope.md 7, RFC 9106).

What is guaranteed: what is wrapped opens only with the same passphrase, in the
same place, unchanged to the bit, and the cost that a header asks for is judged
before any of it is paid. What is not: a passphrase that is easily guessed is
guessed; whoever has the wrapped key can try at the cost of one derivation each.
Every call here takes that cost too: the better part of a second and 256 MiB by
default, once per wrapped key.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple
from unicodedata import normalize

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw

from keys.context import encode_context, utf8
from keys.envelope import NONCE_LENGTH, TAG_LENGTH
from keys.errors import DecryptionError, MalformedError, WrapperUnavailableError
from keys.secret import KEY_LENGTH, SecretBytes, SecretText
from keys.wrappers.sealing import SealingKey

MIN_CHARACTERS = 12
"""A floor against what falls to a short search, not advice: six random words are 77 bits and much better."""

MAX_LINE = 1024
"""Bytes of a passphrase that is read: far above any that is typed; a wrong file is not read to its end."""

MAX_MEMORY_KIB = 2 * 1024 * 1024
MAX_PASSES = 16
MAX_LANES = 16
"""Most that a header may ask for: the memory of the dearest choice of RFC 9106 section 4 (2 GiB), and all
three together under a minute on one core of today. Who can write a header can make an unseal take that."""

_MIN_MEMORY_PER_LANE_KIB = 8  # RFC 9106 section 3.1.

_LABEL = b"piivault/passphrase-wrap/v1"
_VERSION = 2
_SALT_LENGTH = 16  # RFC 9106 section 3.1 recommends it for passwords.
_HEADER = struct.Struct(f">BIIB{_SALT_LENGTH}s")
# One length only. AES-GCM does not commit to its key, so a long text can be made that opens under thousands
# of passphrases, and one unseal would try them all (Len, Grubbs, Ristenpart 2021). Two blocks of ciphertext
# and a tag leave room for three.
_LENGTH = _HEADER.size + 1 + NONCE_LENGTH + KEY_LENGTH + TAG_LENGTH
# Written out: a library that moves to a later version must not lock out what was wrapped with this one.
_ARGON2_VERSION = 0x13


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """Cost of one guess at a passphrase. Raises MalformedError("argon2_cost") outside the bounds above.

    The default is the second choice of RFC 9106 section 4 (Argon2id, 3 passes,
    4 lanes) with four times its 64 MiB: it is paid at an unseal, not at every
    login, and guesses at it are made offline. Not the first choice, since the
    2 GiB of that one may be more than the machine has.
    """

    memory_kib: int = 256 * 1024
    passes: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        lanes, passes = 1 <= self.lanes <= MAX_LANES, 1 <= self.passes <= MAX_PASSES
        memory = _MIN_MEMORY_PER_LANE_KIB * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB
        if not (lanes and passes and memory):
            raise MalformedError("argon2_cost")


class PassphraseWrapper:
    """Seals keys under keys derived from one passphrase, a new one for each. Threads may share it.

    ``parameters`` is what ``wrap`` pays; ``unwrap`` pays what the header says.
    Raises MalformedError("text") for a passphrase without a UTF-8 form.
    """

    __slots__ = ("_cost", "_long_enough", "_passphrase")

    kind: Final = "passphrase"

    def __init__(self, passphrase: SecretText, parameters: Argon2Cost | None = None) -> None:
        normalised = _normalised(passphrase)
        self._passphrase = SecretBytes(utf8(normalised.expose()))
        self._long_enough = len(normalised.expose()) >= MIN_CHARACTERS
        self._cost = parameters or Argon2Cost()

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return a key of 32 bytes sealed and bound to ``context`` and to the cost.

        Raises MalformedError: "passphrase_length" under 12 characters in NFC,
        "key_length" for another length of key, "part_length" for a context over
        65,535 bytes. Raises WrapperUnavailableError("resources") when memory or
        threads for the derivation are not to be had.
        """
        if not self._long_enough:
            raise MalformedError("passphrase_length")
        if len(plaintext.expose()) != KEY_LENGTH:
            raise MalformedError("key_length")
        cost, salt = self._cost, os.urandom(_SALT_LENGTH)
        header = _HEADER.pack(_VERSION, cost.memory_kib, cost.passes, cost.lanes, salt)
        # Before the derivation, so that a refusal costs nothing.
        associated = encode_context(_LABEL, header, context)
        return header + self._derived(cost, salt).wrap(plaintext, associated)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped.

        Raises DecryptionError for every cause in the passphrase, the context and
        the bytes, MalformedError("part_length") for a context over 65,535 bytes,
        WrapperUnavailableError("resources") as ``wrap`` does: try again then.
        """
        parts = _parts(wrapped)
        associated = encode_context(_LABEL, parts.header, context)
        return self._derived(parts.cost, parts.salt).unwrap(parts.sealed, associated)

    def describe(self) -> str:
        """Return what a new wrap costs: memory in KiB, passes and lanes, as RFC 9106 letters them.

        There is no fingerprint: one of a passphrase would be a place to try guesses.
        """
        cost = self._cost
        return f"passphrase, Argon2id with m={cost.memory_kib} t={cost.passes} p={cost.lanes}"

    def _derived(self, cost: Argon2Cost, salt: bytes) -> SealingKey:
        key = _argon2id(self._passphrase, cost, salt)
        if key is None:
            hint = f"free {-(-cost.memory_kib // 1024)} MiB of memory for it; threads it takes: {cost.lanes}"
            raise WrapperUnavailableError("resources", "key of the passphrase", hint)
        return SealingKey(key)


def read_passphrase(descriptor: int) -> SecretText:
    r"""Return one line of an open file descriptor, without its line feed or CR LF.

    Nothing after the line is consumed, and the descriptor stays open: it is the
    caller's. A last line may lack its line feed. The length is not judged here.

    Raises WrapperUnavailableError: "unreadable", "format" for more than 1,024
    bytes before the line feed or what is not UTF-8, "empty".
    """
    subject = f"line on file descriptor {descriptor}"
    line = _line(descriptor)
    if line is None:
        raise WrapperUnavailableError("unreadable", subject, "open it for reading, as in: 3< FILE")
    text = _text(line) if len(line.expose()) <= MAX_LINE else None
    if text is None:
        raise WrapperUnavailableError("format", subject, f"one line of UTF-8, at most {MAX_LINE:,} bytes")
    if not text.expose():
        raise WrapperUnavailableError("empty", subject, "write a passphrase or the next share to it")
    return text


class _Parts(NamedTuple):
    header: bytes
    cost: Argon2Cost
    salt: bytes
    sealed: bytes


def _parts(wrapped: bytes) -> _Parts:
    """Return what stands in ``wrapped``. Raises DecryptionError unless the derivation is worth its cost."""
    if len(wrapped) != _LENGTH:
        raise DecryptionError
    version, memory_kib, passes, lanes, salt = _HEADER.unpack_from(wrapped)
    if version != _VERSION:
        raise DecryptionError
    try:
        cost = Argon2Cost(memory_kib, passes, lanes)
    except MalformedError:
        raise DecryptionError from None
    return _Parts(wrapped[: _HEADER.size], cost, salt, wrapped[_HEADER.size :])


def _normalised(passphrase: SecretText) -> SecretText:
    # Keyboards compose Hangul and accents differently: one passphrase must be one text (RFC 8265 4.2).
    return SecretText(normalize("NFC", passphrase.expose()))


# The functions below return None where they fail, and their callers raise: an error raised while another one
# is handled keeps that one, and with it the frames and texts that hold the passphrase.


def _argon2id(passphrase: SecretBytes, cost: Argon2Cost, salt: bytes) -> SecretBytes | None:
    try:
        return SecretBytes(
            hash_secret_raw(
                passphrase.expose(),
                salt,
                time_cost=cost.passes,
                memory_cost=cost.memory_kib,
                parallelism=cost.lanes,
                hash_len=KEY_LENGTH,
                type=Type.ID,
                version=_ARGON2_VERSION,
            )
        )
    except HashingError:
        return None


def _line(descriptor: int) -> SecretBytes | None:
    """Return up to ``MAX_LINE`` + 1 bytes before the line feed, None when the descriptor cannot be read."""
    line = bytearray()
    while len(line) <= MAX_LINE:
        try:
            # One at a time: what follows the line may be meant for somebody else.
            byte = os.read(descriptor, 1)
        except (OSError, OverflowError):  # The latter for a number that no descriptor can have.
            return None
        if byte in {b"", b"\n"}:
            break
        line += byte
    return SecretBytes(bytes(line))


def _text(line: SecretBytes) -> SecretText | None:
    try:
        return SecretText(line.expose().removesuffix(b"\r").decode())
    except UnicodeDecodeError:
        return None
