"""The tombstone file: who was erased, restricted or freed again. Format: docs/formats/tombstones.md.

What is guaranteed: a line that was changed, moved, left out, put in or taken
from another vault's file is refused, with public keys alone. What is not: a
genuine older file with its own head is genuine; how far it is complete is
said, and whoever reads compares that with what they know of the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from keys.context import encode_context, u64
from keys.errors import VerificationError
from keys.signing import KEY_ID_LENGTH, SigningKey
from vault.audit.note import (
    MalformedNoteError,
    NoteError,
    NoteKey,
    from_base64,
    open_note,
    sign_note,
    to_base64,
)
from vault.domain.errors import TamperDetectedError, UnavailableError

LABEL: Final = b"piivault/tombstone/v1"
START: Final = bytes(32)
"""The chain before the first line."""
ORIGIN_SUFFIX: Final = "/tombstones"
HEAD_SUFFIX: Final = ".head"
MAX_LINE: Final = 400
ACTS: Final = frozenset({"erase", "restrict", "lift"})

_LIMIT = 1 << 63
_NUMBER = "0|[1-9][0-9]{0,18}"
_LINE = re.compile(
    rf"({_NUMBER}) ((?:{_NUMBER}) (?:erase|restrict|lift) [1-9][0-9]{{0,18}} "
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z) ([A-Za-z0-9+/]{91}=)"
).fullmatch
_HEAD = re.compile(rf"([^\n]+)\n({_NUMBER})\n([A-Za-z0-9+/]{{43}}=)\nthrough ({_NUMBER})\n").fullmatch


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One act on one data subject, as the file keeps it."""

    seq: int
    log_index: int
    act: str
    """``erase``, ``restrict`` or ``lift``."""
    subject_id: int
    """Row id; at least 1."""
    at_us: int
    """When it was decided, in microseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Head:
    """How much there must be: so many lines, with this chain, complete through this size of the log."""

    log: str
    count: int
    chain: bytes
    through: int


class Reading(NamedTuple):
    """What a file says."""

    tombstones: list[Tombstone]
    through: int
    """The file holds every act of every log entry below this index (5.3)."""


@dataclass(slots=True)
class Chain:
    """A place in the file: so many lines and bytes, and what the next line has to continue."""

    count: int = 0
    chain: bytes = START
    length: int = 0
    """Bytes of the lines so far."""
    unknown: int | None = None
    """First of the lines at the end that no trusted key vouches for; None where one does for all of them."""

    def sign(self, tombstone: Tombstone, key: SigningKey) -> bytes:
        """Return the next line, signed, and go on behind it.

        Raises ValueError for a tombstone that is not the next one.
        """
        rest = _rest(tombstone)
        if tombstone.seq != self.count:
            raise ValueError("not the next tombstone")
        if _LINE(f"{tombstone.seq} {rest} {'A' * 91}=") is None:
            raise ValueError("not a tombstone")
        signature = key.key_id + key.sign(_signed(key.name, self, rest))
        line = f"{tombstone.seq} {rest} {to_base64(signature)}\n".encode("ascii")
        self._advance(line)
        return line

    def follow(self, line: bytes, keys: dict[bytes, NoteKey]) -> Tombstone:
        """Verify the next line (with its newline) and go on behind it.

        Raises TamperDetectedError that names the line and the rule of section 5.1.
        """
        text = line[:-1].decode("ascii", errors="replace")
        match = _LINE(text) if len(line) <= MAX_LINE else None
        tombstone = None if match is None else _parse(int(match[1]), match[2])
        if match is None or tombstone is None:
            raise self.refused("form")
        if tombstone.seq != self.count:
            raise self.refused("sequence")
        signature = self._signature(match[3])
        key = keys.get(signature[:KEY_ID_LENGTH])
        if key is None:
            self._pass(line)
            return tombstone
        try:
            key.key.verify(signature[KEY_ID_LENGTH:], _signed(key.name, self, match[2]))
        except VerificationError:
            self.require_known()
            raise self.refused("signature") from None
        self._advance(line)
        return tombstone

    def require_known(self) -> None:
        """Return if a trusted key vouches for every line so far. Raises TamperDetectedError (``key``)."""
        if self.unknown is not None:
            raise _refused(self.unknown, "key")

    def refused(self, rule: str) -> TamperDetectedError:
        """Return the error for the line at this place."""
        return _refused(self.count, rule)

    def copy(self) -> Chain:
        """Return the same place, to go on from on its own."""
        return Chain(self.count, self.chain, self.length, self.unknown)

    def _signature(self, text: str) -> bytes:
        try:
            return from_base64(text, rule="form")
        except MalformedNoteError:
            raise self.refused("form") from None

    def _advance(self, line: bytes) -> None:
        self._go_on(line)
        # The chain in it is that of all lines before: whoever signed it had verified them (3.3).
        self.unknown = None

    def _pass(self, line: bytes) -> None:
        if self.unknown is None:
            self.unknown = self.count
        self._go_on(line)

    def _go_on(self, line: bytes) -> None:
        self.chain = sha256(line).digest()
        self.count += 1
        self.length += len(line)


def head_path(path: Path) -> Path:
    """Return where the head of the file at ``path`` lies."""
    return path.with_name(path.name + HEAD_SUFFIX)


def keys_by_id(keys: Iterable[NoteKey]) -> dict[bytes, NoteKey]:
    """Return the trusted keys as ``Chain.follow`` takes them."""
    return {key.key_id: key for key in keys}


def read(path: Path, keys: Iterable[NoteKey]) -> Reading:
    """Return what the file at ``path`` and its head say. Public keys suffice.

    ``keys`` are the log's public keys that the caller trusts; lines under older
    ones are vouched for by what follows them (3.3). No file and no head is an
    empty reading, complete through 0.

    Raises TamperDetectedError that names the line (5.1), UnavailableError.
    """
    trusted = keys_by_id(keys)
    # The head first: whoever appends meanwhile makes the file longer than it says, never shorter.
    head = read_head(path, trusted)
    at, tombstones = Chain(), []
    require_head(head, at)
    for line in whole_lines(read_bytes(path)):
        tombstones.append(at.follow(line, trusted))
        require_head(head, at)
    require_whole(head, at)
    return Reading(tombstones, 0 if head is None else head.through)


def read_bytes(path: Path, start: int = 0) -> bytes:
    """Return what the file holds from ``start`` on; nothing if there is none. Raises UnavailableError."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError:
        raise UnavailableError("the tombstone file cannot be read") from None


