"""Certificates of destruction: signed text that a person can read. Format: docs/formats/certificate.md.

What is guaranteed: a text that opens is the one the log's key signed, in its
one form. What it says is what the vault knew when it signed; that the act is
in the log is for an export of it to show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from keys.signing import SigningKey
from vault.audit.note import MalformedNoteError, NoteKey, WrongOriginError, open_note, sign_note

ORIGIN_SUFFIX: Final = "/certificate"
HANGS_ON: Final = "copies hang on"

_NUMBER = "0|[1-9][0-9]{0,18}"
_CODE = "[A-Za-z0-9._:/,*-]{1,200}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_WORDS = r"[!-~]+(?: [!-~]+)*"

LINES: Final = (
    ("certificate", "crt_[0-9a-f]{20}"),
    ("act", "erase"),
    ("subject", _CODE),
    ("ground", _CODE),
    ("proposed by", _CODE),
    ("approved by", _CODE),
    ("approval", _CODE),
    ("decided at", _TIME),
    ("data keys destroyed", _NUMBER),
    ("values destroyed", _NUMBER),
    ("digests destroyed", _NUMBER),
    ("references destroyed", _NUMBER),
    ("log index", _NUMBER),
    ("leaf hash", "[0-9a-f]{64}"),
    ("tombstone", _NUMBER),
    ("issued at", _TIME),
    ("copies dead by", _WORDS),
)
"""Name and form of every line after the first, in order; lines ``copies hang on`` follow."""

_LINE_FORMS = {name: re.compile(form).fullmatch for name, form in (*LINES, (HANGS_ON, _WORDS))}
_NAMES = [name for name, _ in LINES]


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says."""

    log: str
    """Name of the log, and of the key that signed."""
    lines: dict[str, str]
    """By name, as in ``LINES``."""
    hangs_on: tuple[str, ...]
    """What copies of the database from before hang on, key by key."""

    @property
    def log_index(self) -> int:
        """Place of the entry of the act."""
        return int(self.lines["log index"])

    @property
    def leaf(self) -> bytes:
        """Leaf hash of that entry."""
        return bytes.fromhex(self.lines["leaf hash"])

    def text(self) -> str:
        """Return the text that is signed."""
        told = [f"{self.log}{ORIGIN_SUFFIX}"]
        told += [f"{name}: {self.lines[name]}" for name in _NAMES]
        told += [f"{HANGS_ON}: {part}" for part in self.hangs_on]
        return "\n".join(told) + "\n"


def sign_certificate(certificate: Certificate, key: SigningKey) -> str:
    """Return ``certificate`` as a note signed by ``key``.

    Raises WrongOriginError for the key of another log, MalformedNoteError for
    what a reader would refuse.
    """
    if certificate.log != key.name:
        raise WrongOriginError
    text = certificate.text()
    _parse(text)
    return sign_note(text, key)


def open_certificate(note: str, key: NoteKey) -> Certificate:
    """Return the certificate in ``note``, signed by ``key``.

    Raises MalformedNoteError (``shape``, ``line``, or a rule of export.md 2.7),
    UnsignedNoteError, WrongOriginError.
    """
    certificate = _parse(open_note(note, key))
    if certificate.log != key.name:
        raise WrongOriginError
    return certificate


def time_text(at_us: int) -> str:
    """Return a time in the one form of log-entry.md section 3."""
    seconds, micros = divmod(at_us, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros, tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"


def _parse(text: str) -> Certificate:
    origin, *told = text[:-1].split("\n")
    log = origin.removesuffix(ORIGIN_SUFFIX)
    split = [line.partition(": ") for line in told]
    names = [name for name, _, _ in split]
    more = len(names) - len(_NAMES)
    if log == origin or names != _NAMES + [HANGS_ON] * more:
        raise MalformedNoteError("shape")
    if not all(_LINE_FORMS[name](value) for name, _, value in split):
        raise MalformedNoteError("line")
    values = [value for _, _, value in split]
    lines = dict(zip(_NAMES, values[: len(_NAMES)], strict=True))
    return Certificate(log, lines, tuple(values[len(_NAMES) :]))
