from __future__ import annotations

import hashlib
from typing import Any

from keys.bearer import SessionKeys
from keys.context import ValueContext, encode_context, require_vault_id, u32, u64
from keys.macs import AuthorityKeys, LogMacKeys, MacKeys
from tests.keys.vectors import cases, load, refusal, secret, unhex

VECTORS = load("context")
NUMBERS = VECTORS["numbers"]
WIDTHS = {32: u32, 64: u64}


def parts_of(case: dict[str, Any]) -> list[bytes]:
    return [bytes(int(text[3:])) if text.startswith("00*") else unhex(text) for text in case["parts"]]


@cases(VECTORS["valid"])
def test_context_is_that_of_the_vector(case: dict[str, Any]) -> None:
    context = encode_context(*parts_of(case))
    if "context" in case:
        assert context.hex() == case["context"]
    else:
        assert hashlib.sha256(context).hexdigest() == case["context_sha256"]


@cases(VECTORS["malformed"])
def test_refuses_part_that_is_too_long(case: dict[str, Any]) -> None:
    with refusal(case):
        encode_context(*parts_of(case))


@cases(VECTORS["vault_ids"])
def test_refuses_vault_id_of_another_length_wherever_one_is_taken(case: dict[str, Any]) -> None:
    vault = unhex(case["vault"])
    keys = MacKeys("authority", 1, [(1, secret("00" * 32))])
    with refusal(case):
        require_vault_id(vault)
    with refusal(case):
        ValueContext(vault)
    with refusal(case):
        AuthorityKeys(vault, keys)
    with refusal(case):
        LogMacKeys(vault, keys)
    with refusal(case):
        SessionKeys(vault, keys)


@cases(NUMBERS["valid"])
def test_number_is_that_of_the_vector(case: dict[str, Any]) -> None:
    assert WIDTHS[case["width"]](case["number"]).hex() == case["bytes"]


@cases(NUMBERS["malformed"])
def test_refuses_number_out_of_range(case: dict[str, Any]) -> None:
    with refusal(case):
        WIDTHS[case["width"]](case["number"])
