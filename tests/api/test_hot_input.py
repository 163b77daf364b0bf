"""Every kind of bad input to the hot path: status, code, field and rule, and never what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.world import PHONE, PURPOSE, World

CANARY = "CANARY-7731-0d1e"
ITEM = {"field": "member.phone", "value": PHONE}
TOKENIZE, DETOKENIZE, SEARCH = "/v1/tokenize", "/v1/detokenize", "/v1/search"


def _tokenize(**members: Any) -> bytes:
    return json.dumps({"purpose": PURPOSE, "items": [ITEM], **members}).encode()


def _item(**members: Any) -> bytes:
    return _tokenize(items=[ITEM, {**ITEM, **members}])


def _detokenize(**members: Any) -> bytes:
    return json.dumps({"purpose": PURPOSE, "items": [{"token": "phn_0"}], **members}).encode()


def _search(**members: Any) -> bytes:
    return json.dumps({"purpose": PURPOSE, **ITEM, **members}).encode()


TYPES = [
    (TOKENIZE, b"[]", "body", "type"),
    (TOKENIZE, b"null", "body", "type"),
    (TOKENIZE, b'"' + CANARY.encode() + b'"', "body", "type"),
    (TOKENIZE, _tokenize(purpose=7), "purpose", "type"),
    (TOKENIZE, _tokenize(items={CANARY: 1}), "items", "type"),
    (TOKENIZE, _tokenize(items=[CANARY]), "items[0]", "type"),
    (TOKENIZE, _item(value=1_012_345_678), "items[1].value", "type"),
    (TOKENIZE, _item(value=None), "items[1].value", "type"),
    (TOKENIZE, _item(value=[CANARY]), "items[1].value", "type"),
    (TOKENIZE, _item(subject=[CANARY]), "items[1].subject", "type"),
    (TOKENIZE, _item(subject={"new": 1}), "items[1].subject.new", "type"),
    (TOKENIZE, _item(external_ref=4711), "items[1].external_ref", "type"),
    (DETOKENIZE, _detokenize(reveal=True), "reveal", "type"),
    (SEARCH, _search(value={"$ne": CANARY}), "value", "type"),
]

SHAPES = [
    (TOKENIZE, b"{}", "purpose", "required"),
    (
        TOKENIZE,
        json.dumps({"purpose": PURPOSE, "items": [{"field": "x"}]}).encode(),
        "items[0].value",
        "required",
    ),
    (TOKENIZE, _item(subject={}), "items[1].subject.new", "required"),
    (TOKENIZE, _tokenize(**{CANARY: CANARY}), "body", "unknown_field"),
    (TOKENIZE, _item(**{CANARY: CANARY}), "items[1]", "unknown_field"),
    (TOKENIZE, _item(subject={"new": "a", CANARY: CANARY}), "items[1].subject", "unknown_field"),
    (TOKENIZE, _tokenize(**{f"x` - at `$.{CANARY}": 1}), "body", "unknown_field"),
    (TOKENIZE, _tokenize(items=[]), "items", "too_few"),
    (TOKENIZE, _tokenize(purpose=""), "purpose", "too_short"),
    (TOKENIZE, _tokenize(purpose=CANARY * 8), "purpose", "too_long"),
    (TOKENIZE, _item(value=CANARY * 1_000), "items[1].value", "too_long"),
    (TOKENIZE, _item(reference=CANARY * 10), "items[1].reference", "too_long"),
    (DETOKENIZE, _detokenize(reveal=CANARY), "reveal", "choice"),
    (DETOKENIZE, _detokenize(items=[{"token": CANARY * 10}]), "items[0].token", "too_long"),
    (DETOKENIZE, _detokenize(reason=""), "reason", "too_short"),
    (SEARCH, _search(limit=5), "body", "unknown_field"),
]

MALFORMED = [
    (b"", "syntax"),
    (b"{", "syntax"),
    (_tokenize()[:-1], "syntax"),
    (_tokenize() + b" x", "syntax"),
    (b"\xef\xbb\xbf" + _tokenize(), "syntax"),
    (_tokenize().replace(b"010-1234-5678", b"010-\x001234"), "syntax"),
    (_tokenize().replace(b"010-1234-5678", b"\\ud800" + CANARY.encode()), "syntax"),
    (_tokenize().replace(b"010-1234-5678", CANARY.encode() + b"\xff"), "encoding"),
    (_tokenize().replace(b"010-1234-5678", b"\xed\xa0\x80"), "encoding"),
    (_tokenize().decode().encode("utf-16"), "syntax"),
    (b'{"purpose": NaN}', "syntax"),
]

DUPLICATES = [
    b'{"purpose": "inquiry", "purpose" : "member_communication", "items": [{"field": "f", "value": "v"}]}',
    b'{"purpose": "a", "items": [{"field": "f", "value": "v"}], "items": [{"field": "f", "value": "v"}]}',
    b'{"purpose": "a", "items": [{"field": "f", "value": "one", "value": ":two"}]}',
    b'{"purpose": "a", "items": [{"field": "f", "value": "v", "subject": {"new": "a", "new": "b"}}]}',
    b'{"purpose": "a", "purp\\u006fse": "b", "items": [{"field": "f", "value": "v"}]}',
]


def _send(world: World, path: str, body: bytes | Iterator[bytes], **headers: str) -> Any:
    return world.client.post(
        path,
        content=body,
        headers={"Content-Type": "application/json", **world.service.bearer, **headers},
    )


def _told(response: Any) -> tuple[int, str, str | None, str | None]:
    assert response.headers["content-type"] == "application/problem+json"
    assert CANARY not in response.text
    problem = response.json()
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["status"] == response.status_code
    return response.status_code, problem["code"], problem.get("field"), problem.get("rule")


@pytest.mark.parametrize(("path", "body", "field", "rule"), [*TYPES, *SHAPES])
def test_names_member_and_rule(world: World, path: str, body: bytes, field: str, rule: str) -> None:
    assert _told(_send(world, path, body)) == (422, "invalid_input", field, rule)


@pytest.mark.parametrize(("body", "rule"), MALFORMED)
def test_refuses_what_is_not_json(world: World, body: bytes, rule: str) -> None:
    assert _told(_send(world, TOKENIZE, body)) == (400, "malformed_json", "body", rule)


@pytest.mark.parametrize("body", DUPLICATES)
def test_refuses_duplicate_members(world: World, body: bytes) -> None:
    assert _told(_send(world, TOKENIZE, body)) == (422, "invalid_input", "body", "duplicate")


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"purpose":' + b"[" * 200_000, b'{"a":' * 200_000])
def test_refuses_deep_json(world: World, body: bytes) -> None:
    status, code, _, _ = _told(_send(world, TOKENIZE, body))
    assert (status, code) in {(400, "malformed_json"), (422, "invalid_input")}


def test_refuses_1001_items(world: World) -> None:
    refused = _send(world, TOKENIZE, _tokenize(items=[ITEM] * 1_001))
    assert _told(refused) == (422, "limit_exceeded", "items", "too_many")
    refused = _send(world, DETOKENIZE, _detokenize(items=[{"token": "phn_0"}] * 1_001))
    assert _told(refused) == (422, "limit_exceeded", "items", "too_many")


def test_takes_1000_items(own_world: World) -> None:
    assert len(_send(own_world, TOKENIZE, _tokenize(items=[ITEM] * 1_000)).json()["items"]) == 1_000


def test_refuses_two_mebibytes_by_their_length(world: World) -> None:
    refused = _send(world, TOKENIZE, _tokenize(reason=CANARY * (2 << 16)))
    assert _told(refused) == (413, "limit_exceeded", "body", "too_large")
    assert "connection" not in refused.headers


def test_refuses_two_mebibytes_that_come_in_parts(world: World) -> None:
    parts = iter([CANARY.encode() * 5_000] * 30)
    refused = _send(world, TOKENIZE, parts)
    assert _told(refused) == (413, "limit_exceeded", "body", "too_large")
    assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", CANARY])
def test_refuses_other_media_types(world: World, media_type: str) -> None:
    refused = _send(world, TOKENIZE, _tokenize(), **{"Content-Type": media_type})
    assert _told(refused) == (415, "unsupported_media_type", "Content-Type", "media_type")


def test_refuses_compressed_bodies(world: World) -> None:
    refused = _send(world, TOKENIZE, _tokenize(), **{"Content-Encoding": "gzip"})
    assert _told(refused)[:2] == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
def test_takes_json_that_says_it_is_utf8(world: World, media_type: str) -> None:
    assert _send(world, TOKENIZE, _tokenize(), **{"Content-Type": media_type}).status_code == 200


def test_refuses_parameters(world: World) -> None:
    refused = _send(world, f"{TOKENIZE}?purpose={CANARY}", _tokenize())
    assert _told(refused) == (422, "invalid_input", "query", "unknown_field")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_has_no_other_method(world: World, method: str) -> None:
    refused = world.client.request(method, TOKENIZE, headers=world.service.bearer)
    assert _told(refused)[:2] == (405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "schlüssel"])
def test_refuses_keys_that_are_none(world: World, key: str) -> None:
    headers = {**world.service.bearer, "Content-Type": "application/json", "Idempotency-Key": key}
    encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    refused = world.client.post(TOKENIZE, content=_tokenize(), headers=encoded)
    assert _told(refused) == (422, "invalid_input", "Idempotency-Key", "pattern")


@pytest.mark.parametrize(("path", "body"), [(DETOKENIZE, _detokenize()), (SEARCH, _search())])
def test_refuses_keys_where_none_are_kept(world: World, path: str, body: bytes) -> None:
    refused = _send(world, path, body, **{"Idempotency-Key": "k"})
    assert _told(refused) == (422, "invalid_input", "Idempotency-Key", "not_supported")


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key"])
def test_refuses_deciding_headers_that_come_twice(world: World, name: str) -> None:
    headers = [(name, "Bearer x"), *world.service.bearer.items(), ("Content-Type", "application/json")]
    headers += [("Idempotency-Key", "k")]
    refused = world.client.post(TOKENIZE, content=_tokenize(), headers=headers)
    assert _told(refused) == (400, "malformed_request", name, "duplicate")


def test_refuses_lengths_that_are_no_number(world: World) -> None:
    refused = _send(world, TOKENIZE, _tokenize(), **{"Content-Length": "1e3"})
    assert _told(refused) == (400, "malformed_request", "Content-Length", "format")


@pytest.mark.parametrize("member", ["reference", "external_ref", "subject"])
@pytest.mark.parametrize("text", ["a\0b", "a\u202eb", "a\nb"])
def test_refuses_control_characters_beside_values(world: World, member: str, text: str) -> None:
    value: Any = {"new": text} if member == "subject" else text
    body = {"purpose": "inquiry", "items": [{"field": "member.phone", "value": PHONE, member: value}]}
    refused = _send(world, TOKENIZE, json.dumps(body).encode())
    named = "items[0].subject.new" if member == "subject" else f"items[0].{member}"
    assert _told(refused) == (422, "invalid_input", named, "pattern")


@pytest.mark.parametrize("purpose", ["no_such_purpose", "ethics_counselling", CANARY])
def test_unknown_and_closed_purposes_look_alike(world: World, purpose: str) -> None:
    refused = _send(world, TOKENIZE, _tokenize(purpose=purpose))
    assert _told(refused) == (403, "purpose_not_allowed", "purpose", "not_allowed")


def test_reason_with_a_telephone_number_is_refused(world: World) -> None:
    refused = _send(world, DETOKENIZE, _detokenize(reason=f"call {PHONE}"))
    assert _told(refused) == (422, "invalid_value", "reason", "phone_number")
    assert PHONE not in refused.text


@pytest.mark.parametrize("token", ["phn_0", "phn_" + "0" * 40, "gen_" + "f" * 40, CANARY])
def test_tokens_that_are_none_are_unknown_items(world: World, token: str) -> None:
    answer = _send(world, DETOKENIZE, _detokenize(items=[{"token": token}]))
    assert answer.status_code == 207
    assert answer.json()["items"][0]["error"]["code"] == "unknown_token"


def test_flipped_character_and_wrong_type_are_unknown_items(world: World) -> None:
    token = world.ok(world.tokenize(PHONE))["items"][0]["token"]
    flipped = token[:-1] + ("0" if token[-1] != "0" else "1")
    for wrong in (flipped, "gen" + token[3:], token.upper()):
        assert world.detokenize(wrong).json()["items"][0]["error"]["code"] == "unknown_token"


@pytest.mark.parametrize(
    ("value", "rule"),
    [("010-12", None), (f"{CANARY}\u0000", "control"), ("", "empty"), ("010-****-5678", "masked")],
)
def test_bad_values_are_refused_by_item(world: World, value: str, rule: str | None) -> None:
    answer = _send(world, TOKENIZE, _item(value=value))
    assert answer.status_code == 207
    error = answer.json()["items"][1]["error"]
    assert (error["code"], error["field"]) == ("invalid_value", "member.phone")
    assert rule is None or error["rule"] == rule
    assert CANARY not in answer.text


def test_unknown_field_of_the_policy_is_refused_by_item(world: World) -> None:
    answer = _send(world, TOKENIZE, _item(field=CANARY))
    assert answer.status_code == 207
    error = answer.json()["items"][1]["error"]
    assert (error["code"], error["field"], error["rule"]) == ("invalid_input", "field", "unknown_field")
    assert CANARY not in answer.text


def test_search_refuses_what_cannot_be_searched(world: World) -> None:
    refused = _send(world, SEARCH, _search(field="member.gender", value="F"))
    assert _told(refused) == (422, "invalid_input", "field", "not_searchable")
    refused = _send(world, SEARCH, _search(value="010-12"))
    assert _told(refused)[:3] == (422, "invalid_value", "member.phone")
