"""One log entry: a value, and the exact bytes that stand for it. Format: docs/formats/log-entry.md.

There is one encoding of every entry, and what is hashed is what is stored:
nothing is ever re-serialised to be verified. The encoder applies the same
rules as the reader, so no entry is written that a verifier would refuse.

An entry holds no personal data of a data subject, no hash of it and no search
term. This module cannot tell a name from a code, so callers answer for that;
the lexical rules of section 3 keep free text out of every place but the
actor's own name, team and employer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from vault.audit.packing import (
    CODE,
    CODE_PATTERN,
    Items,
    MalformedEntryError,
    read_items,
    read_list,
    read_members,
)
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin, Outcome, Reveal

VERSION: Final = 1

HEADER_LIMIT: Final = 16_384
"""Most bytes an entry may have without its items, so that a thousand items always fit beside it."""

PART_LIMIT: Final = 60_000
"""An entry of more bytes is written as parts."""

ENTRY_LIMIT: Final = 65_535
"""No reader accepts more: the length prefix of a C2SP entry bundle has 16 bits."""

MAX_PARTS: Final = 1_000

_CODE_OR_EMPTY = f"(?:{CODE_PATTERN})?"
_SHAPES = (
    ("id", "[0-9a-f]{32}"),
    ("request", "req_[0-9a-f]{32}"),
    ("address", "[0-9A-Za-z.:%_-]{1,64}"),
    ("action", "[a-z_]{1,32}:[a-z_]{1,32}"),
    ("note", "(?:[0-9a-f]{64})?"),
    *(("code", _CODE_OR_EMPTY) for _ in range(5)),
)
_SHAPE_OF_ALL = re.compile("\n".join(shape for _, shape in _SHAPES)).fullmatch
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z").fullmatch
_NUMBER_LIMIT = 1 << 63
_UNHAPPY = frozenset({Outcome.REFUSED, Outcome.FAILED})

_MEMBERS = (
    *("v", "id", "time", "request", "part", "actor", "address", "action", "purpose", "reveal", "outcome"),
    *("error", "decision", "note", "target", "count", "items"),
)
_ACTOR_MEMBERS = ("kind", "id", "name", "team", "employer", "roles", "session")
_DECISION_MEMBERS = ("rule", "grants", "revision")


@dataclass(frozen=True, slots=True)
class Decision:
    """What decided: the rule, the grants it rested on, and the revision they were read at."""

    rule: str = ""
    """Code of the rule that allowed or refused; empty where nothing is decided."""
    grants: tuple[str, ...] = ()
    """Ids of the grants used, each once, in order of first use."""
    revision: int = 0
    """Revision of the vault the decision was taken at."""


NO_DECISION: Final = Decision()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the log says about one request.

    Empty text stands for "does not apply". ``items`` is ``None`` for an act
    that has no items.
    """

    id: str
    """32 lower-case hexadecimal digits; see ``entry_id``."""
    time: datetime
    """When the act was decided; aware, UTC, microseconds."""
    actor: Actor
    origin: Origin
    action: str
    outcome: Outcome
    purpose: str = ""
    reveal: Reveal | None = None
    error: str = ""
    """Code of the refusal or failure; empty if and only if the outcome is done or released."""
    decision: Decision = NO_DECISION
    note: str = ""
    """SHA-256 of the sealed reason's ciphertext, 64 lower-case hexadecimal digits."""
    target: tuple[tuple[str, str], ...] = ()
    """The vault's own things the act was about, such as ``("staff", "stf_...")``; ascending by key."""
    count: int = 1
    """How many equal refusals this entry stands for."""
    items: Items | None = None
    part: tuple[int, int] = (1, 1)
    """Part k of n. Only the encoder makes more than one."""


