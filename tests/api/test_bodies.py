"""Reading and decoding bodies: nothing is held over the cap, no member hides behind another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import bodies
from api.asgi import Message
from api.bodies import Reader, header_map, read_body, require_unique
from api.errors import ClientGoneError, HttpError
from vault.domain.errors import InvalidInputError
from vault.domain.model import Reveal
from vault.service.tokens import DetokenizeRequest, SearchRequest, TokenizeRequest

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20) | st.sampled_from(
    [":", '":', "reveal", '"reveal":', "purpose", "\\", "}", "x\u2028y", "\x7f"]
)
NAME = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=20)
"""What is echoed or kept as it is: no control characters, none that turn a line around."""
SPACE = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])


def _optional(required: dict[str, Any], **members: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=members)


ITEMS = _optional(
    {"field": TEXT, "value": TEXT},
    reference=NAME,
    external_ref=NAME,
    subject=TEXT | st.fixed_dictionaries({"new": NAME}),
)
TOKENIZE = _optional({"purpose": TEXT, "items": st.lists(ITEMS, min_size=1, max_size=4)}, reason=TEXT)
DETOKENIZE = _optional(
    {"purpose": TEXT, "items": st.lists(_optional({"token": TEXT}, reference=NAME), min_size=1, max_size=4)},
    reason=TEXT,
    reveal=st.sampled_from(["masked", "plain"]),
)
SEARCH = _optional({"purpose": TEXT, "field": TEXT, "value": TEXT}, reason=TEXT)

READERS: list[tuple[Reader[Any], type[Any], st.SearchStrategy[dict[str, Any]]]] = [
    (Reader(TokenizeRequest, counted=True), TokenizeRequest, TOKENIZE),
    (Reader(DetokenizeRequest, counted=True), DetokenizeRequest, DETOKENIZE),
    (Reader(SearchRequest, counted=True), SearchRequest, SEARCH),
]


class Writer:
    """Writes JSON with spaces where they may be, and with members twice."""

    def __init__(self, draw: st.DrawFn, *, duplicates: bool) -> None:
        self._draw = draw
        self._duplicates = duplicates
        self.doubled = False

    def write(self, value: Any) -> str:
        if isinstance(value, dict):
            pairs = list(value.items())
            if self._duplicates and self._draw(st.booleans()):
                self.doubled = True
                pairs.insert(self._draw(st.integers(0, len(pairs))), self._draw(st.sampled_from(pairs)))
            return "{" + ",".join(map(self._pair, pairs)) + "}"
        if isinstance(value, list):
            return "[" + ",".join(self.write(element) for element in value) + "]"
        return self._text(value)

    def _pair(self, pair: tuple[str, Any]) -> str:
        space = self._draw(SPACE)
        return f"{space}{self._text(pair[0])}{self._draw(SPACE)}:{space}{self.write(pair[1])}"

    def _text(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self._draw(st.integers(0, 9)) == 0)


@st.composite
def _written(draw: st.DrawFn) -> tuple[Reader[Any], type[Any], str, bool]:
    reader, shape, values = draw(st.sampled_from(READERS))
    writer = Writer(draw, duplicates=draw(st.booleans()))
    text = writer.write(draw(values))
    return reader, shape, text, writer.doubled


@settings(max_examples=400)
@given(_written())
def test_duplicates_are_refused_and_nothing_else_is(
    written: tuple[Reader[Any], type[Any], str, bool],
) -> None:
    reader, shape, text, doubled = written
    if doubled:
        with pytest.raises(InvalidInputError) as caught:
            reader.read(text.encode())
        assert (caught.value.field, caught.value.rule) == ("body", "duplicate")
    else:
        assert reader.read(text.encode()) == msgspec.json.decode(text, type=shape)


@pytest.mark.parametrize(
    "text",
    [
        # As many quotation marks and colons as with a default written out.
        '{"purpose":"a","purpose":"b","items":[{"token":"t"}]}',
        '{"purpose":"reveal","reason":"a","reason":"b","items":[{"token":"t"}]}',
        # A value that begins with a colon makes up for a name with a space behind it.
        '{"purpose" :"a","purpose":":b","items":[{"token":"t"}]}',
        '{"reveal":"masked","reveal":"masked","purpose":"a","items":[{"token":"t"}]}',
    ],
)
def test_duplicates_cannot_be_balanced_out(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        READERS[1][0].read(text.encode())
    assert caught.value.rule == "duplicate"


def test_ordinary_bodies_need_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_refuse_duplicates", pytest.fail)
    tokenize, detokenize, search = (reader for reader, _, _ in READERS)
    item = {"field": "f", "value": "값", "subject": {"new": "m"}, "external_ref": "u", "reference": "r"}
    tokenize.read(json.dumps({"purpose": "p", "items": [item] * 3}, ensure_ascii=False).encode())
    detokenize.read(b'{"purpose": "p", "items": [{"token": "t"}]}')
    detokenize.read(b'{"purpose": "p", "reveal" : "masked", "items": [{"token": "t"}]}')
    detokenize.read(b'{"purpose": "p", "reveal": "plain", "reason": "r", "items": [{"token": "t"}]}')
    search.read(b'{"purpose": "p", "field": "f", "value": "v"}')


class Numbers(msgspec.Struct, forbid_unknown_fields=True):
    """A shape with what the hot path has not."""

    days: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    names: Annotated[list[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]], msgspec.Meta(max_length=2)] = []
    reveal: Reveal | None = None


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ('{"days": 0}', "days", "range"),
        ('{"days": 10}', "days", "range"),
        ('{"days": 1e999}', "days", "range"),
        ('{"days": 1.5}', "days", "type"),
        ('{"days": true}', "days", "type"),
        ('{"days": "1"}', "days", "type"),
        ('{"names": ["a", "b", "c"]}', "names", "too_many"),
        ('{"names": ["a", "B"]}', "names[1]", "pattern"),
        ('{"reveal": "all"}', "reveal", "choice"),
        ('{"reveal": 1}', "reveal", "type"),
        ('{"days": 1, "days": 2}', "body", "duplicate"),
        ('{"names": [], "names": []}', "body", "duplicate"),
    ],
)
def test_every_rule_has_its_name(text: str, field: str, rule: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Reader(Numbers).read(text.encode())
    assert (caught.value.field, caught.value.rule) == (field, rule)


def test_nothing_of_the_decoder_hangs_on_to_the_error() -> None:
    for body in (b'{"purpose": "CANARY', b'{"purpose": "\xff"}', b'{"CANARY": 1}', b'{"purpose": 1}'):
        with pytest.raises((HttpError, InvalidInputError)) as caught:
            READERS[0][0].read(body)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert "CANARY" not in str(caught.value)


def test_recursion_is_a_refusal() -> None:
    class Deep(msgspec.Struct):
        inner: Any

    with pytest.raises(HttpError) as caught:
        Reader(Deep).read(b'{"inner":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert (caught.value.problem.status, caught.value.problem.rule) == (400, "depth")


class Wire:
    """A connection that delivers what it was given, then nothing."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._messages = list(messages)
        self.taken = 0

    async def receive(self) -> Message:
        if self.taken == len(self._messages):
            await asyncio.sleep(3600)
        self.taken += 1
        return self._messages[self.taken - 1]


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def _run(awaitable: Awaitable[bytes]) -> bytes:
    async def run() -> bytes:
        return await awaitable

    return asyncio.run(run())


