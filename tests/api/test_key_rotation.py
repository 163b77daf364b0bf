"""Every kind of key is rotated over HTTP while people and services go on with what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.world import PHONE, World, eventually

KINDS = ("authority", "log_mac", "log_signing", "session", "staff_data", "token", "wrapping")


def _rotate_everything(world: World) -> None:
    for kind in KINDS:
        told = world.ok(world.client.post("/v1/keys/rotate", json={"kind": kind}, headers=world.admin))
        assert (told["old"], told["new"]) == (1, 2)


def _reseal(world: World, kind: str) -> dict[str, Any]:
    started = world.client.post("/v1/keys/reseal", json={"kind": kind}, headers=world.admin)
    begun = world.ok(started)["job"]["id"]

    def look() -> dict[str, Any]:
        jobs = world.ok(world.client.get("/v1/keys/jobs", headers=world.admin))["items"]
        return next(found for found in jobs if found["id"] == begun)

    return eventually(look, lambda job: job["state"] == "done")


def test_nobody_notices_a_rotation_of_everything(each_world: World) -> None:
    token = each_world.ok(each_world.tokenize(PHONE))["items"][0]["token"]
    handler = each_world.hire("handler")
    _rotate_everything(each_world)
    # The access token, the sessions and the client secret of before.
    assert each_world.ok(each_world.detokenize(token, reveal="plain"))["items"][0]["value"] == PHONE
    each_world.ok(each_world.client.get("/v1/status", headers=handler.bearer))
    each_world.authorise(each_world.service)
    each_world.log_in(handler)
    for kind in ("authority", "staff_data"):
        # Which job is the last is told by when it began.
        each_world.clock.advance(seconds=1)
        job = _reseal(each_world, kind)
        assert (job["target"], job["failed"], job["done"]) == (kind, 0, job["total"])
    assert each_world.ok(each_world.detokenize(token, reveal="plain"))["items"][0]["value"] == PHONE
    each_world.log_in(handler)
    each_world.vault.upkeep.round()
    eventually(lambda: each_world.vault.upkeep.health.trouble, lambda trouble: trouble == "")


def test_the_census_tells_what_hangs_on_each_kind(each_world: World) -> None:
    _rotate_everything(each_world)
    answer = each_world.client.get("/v1/keys/census", headers=each_world.admin)
    found = {(key["kind"], key["version"]): key for key in each_world.ok(answer)["items"]}
    session = found["session", 1]
    assert session["counts"]["credentials"] == 1
    assert session["total"] == sum(session["counts"].values())
    assert session["held_until"] == "2026-12-01T10:" + session["held_until"].partition(":")[2]
    assert found["log_signing", 1]["held_until"].startswith("2026-12-08T")
    assert found["wrapping", 1]["counts"] == {}
    assert found["wrapping", 2]["held_until"] is None
    assert {kind for kind, _ in found} >= set(KINDS)


def test_the_public_key_is_shown_with_the_one_before(each_world: World) -> None:
    before = each_world.ok(each_world.client.get("/v1/audit/key"))
    assert [key["vkey"] for key in before["keys"]] == [before["vkey"]]
    _rotate_everything(each_world)
    after = each_world.ok(each_world.client.get("/v1/audit/key"))
    assert [key["vkey"] for key in after["keys"]] == [after["vkey"], before["vkey"]]
    assert (after["keys"][0]["replaced_at"], after["keys"][1]["replaced_at"] is None) == (None, False)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/keys/reseal", {"kind": "session"}, 422),
        ("/v1/keys/rotate", {"kind": "root"}, 422),
        ("/v1/keys/destroy", {"kind": "token", "version": 1, "reason": "old"}, 422),
        ("/v1/keys/destroy", {"kind": "authority", "version": 1, "reason": "old"}, 409),
        ("/v1/keys/destroy", {"kind": "authority", "version": 7, "reason": "old"}, 404),
    ],
)
def test_refuses_what_cannot_be(each_world: World, path: str, body: dict[str, Any], status: int) -> None:
    assert each_world.client.post(path, json=body, headers=each_world.admin).status_code == status