def entry_id(at: datetime, randomness: bytes) -> str:
    """Return a UUIDv7 (RFC 9562 section 5.7) of ``at`` and 10 random bytes, as 32 hexadecimal digits."""
    if len(randomness) != 10:  # noqa: PLR2004 - 128 bits less the 48 of the time stamp
        raise ValueError("an entry id takes 10 random bytes")
    milliseconds = int(at.timestamp() * 1000)
    noise = int.from_bytes(randomness, "big")
    noise = noise & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62)
    return f"{milliseconds << 80 | noise:032x}"


def encode(entry: Entry) -> list[bytes]:
    """Return the bytes of ``entry``: one element, or its parts in order if it exceeds ``PART_LIMIT``.

    Parts repeat everything but ``part`` and ``items`` and MUST be appended
    together, contiguously and in order. HOT.

    Raises:
        MalformedEntryError: a rule of docs/formats/log-entry.md section 8 is
            broken.

    """
    if entry.part != (1, 1):
        raise MalformedEntryError("part")
    data = _bytes(entry)
    if len(data) <= HEADER_LIMIT:
        return [data]
    header = _header_size(entry)
    if len(data) <= PART_LIMIT or entry.items is None:
        return [data]
    return _in_parts(entry, entry.items, size=len(data), header=header)


def decode(data: bytes) -> Entry:
    """Return the entry or part that ``data`` stands for.

    Raises:
        MalformedEntryError: ``data`` is not exactly what ``encode`` gives for
            the entry; ``rule`` says why.

    """
    if len(data) > ENTRY_LIMIT:
        raise MalformedEntryError("size")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise MalformedEntryError("json") from None
    if type(value) is not dict:
        raise MalformedEntryError("type")
    if type(value.get("v")) is not int or value["v"] != VERSION:
        raise MalformedEntryError("version")
    entry = _read(read_members(value, _MEMBERS))
    # Whatever the parser forgives (white space, escapes, duplicate members) does not survive the round trip.
    if _bytes(entry) != data:
        raise MalformedEntryError("canonical")
    if len(data) > HEADER_LIMIT:
        _header_size(entry)
    return entry


def _bytes(entry: Entry) -> bytes:
    actor, decision = entry.actor, entry.decision
    time = entry.time.isoformat(timespec="microseconds")
    if time[26:] != "+00:00":
        raise MalformedEntryError("time")
    _check(entry)
    try:
        return orjson.dumps(
            {
                "v": VERSION,
                "id": entry.id,
                "time": time[:26] + "Z",
                "request": entry.origin.request,
                "part": entry.part,
                "actor": {
                    "kind": actor.kind,
                    "id": actor.id,
                    "name": actor.name,
                    "team": actor.team,
                    "employer": actor.employer,
                    "roles": actor.roles,
                    "session": actor.session,
                },
                "address": entry.origin.address,
                "action": entry.action,
                "purpose": entry.purpose,
                "reveal": entry.reveal or "",
                "outcome": entry.outcome,
                "error": entry.error,
                "decision": {"rule": decision.rule, "grants": decision.grants, "revision": decision.revision},
                "note": entry.note,
                "target": dict(entry.target),
                "count": entry.count,
                "items": None if entry.items is None else entry.items.members(),
            }
        )
    except orjson.JSONEncodeError:
        raise MalformedEntryError("text") from None


def _check(entry: Entry) -> None:
    actor, decision, origin = entry.actor, entry.decision, entry.origin
    texts = (
        *(entry.id, origin.request, origin.address, entry.action, entry.note),
        *(actor.id, actor.session, entry.purpose, entry.error, decision.rule),
    )
    # One match for all of them costs a quarter of ten. No shape admits the separator, so a text that
    # contains it makes the joined text one line too long, and cannot pass for two.
    if _SHAPE_OF_ALL("\n".join(texts)) is None:
        raise MalformedEntryError(_first_misshapen(texts))
    for text in (*actor.roles, *decision.grants):
        if CODE(text) is None:
            raise MalformedEntryError("code")
    if (entry.outcome in _UNHAPPY) is (entry.error == ""):
        raise MalformedEntryError("error")
    if not (0 <= decision.revision < _NUMBER_LIMIT and 1 <= entry.count < _NUMBER_LIMIT):
        raise MalformedEntryError("number")
    if not 1 <= entry.part[0] <= entry.part[1] <= MAX_PARTS:
        raise MalformedEntryError("part")
    if entry.target:
        _check_target(entry.target)