def whole_lines(data: bytes) -> list[bytes]:
    """Return the lines that end, each with its newline; what follows the last was never finished (5.2)."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def read_head(path: Path, keys: dict[bytes, NoteKey]) -> Head | None:
    """Return the head of the file at ``path``; None if there is none.

    Raises TamperDetectedError (``head``), UnavailableError.
    """
    try:
        note = head_path(path).read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError:
        raise UnavailableError("the head of the tombstone file cannot be read") from None
    except UnicodeDecodeError:
        raise _bad_head() from None
    for key in keys.values():
        try:
            return _open_head(open_note(note, key), key)
        except NoteError:
            continue
    raise _bad_head()


def sign_head(at: Chain, log_size: int, key: SigningKey, *beside: SigningKey) -> str:
    """Return the head of a file that ends at ``at`` and is complete through ``log_size`` entries.

    ``beside`` are the keys of the same name that still sign beside ``key``.
    """
    text = f"{key.name}{ORIGIN_SUFFIX}\n{at.count}\n{to_base64(at.chain)}\nthrough {log_size}\n"
    return sign_note(text, key, *beside)


def require_head(head: Head | None, at: Chain) -> None:
    """Return, unless the head ends at ``at`` with another chain. Raises TamperDetectedError.

    A head with this chain vouches for the lines before it.
    """
    if head is None or head.count != at.count:
        return
    if head.chain != at.chain:
        at.require_known()
        raise at.refused("chain")
    at.unknown = None


def require_whole(head: Head | None, at: Chain) -> None:
    """Return if ``at`` can be the end of the file. Raises TamperDetectedError (``cut``, ``key``)."""
    if head is not None and at.count < head.count:
        raise at.refused("cut")
    at.require_known()


def _open_head(text: str, key: NoteKey) -> Head:
    match = _HEAD(text)
    if match is None or match[1] != key.name + ORIGIN_SUFFIX:
        raise MalformedNoteError("head")
    head = Head(key.name, int(match[2]), from_base64(match[3], rule="head"), int(match[4]))
    if head.count >= _LIMIT or head.through >= _LIMIT:
        raise MalformedNoteError("head")
    return head


def _refused(line: int, rule: str) -> TamperDetectedError:
    return TamperDetectedError(
        f"the tombstone file does not verify: line {line}: {rule}", reference=str(line), table="tombstone"
    )


def _bad_head() -> TamperDetectedError:
    return TamperDetectedError(
        "the tombstone file does not verify: head", reference="head", table="tombstone"
    )


def _signed(name: str, at: Chain, rest: str) -> bytes:
    return encode_context(LABEL, name.encode(), at.chain, u64(at.count), rest.encode("ascii"))


def _rest(tombstone: Tombstone) -> str:
    seconds, micros = divmod(tombstone.at_us, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros, tzinfo=None)
    time = moment.isoformat(timespec="microseconds")
    return f"{tombstone.log_index} {tombstone.act} {tombstone.subject_id} {time}Z"


def _parse(seq: int, rest: str) -> Tombstone | None:
    index, act, subject, time = rest.split(" ")
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    at_us = int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond
    tombstone = Tombstone(seq, int(index), act, int(subject), at_us)
    # Written back, it must be the same text: there is one encoding of every line (2.2).
    small = max(seq, tombstone.log_index, tombstone.subject_id) < _LIMIT
    return tombstone if small and _rest(tombstone) == rest else None
