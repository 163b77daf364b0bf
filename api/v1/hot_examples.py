"""Documentation of the hot path, which FastAPI does not see: bodies, answers, examples."""

from __future__ import annotations

from typing import Any, Final

from vault.domain.actions import Action
from vault.service.tokens import DetokenizeRequest, SearchRequest, TokenizeRequest

PHONE: Final = "phn_0001a1b2c3d4e5f60718293a4b5c6d7e8f901234"
GENDER: Final = "gen_00019f8e7d6c5b4a39281706f5e4d3c2b1a05678"
FOR_SENDER: Final = "phn_3001c2d3e4f5061728394a5b6c7d8e9f01122333"
ONCE: Final = "lgn_20010f1e2d3c4b5a69788796a5b4c3d2e1f04455"
SUBJECT: Final = "sub_f001112233445566778899aabbccddeeff009abc"
LEAF: Final = "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"

_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Why this item was not done.",
    "properties": {
        "code": {"type": "string"},
        "field": {"type": "string"},
        "rule": {"type": "string"},
        "detail": {"type": "string"},
    },
    "required": ["code", "field", "rule"],
}


def _answer(item: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    properties = {
        "log_index": {"type": "integer", "description": "Index of the entry of this request."},
        "leaf_hash": {"type": "string", "description": "Hash of that entry, in hexadecimal."},
        "items": {
            "type": "array",
            "description": "In the order of the request.",
            "items": {"type": "object", "properties": item},
        },
    }
    schema = {"type": "object", "properties": properties, "required": ["log_index", "leaf_hash", "items"]}
    return {"schema": schema, "example": example}


_TEXT: Final = {"type": "string"}

HOT_OPERATIONS: Final[dict[str, dict[str, Any]]] = {
    "/v1/tokenize": {
        "action": Action.TOKEN_TOKENIZE,
        "summary": "Swap values for tokens",
        "body": TokenizeRequest,
        "example": {
            "purpose": "inquiry",
            "items": [
                {
                    "reference": "r1",
                    "field": "member.phone",
                    "value": "010-1234-5678",
                    "subject": {"new": "m1"},
                    "external_ref": "user-4711",
                },
                {"reference": "r2", "field": "member.gender", "value": "F", "subject": {"new": "m1"}},
                {
                    "reference": "r3",
                    "field": "member.phone",
                    "value": "010-1234-5678",
                    "subject": {"new": "m1"},
                    "audience": "message_sender",
                },
                {
                    "reference": "r4",
                    "field": "member.login_id",
                    "value": "dalmuri7",
                    "subject": {"new": "m1"},
                    "kind": "one_time",
                },
            ],
        },
        "answer": _answer(
            {
                "reference": _TEXT,
                "token": _TEXT,
                "subject": _TEXT,
                "existing": {
                    "type": "boolean",
                    "description": "You had this token for the value already; or it is that of the audience.",
                },
                "warnings": {"type": "array", "items": _TEXT},
                "error": _ERROR,
            },
            {
                "log_index": 811,
                "leaf_hash": LEAF,
                "items": [
                    {"reference": "r1", "token": PHONE, "subject": SUBJECT},
                    {"reference": "r2", "token": GENDER, "subject": SUBJECT},
                    {"reference": "r3", "token": FOR_SENDER, "subject": SUBJECT},
                    {"reference": "r4", "token": ONCE, "subject": SUBJECT},
                ],
            },
        ),
    },
    "/v1/detokenize": {
        "action": Action.TOKEN_DETOKENIZE,
        "summary": "Swap tokens for values, masked unless asked for and granted otherwise",
        "body": DetokenizeRequest,
        "example": {
            "purpose": "inquiry",
            "reason": "call back, ticket 4711",
            "reveal": "masked",
            "items": [{"token": PHONE}],
        },
        "answer": _answer(
            {
                "reference": _TEXT,
                "token": _TEXT,
                "field": _TEXT,
                "value": _TEXT,
                "reveal": {"type": "string", "enum": ["masked", "plain"]},
                "error": _ERROR,
            },
            {
                "log_index": 812,
                "leaf_hash": LEAF,
                "items": [
                    {"token": PHONE, "field": "member.phone", "value": "010-****-5678", "reveal": "masked"}
                ],
            },
        ),
    },
    "/v1/search": {
        "action": Action.TOKEN_SEARCH,
        "summary": "Find the tokens of exactly this value of one field",
        "body": SearchRequest,
        "example": {"purpose": "inquiry", "field": "member.phone", "value": "010-1234-5678"},
        "answer": _answer(
            {
                "token": _TEXT,
                "subject": _TEXT,
                "field": _TEXT,
                "audience": {"type": "string", "description": "Recipient for whom the token is, if for one."},
            },
            {
                "log_index": 813,
                "leaf_hash": LEAF,
                "items": [{"token": PHONE, "subject": SUBJECT, "field": "member.phone"}],
            },
        ),
    },
}
