"""Read a body whole or refuse it, and decode it strictly into its shape.

Guarantees
- Not more than the cap is ever held; what declares itself larger is not read.
- A body that does not arrive in time is given up.
- Wrong types, unknown, missing and duplicate members, invalid UTF-8 and syntax
  errors are refused, naming member and rule.
- Messages of the decoder are never forwarded: they quote what was sent. What
  an error names is a member that the shape has, by its path.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Final, Generic, TypeVar

import msgspec

from api.asgi import JSON_TYPE, Receive
from api.errors import (
    ClientGoneError,
    HttpError,
    body_too_large,
    body_too_slow,
    malformed_json,
    malformed_request,
    unsupported_media_type,
)
from vault.domain.errors import InvalidInputError

T = TypeVar("T", bound=msgspec.Struct)

BODY_SECONDS: Final = 20.0
"""A cap's worth of bytes at the pace of a slow telephone; a trickle longer than that is an attack."""

SWALLOWED: Final = 16 << 20
"""A body of this size at most is let pass unread, so that its sender gets to read the refusal."""

LONGEST_LENGTH: Final = 18
"""Digits of a length that is worth converting."""

_DECIDING: Final = frozenset({b"authorization", b"content-length", b"content-type", b"idempotency-key"})

_JSON_UTF8: Final = re.compile(rb"application/json\s*(;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE).fullmatch

_EXPLANATIONS: Final = {
    "choice": "is none of the values this member may have",
    "duplicate": "a member is given twice",
    "pattern": "does not have the form of this member",
    "range": "is outside the range of this member",
    "required": "is missing",
    "too_few": "has too few elements",
    "too_long": "is too long",
    "too_many": "has too many elements",
    "too_short": "is too short",
    "type": "is of another JSON type than this member",
    "unknown_field": "has a member that is not known here",
}
"""Every rule a shape can break."""

_BEGINNINGS: Final = (
    ("Object missing required field `", "required"),
    ("Object contains unknown field `", "unknown_field"),
    ("Invalid enum value ", "choice"),
    ("Invalid value ", "choice"),
    ("Expected `str` of length <=", "too_long"),
    ("Expected `str` of length >=", "too_short"),
    ("Expected `str` matching regex", "pattern"),
    ("Expected `array` of length <=", "too_many"),
    ("Expected `array` of length >=", "too_few"),
    ("Expected `int` >", "range"),
    ("Expected `int` <", "range"),
    ("Number out of range", "range"),
    ("Integer value out of range", "range"),
)
"""How the decoder's messages begin. Before the first word of the caller's, so it cannot be led astray."""

_AT: Final = re.compile(r" - at `\$((?:\.[a-z_]+|\[\d+\])*)`\Z").search
_MISSING: Final = re.compile(r"Object missing required field `([a-z_]+)`").match
_STEP: Final = re.compile(r"[a-z_]+").findall
_REVEAL: Final = re.compile(rb'"reveal"[ \t\r\n]*:').search


def header_map(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name. HOT. Of one that is there twice the last counts; see ``require_unique``."""
    return dict(headers)


def require_unique(headers: list[tuple[bytes, bytes]], found: dict[bytes, bytes]) -> None:
    """Raise HttpError where a header that decides something is there twice. HOT."""
    if len(found) == len(headers):
        return
    seen = set()
    for name, _ in headers:
        if name in seen and name in _DECIDING:
            field = name.decode("ascii").title()
            raise malformed_request(field, "duplicate", f"{field}: given twice")
        seen.add(name)


def require_json(headers: dict[bytes, bytes]) -> None:
    """Raise HttpError unless the body is plain JSON. HOT."""
    media_type = headers.get(b"content-type", b"")
    if (media_type != JSON_TYPE and not _JSON_UTF8(media_type)) or b"content-encoding" in headers:
        raise unsupported_media_type("application/json")


async def read_body(receive: Receive, declared: bytes | None, limit: int) -> bytes:
    """Return the whole body; ``declared`` is its Content-Length. HOT.

    Raises HttpError (too large, too slow), ClientGoneError.
    """
    if declared is not None:
        if not declared.isdigit():
            raise malformed_request("Content-Length", "format", "Content-Length: not a number")
        length = int(declared[: LONGEST_LENGTH + 1])
        if length > limit:
            raise body_too_large(limit, close=length > SWALLOWED)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _chunk(receive)
            if body[1]:
                return await _rest(receive, body[0], limit)
    except TimeoutError:
        raise body_too_slow() from None
    if len(body[0]) > limit:
        raise body_too_large(limit, close=True)
    return body[0]


async def _rest(receive: Receive, first: bytes, limit: int) -> bytes:
    parts = [first]
    held = len(first)
    more = True
    while more:
        if held > limit:
            raise body_too_large(limit, close=True)
        part, more = await _chunk(receive)
        parts.append(part)
        held += len(part)
    if held > limit:
        raise body_too_large(limit, close=True)
    return b"".join(parts)


async def _chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGoneError
    return message.get("body", b""), message.get("more_body", False)


class Reader(Generic[T]):
    """Decodes the bodies of one shape.

    ``counted`` is for the shapes of the hot path, whose values are all texts:
    that no member is there twice is seen from the number of quotation marks.
    """

    def __init__(self, shape: type[T], *, counted: bool = False) -> None:
        self._decode = msgspec.json.Decoder(shape).decode
        self._encode = msgspec.json.Encoder().encode
        self._members = _members(shape)
        self._counted = counted
        self._reveals = "reveal" in self._members

    def read(self, body: bytes) -> T:
        """Return the body decoded. HOT. Raises HttpError, InvalidInputError."""
        refusal: HttpError | InvalidInputError
        try:
            decoded = self._decode(body)
            if not (self._counted and self._has_distinct_members(body, decoded)):
                _refuse_duplicates(body)
        except msgspec.ValidationError as error:
            refusal = self._explain(str(error))
        except msgspec.DecodeError:
            refusal = malformed_json("syntax")
        except UnicodeDecodeError:
            refusal = malformed_json("encoding")
        except RecursionError:
            refusal = malformed_json("depth")
        else:
            return decoded
        # Outside the handlers: the errors above hold what was sent, and must not hang on to this one.
        raise refusal

    def _has_distinct_members(self, body: bytes, decoded: T) -> bool:
        """Say whether it is certain that no object of the body has a member twice.

        Without a backslash every text of the body stands between two quotation
        marks and none is inside, so there are two marks per text. Writing the
        decoded shape gives the texts of a body without duplicates: the names
        of its members and their values. A member given twice adds at least its
        name, and nothing can take a text away. Only a member with a default is
        written without having been there; whether it was is looked up.
        """
        if b"\\" in body:
            return False
        marks = self._encode(decoded).count(b'"')
        if self._reveals and not _REVEAL(body):
            marks -= 4
        return body.count(b'"') == marks

    def _explain(self, message: str) -> InvalidInputError:
        rule = next((rule for beginning, rule in _BEGINNINGS if message.startswith(beginning)), "type")
        at = _AT(message)
        path = at[1].removeprefix(".") if at is not None and self._knows(at[1]) else ""
        missing = _MISSING(message) if rule == "required" else None
        if missing is not None and missing[1] in self._members:
            path = f"{path}.{missing[1]}" if path else missing[1]
        field = path or "body"
        return InvalidInputError(f"{field}: {_EXPLANATIONS[rule]}", field=field, rule=rule)

    def _knows(self, path: str) -> bool:
        return self._members.issuperset(_STEP(path))


def _members(shape: type[msgspec.Struct]) -> frozenset[str]:
    _, components = msgspec.json.schema_components([shape])
    return frozenset(name for component in components.values() for name in component.get("properties", ()))


class _DuplicateError(Exception):
    pass


def _refuse_duplicates(body: bytes) -> None:
    """Raise InvalidInputError if an object has a member twice. The body has been decoded before."""
    try:
        json.loads(body.decode(), object_pairs_hook=_distinct)
    except _DuplicateError:
        pass
    else:
        return
    raise InvalidInputError(f"body: {_EXPLANATIONS['duplicate']}", field="body", rule="duplicate")


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _DuplicateError