def _first_misshapen(texts: Iterable[str]) -> str:
    shapes = zip(_SHAPES, texts, strict=True)
    return next(rule for (rule, shape), text in shapes if re.fullmatch(shape, text) is None)


def _check_target(target: tuple[tuple[str, str], ...]) -> None:
    keys = [key for key, _ in target]
    if keys != sorted(set(keys)):
        raise MalformedEntryError("target")
    for pair in target:
        if CODE(pair[0]) is None or CODE(pair[1]) is None:
            raise MalformedEntryError("target")


def _header_size(entry: Entry) -> int:
    size = len(_bytes(replace(entry, items=None)))
    if size > HEADER_LIMIT:
        raise MalformedEntryError("header")
    return size


def _in_parts(entry: Entry, items: Items, *, size: int, header: int) -> list[bytes]:
    # Ends: a part with one item is far below the limit, and an item of the longest names takes less than
    # 500 bytes, so that even MAX_ITEMS of them need fewer than MAX_PARTS parts.
    parts: list[bytes] = []
    while size > PART_LIMIT:
        count = max(len(parts), 1) * (size - header) // (PART_LIMIT - header) + 1
        split = enumerate(items.split(count), 1)
        parts = [_bytes(replace(entry, items=part, part=(k, count))) for k, part in split]
        size = max(map(len, parts))
    return parts


def _read(members: dict[str, Any]) -> Entry:
    part = read_list(members["part"], int)
    if len(part) != 2:  # noqa: PLR2004 - k and n
        raise MalformedEntryError("part")
    target = members["target"]
    if type(target) is not dict or not set(map(type, target.values())) <= {str}:
        raise MalformedEntryError("type")
    for name in (
        "id",
        "time",
        "request",
        "address",
        "action",
        "purpose",
        "reveal",
        "outcome",
        "error",
        "note",
    ):
        if type(members[name]) is not str:
            raise MalformedEntryError("type")
    if type(members["count"]) is not int:
        raise MalformedEntryError("type")
    return Entry(
        id=members["id"],
        time=_read_time(members["time"]),
        actor=_read_actor(members["actor"]),
        origin=Origin(request=RequestId(members["request"]), address=members["address"]),
        action=members["action"],
        outcome=_read_outcome(members["outcome"]),
        purpose=members["purpose"],
        reveal=_read_reveal(members["reveal"]),
        error=members["error"],
        decision=_read_decision(members["decision"]),
        note=members["note"],
        target=tuple(target.items()),
        count=members["count"],
        items=read_items(members["items"]),
        part=(part[0], part[1]),
    )


def _read_time(text: str) -> datetime:
    if _TIME(text) is None:
        raise MalformedEntryError("time")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise MalformedEntryError("time") from None


def _read_actor(value: object) -> Actor:
    members = read_members(value, _ACTOR_MEMBERS)
    roles = read_list(members.pop("roles"), str)
    kind = members.pop("kind")
    if not set(map(type, members.values())) <= {str}:
        raise MalformedEntryError("type")
    try:
        return Actor(kind=ActorKind(kind), roles=roles, **members)
    except ValueError:
        raise MalformedEntryError("actor") from None


def _read_outcome(text: str) -> Outcome:
    try:
        return Outcome(text)
    except ValueError:
        raise MalformedEntryError("outcome") from None


def _read_reveal(text: str) -> Reveal | None:
    try:
        return Reveal(text) if text else None
    except ValueError:
        raise MalformedEntryError("reveal") from None


def _read_decision(value: object) -> Decision:
    members = read_members(value, _DECISION_MEMBERS)
    if type(members["rule"]) is not str or type(members["revision"]) is not int:
        raise MalformedEntryError("type")
    return Decision(members["rule"], read_list(members["grants"], str), members["revision"])
