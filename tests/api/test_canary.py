"""Personal data and keys are looked for wherever they must not be: logs, answers, disk, environment."""

from __future__ import annotations

import base64
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response

from keys.keyring import root_context
from tests.api.world import PASSWORD, PURPOSE, World, open_world, populate
from vault.assembly.backups import Unlocking
from vault.storage.keys import read_keys
from vault.storage.roots import read_roots

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


def _forms(secret: bytes) -> tuple[bytes, ...]:
    """Return a secret as it could stand anywhere: raw, in hexadecimal, in base64, as Python shows it."""
    text = repr(secret)[2:-1].encode()
    return secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"="), text


def _secrets(world: World) -> dict[str, bytes]:
    """Return every key of the vault in the clear, and what people and services have shown."""
    vault_id = bytes.fromhex(world.vault.status().vault_id)
    with world.vault.changes.database.reading() as connection:
        copies, records = read_roots(connection), read_keys(connection)
    root = Unlocking().open(world.settings, copies, vault_id)
    found = {
        record.name: root.unwrap(record.wrapped, root_context(vault_id, record)).expose()
        for record in records
    }
    found["password"] = PASSWORD.encode()
    found["client secret"] = world.service.secret.encode()
    found |= {f"authenticator of {login}": human.totp.byte_secret() for login, human in world.people.items()}
    found |= {
        f"session of {login}": human.bearer["Authorization"].removeprefix("Bearer ").encode()
        for login, human in world.people.items()
    }
    return found


def test_no_key_and_no_secret_is_found_in_the_clear(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the log of the server, not on disk, not in what a command started from here would inherit."""
    caplog.set_level(logging.DEBUG)
    world = open_world(tmp_path / "home")
    with world.client:
        populate(world)
        token = world.ok(world.tokenize(PHONE))["items"][0]["token"]
        world.ok(world.detokenize(token))
        for kind in ("wrapping", "authority", "session", "log_signing", "log_mac", "staff_data"):
            world.ok(world.client.post("/v1/keys/rotate", json={"kind": kind}, headers=world.admin))
        world.vault.upkeep.round()
        secrets = _secrets(world)
        with world.vault.changes.database.reading() as connection:
            wrapped = [record.wrapped for record in read_keys(connection)]
    assert len(secrets) > 20
    assert "wrapping//2" in secrets
    ours = (record for record in caplog.records if not record.name.startswith("httpx2"))
    places = {
        "log of the server": "\n".join(record.getMessage() for record in ours).encode(),
        "disk": _everything_on_disk(world.settings.home),
        "environment": repr(dict(os.environ)).encode(),
    }
    # The control: wrapped they are there, and what opens them is in its file alone.
    assert all(key in places["disk"] for key in wrapped)
    opens = world.settings.root_key.read_bytes().split()[1]
    assert [content.count(opens) for content in places.values()] == [0, 1, 0]
    in_the_clear = [
        (name, place)
        for name, secret in secrets.items()
        for place, content in places.items()
        if any(form in content for form in _forms(secret))
    ]
    assert in_the_clear == []
