"""Marked personal data is planted through the interface and found only in the answer to who may see it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from tests.api.world import PURPOSE, World

PHONE = "010-7731-9264"
DIGITS = "77319264"
WORDS = ("CanaryReasonWord", "canary-ref-55120")


def _everything_on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def _refusals(
    world: World, body: dict[str, Any], search: dict[str, Any], masked: dict[str, Any]
) -> list[Response]:
    """Return refusals of every kind, each of which was sent planted data in some place."""
    return [
        world.client.post("/v1/tokenize", json=body),
        world.client.post("/v1/tokenize", json=body, headers=world.admin),
        world.client.post("/v1/search", json={**search, "field": PHONE}, headers=world.service.bearer),
        world.client.post("/v1/search", json={**search, PHONE: 1}, headers=world.service.bearer),
        world.client.post("/v1/search", json={**search, "value": [PHONE]}, headers=world.service.bearer),
        world.client.post("/v1/search", json={**search, "purpose": PHONE}, headers=world.service.bearer),
        world.client.post("/v1/detokenize", content=json.dumps(masked)[:-1], headers=world.service.bearer),
        world.client.get(f"/v1/tokens/{PHONE}", params={"purpose": PHONE}, headers=world.service.bearer),
        world.client.get(f"/{PHONE}"),
        world.client.get("/v1/staff", headers={"Authorization": f"Bearer {PHONE}"}),
    ]


def test_planted_data_is_found_nowhere(own_world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = own_world
    body = {
        "purpose": PURPOSE,
        "items": [
            {"field": "member.phone", "value": PHONE, "external_ref": WORDS[1]},
            {"field": "member.gender", "value": f"{PHONE} F"},
        ],
    }
    headers = {**world.service.bearer, "Idempotency-Key": "canary"}
    made = world.client.post("/v1/tokenize", json=body, headers=headers)
    token = made.json()["items"][0]["token"]
    again = world.client.post("/v1/tokenize", json=body, headers=headers)
    search = {"purpose": PURPOSE, "field": "member.phone", "value": PHONE}
    found = world.client.post("/v1/search", json=search, headers=world.service.bearer)
    assert [item["token"] for item in found.json()["items"]] == [token]
    masked = {"purpose": PURPOSE, "reason": WORDS[0], "items": [{"token": token}]}
    opened = world.client.post("/v1/detokenize", json=masked, headers=world.service.bearer)
    reviewer = world.hire("reviewer").bearer
    world.vault.upkeep.round()
    refused = _refusals(world, body, search, masked)
    assert all(answer.is_client_error for answer in refused)
    told = [
        made,
        again,
        found,
        opened,
        *refused,
        world.client.get("/metrics"),
        world.client.get("/readyz"),
        world.client.get("/v1/audit/entries", headers=reviewer),
        world.client.get("/v1/audit/export", headers=reviewer),
    ]
    places = {f"answer {number}": answer.text for number, answer in enumerate(told)}
    ours = [record for record in caplog.records if not record.name.startswith("httpx2")]
    places["log of the server"] = "\n".join(record.getMessage() for record in ours)
    places["disk"] = _everything_on_disk(world.settings.home).decode("latin-1")
    for place, text in places.items():
        for planted in (PHONE, DIGITS, *WORDS):
            assert planted not in text, place


def test_reason_is_shown_to_the_reviewer_alone(own_world: World) -> None:
    token = own_world.ok(own_world.tokenize(PHONE))["items"][0]["token"]
    body = {"purpose": PURPOSE, "reason": WORDS[0], "items": [{"token": token}]}
    index = own_world.ok(
        own_world.client.post("/v1/detokenize", json=body, headers=own_world.service.bearer)
    )["log_index"]
    reviewer = own_world.hire("reviewer").bearer
    shown = own_world.client.get(f"/v1/audit/entries/{index}", headers=reviewer)
    assert own_world.ok(shown)["reason"] == WORDS[0]
    assert own_world.client.get(f"/v1/audit/entries/{index}", headers=own_world.admin).status_code == 403