def test_parts_are_joined() -> None:
    wire = Wire([_part(b"ab", more=True), _part(b"", more=True), _part(b"cd", more=False)])
    assert _run(read_body(wire.receive, None, 4)) == b"abcd"


@pytest.mark.parametrize(
    "parts",
    [
        [_part(b"abcde", more=False)],
        [_part(b"abcde", more=True)],
        [_part(b"abc", more=True), _part(b"de", more=True)],
        [_part(b"abc", more=True), _part(b"de", more=False)],
    ],
)
def test_reading_stops_at_the_cap(parts: list[Message]) -> None:
    wire = Wire(parts)
    with pytest.raises(HttpError) as caught:
        _run(read_body(wire.receive, None, 4))
    assert caught.value.problem.status == 413
    assert wire.taken == len(parts)


@pytest.mark.parametrize(("declared", "closes"), [(b"5", False), (b"16777217", True), (b"9" * 5_000, True)])
def test_what_declares_itself_too_large_is_not_read(declared: bytes, *, closes: bool) -> None:
    wire = Wire([])
    with pytest.raises(HttpError) as caught:
        _run(read_body(wire.receive, declared, 4))
    assert caught.value.problem.status == 413
    assert bool(caught.value.problem.headers) is closes
    assert wire.taken == 0


@pytest.mark.parametrize("parts", [[], [_part(b"ab", more=True)]])
def test_slow_body_is_given_up(parts: list[Message], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.01)
    with pytest.raises(HttpError) as caught:
        _run(read_body(Wire(parts).receive, None, 4))
    assert (caught.value.problem.status, caught.value.problem.code) == (408, "request_timeout")


def test_client_that_hangs_up_is_nobody_to_answer() -> None:
    wire = Wire([_part(b"ab", more=True), {"type": "http.disconnect"}])
    with pytest.raises(ClientGoneError):
        _run(read_body(wire.receive, None, 4))


def test_headers_that_decide_nothing_may_come_twice() -> None:
    headers = [(b"accept", b"a"), (b"accept", b"b"), (b"authorization", b"x")]
    require_unique(headers, header_map(headers))
    assert header_map(headers)[b"accept"] == b"b"
