"""Checkpoints as signed notes. Format: docs/formats/export.md section 2.

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, RFC 8032. Opening a
note proves that the holder of the key signed this text. It does not prove that
the same key signed no other text for the same size: see section 5.5.
"""

from __future__ import annotations

import re
from binascii import Error as BinasciiError
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from typing import ClassVar, Final

from keys.errors import MalformedError, VerificationError
from keys.signing import ED25519_ALGORITHM, PUBLIC_LENGTH, SigningKey, VerifyKey, key_id
from vault.audit.merkle import HASH_SIZE

NOTE_LIMIT: Final = 100_000
SIGNATURE_LIMIT: Final = 16
SIZE_LIMIT: Final = 1 << 63

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]").search
_NAME = re.compile(r"[^\s+]+").fullmatch
_SIGNATURE_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})").fullmatch
_TREE_SIZE = re.compile(r"0|[1-9][0-9]{0,18}").fullmatch
_VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})").fullmatch
_KEY_ID_SIZE = 4


class NoteError(ValueError):
    """A note is not to be believed. ``rule`` says why."""

    rule: str

    def __init__(self, rule: str) -> None:
        super().__init__(f"signed note: {rule}")
        self.rule = rule


class MalformedNoteError(NoteError):
    """Not a note, checkpoint or vkey in its one form; ``rule`` is that of section 2.7."""


class UnsignedNoteError(NoteError):
    """The trusted key's signature is absent, repeated or wrong."""

    def __init__(self) -> None:
        super().__init__("bad_signature")


class WrongOriginError(NoteError):
    """A genuine checkpoint, but of another log."""

    def __init__(self) -> None:
        super().__init__("wrong_origin")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log ``origin`` had ``size`` entries, and this was the root over them."""

    LINES: ClassVar[int] = 3

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key somebody trusts, with the name it signs under."""

    name: str
    key_id: bytes
    key: VerifyKey


def vkey(key: SigningKey) -> str:
    """Return the public half of ``key`` as text that can be handed to a verifier."""
    return public_vkey(key.name, key.public)


def public_vkey(name: str, public: bytes) -> str:
    """Return the vkey of a public key and its name. Raises MalformedError (key_name, key_length)."""
    return f"{name}+{key_id(name, public).hex()}+{to_base64(ED25519_ALGORITHM + public)}"


def parse_vkey(text: str) -> NoteKey:
    """Return the key that ``vkey`` wrote.

    Raises:
        MalformedNoteError: ``vkey``: not in its one form, not Ed25519, or the
            id is not that of name and key.

    """
    match = _VKEY(text)
    data = b"" if match is None else from_base64(match[3], rule="vkey")
    if match is None or len(data) != 1 + PUBLIC_LENGTH or data[:1] != ED25519_ALGORITHM:
        raise MalformedNoteError("vkey")
    key = VerifyKey(data[1:])
    try:
        expected = key_id(match[1], key.public)
    except MalformedError:
        raise MalformedNoteError("vkey") from None
    if expected.hex() != match[2]:
        raise MalformedNoteError("vkey")
    return NoteKey(match[1], expected, key)


def sign_note(text: str, *keys: SigningKey) -> str:
    """Return ``text`` (ends in a newline) as a note signed by each of ``keys``, in their order."""
    lines = (f"— {key.name} {to_base64(key.key_id + key.sign(text.encode()))}\n" for key in keys)
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, *keys: NoteKey) -> str:
    """Return the text of ``note``, signed by one of ``keys``. Signatures of other keys are ignored.

    Raises:
        MalformedNoteError: section 2.5 or 2.7.
        UnsignedNoteError: no signature of any of ``keys``, or two or a wrong one of one of them.

    """
    text, signatures = _split(note)
    signed = [_is_signed(text, signatures, key) for key in keys]
    if not any(signed):
        raise UnsignedNoteError
    return text


def _is_signed(text: str, signatures: list[tuple[str, bytes]], key: NoteKey) -> bool:
    """Say whether ``key`` has signed. Raises UnsignedNoteError when it did so twice or wrongly."""
    ours = [data for name, data in signatures if name == key.name and data[:_KEY_ID_SIZE] == key.key_id]
    if not ours:
        return False
    if len(ours) != 1:
        raise UnsignedNoteError
    try:
        key.key.verify(ours[0][_KEY_ID_SIZE:], text.encode())
    except VerificationError:
        raise UnsignedNoteError from None
    return True


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> str:
    """Return ``checkpoint`` as a note signed by each of ``keys``, whose name is the origin.

    The caller answers for the checkpoint being consistent with every earlier one.

    Raises:
        WrongOriginError: one of ``keys`` is that of another log.

    """
    if any(checkpoint.origin != key.name for key in keys):
        raise WrongOriginError
    return sign_note(checkpoint.text(), *keys)


def open_checkpoint(note: str, *keys: NoteKey) -> Checkpoint:
    """Return the checkpoint of the log whose keys are ``keys``: one of them has signed it.

    Raises:
        MalformedNoteError: section 2.7.
        UnsignedNoteError: not signed by any of ``keys``, or wrongly by one.
        WrongOriginError: signed, but with another origin than the name of ``keys``.

    """
    checkpoint = _parse(open_note(note, *keys))
    if any(checkpoint.origin != key.name for key in keys):
        raise WrongOriginError
    return checkpoint


def checkpoint_unverified(note: str) -> Checkpoint:
    """Return what ``note`` claims, whoever signed it: good for saying what is wrong, never for trust.

    Raises:
        MalformedNoteError: section 2.7.

    """
    text, _ = _split(note)
    return _parse(text)


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    try:
        size = len(note.encode())
    except UnicodeEncodeError:
        raise MalformedNoteError("utf8") from None
    if size > NOTE_LIMIT:
        raise MalformedNoteError("size")
    if _CONTROL(note) is not None:
        raise MalformedNoteError("control")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise MalformedNoteError("shape")
    signatures = [_signature(line) for line in lines[:-1].split("\n")]
    if len(signatures) > SIGNATURE_LIMIT:
        raise MalformedNoteError("signature_line")
    return text + "\n", signatures


def _signature(line: str) -> tuple[str, bytes]:
    match = _SIGNATURE_LINE(line)
    if match is None:
        raise MalformedNoteError("signature_line")
    data = from_base64(match[2], rule="signature_line")
    if len(data) <= _KEY_ID_SIZE:
        raise MalformedNoteError("signature_line")
    return match[1], data


def _parse(text: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    if len(lines) != Checkpoint.LINES:
        raise MalformedNoteError("shape")
    origin, size, root = lines
    if _NAME(origin) is None:
        raise MalformedNoteError("origin")
    if _TREE_SIZE(size) is None or int(size) >= SIZE_LIMIT:
        raise MalformedNoteError("tree_size")
    digest = from_base64(root, rule="root")
    if len(digest) != HASH_SIZE:
        raise MalformedNoteError("root")
    return Checkpoint(origin, int(size), digest)


def to_base64(data: bytes) -> str:
    """Return the base64 of ``data`` in its one form (log-entry.md 2.5)."""
    return b2a_base64(data, newline=False).decode("ascii")


def from_base64(text: str, *, rule: str) -> bytes:
    """Return the bytes that ``to_base64`` wrote. Raises MalformedNoteError with ``rule`` for other text."""
    try:
        data = a2b_base64(text, strict_mode=True)
    except (BinasciiError, ValueError):
        raise MalformedNoteError(rule) from None
    # strict_mode lets non-zero padding bits through: only the round trip shows them.
    if to_base64(data) != text:
        raise MalformedNoteError(rule)
    return data
