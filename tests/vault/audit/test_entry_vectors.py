"""The vectors of docs/formats/log-entry.md hold, and hold without the encoder's help."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.vault.audit.builders import entry_of, whole
from tests.vault.audit.make_vectors import VECTORS, largest
from vault.audit.entry import ENTRY_LIMIT, HEADER_LIMIT, PART_LIMIT, decode, encode
from vault.audit.merkle import leaf_hash
from vault.audit.packing import MalformedEntryError
from vault.audit.verify.parts import PartSequence
from vault.audit.verify.report import Finding, Findings
from vault.domain.actions import Action

DOCUMENT = Path(__file__).parents[3] / "docs" / "formats" / "log-entry.md"
CONTENT = json.loads((VECTORS / "log-entry.json").read_text())
VALID: list[dict[str, Any]] = CONTENT["valid"]
MALFORMED: list[dict[str, Any]] = CONTENT["malformed"]


def stated(vector: dict[str, Any]) -> bytes:
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    unit, count = vector.get("tail", ["", 0])
    text: str = vector["text"] + unit * count
    return text.encode()


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector["name"])
def test_a_valid_entry_is_read_and_written_back_to_the_same_bytes(vector: dict[str, Any]) -> None:
    parts = [part.encode() for part in vector["parts"]]
    entries = [decode(part) for part in parts]
    if len(parts) == 1:
        assert encode(entries[0]) == parts
    assert [leaf_hash(part).hex() for part in parts] == vector["leaf_hashes"]
    assert [sha256(b"\0" + part).hexdigest() for part in parts] == vector["leaf_hashes"]


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector["name"])
def test_a_valid_entry_is_plain_compact_json(vector: dict[str, Any]) -> None:
    for part in vector["parts"]:
        assert json.dumps(json.loads(part), ensure_ascii=False, separators=(",", ":")) == part


@pytest.mark.parametrize("vector", MALFORMED, ids=lambda vector: vector["name"])
def test_refuses_a_malformed_entry_by_the_rule_it_breaks(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedEntryError) as caught:
        decode(stated(vector))
    assert caught.value.rule == vector["rule"]
    assert str(caught.value) == f"log entry breaks rule {vector['rule']}"


@pytest.mark.parametrize("vector", CONTENT["unwritable"], ids=lambda vector: ascii(vector["value"]))
def test_refuses_to_write_what_has_no_utf8_form(vector: dict[str, Any]) -> None:
    entry = entry_of()
    actor = replace(entry.actor, **{vector["member"]: vector["value"]})
    with pytest.raises(MalformedEntryError) as caught:
        encode(replace(entry, actor=actor))
    assert type(caught.value).__name__ == vector["error"]
    assert caught.value.rule == vector["rule"]
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("vector", CONTENT["sequences"], ids=lambda vector: vector["name"])
def test_parts_are_whole_contiguous_in_order_and_alike_as_the_vector_says(vector: dict[str, Any]) -> None:
    findings = Findings()
    sequence = PartSequence(findings)
    for index, text in enumerate(vector["entries"]):
        sequence.follow(index, decode(text.encode()))
    sequence.end()
    expected = [] if vector["first"] is None else [Finding(vector["finding"], vector["first"])]
    assert list(findings.found[:1]) == expected
    assert {finding.rule for finding in findings.found} <= {vector["finding"]}


def test_every_action_has_a_vector() -> None:
    assert {f"action {action}" for action in Action} <= {vector["name"] for vector in VALID}


def test_every_rule_of_the_document_has_a_malformed_vector() -> None:
    section = DOCUMENT.read_text().split("## 8. Refusal")[1].split("## 9.")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    rules = set(re.findall(r"`(\w+)`", "".join(cells)))
    # No bytes can hold text without a UTF-8 form: that rule binds writers alone.
    assert {vector["rule"] for vector in MALFORMED} == rules - {"text"}
    assert {vector["rule"] for vector in CONTENT["unwritable"]} == {"text"}


def test_a_thousand_subjects_and_the_largest_header_are_one_part() -> None:
    data = whole(largest())
    assert HEADER_LIMIT < len(data) <= PART_LIMIT < ENTRY_LIMIT
    entry = decode(data)
    assert entry.items is not None
    assert len({row.subject for row in entry.items.rows()}) == 1000
