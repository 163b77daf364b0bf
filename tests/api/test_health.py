"""Alive, ready, counted."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.testclient import TestClient

from api.metrics import Gauges, Metrics
from tests.api.world import FOR_TWO_DAYS, PHONE, World, open_world, populate
from vault.assembly import Sealing, change_root_key
from vault.service.upkeep import Health


def test_alive_and_ready(world: World) -> None:
    assert world.client.get("/healthz").json() == {"status": "alive", "reasons": []}
    assert world.client.get("/readyz").json() == {"status": "ready", "reasons": [], "keys": "green"}


def test_unready_when_the_log_does_not_verify(own_world: World) -> None:
    own_world.vault.upkeep.stop()
    own_world.vault.upkeep.health = Health(0, "tamper_detected", 0)
    refused = own_world.client.get("/readyz")
    assert refused.status_code == 503
    assert refused.json() == {"status": "unready", "reasons": ["tamper_detected"]}


def test_a_late_key_is_told_yellow_then_red_and_requests_come_all_the_same(tmp_path: Path) -> None:
    world = open_world(tmp_path / "home", more_policy=FOR_TWO_DAYS)

    def ready() -> tuple[int, str]:
        told = world.client.get("/readyz")
        body = told.json()
        assert (body["status"], body["reasons"]) == ("ready", [])
        return told.status_code, body["keys"]

    with world.client:
        populate(world)
        for days, light in ((1, "green"), (1, "yellow"), (29, "yellow"), (1, "red")):
            world.clock.advance(days=days)
            assert ready() == (200, light)
        admin = world.log_in(world.people["admin"])
        for kind in ("wrapping", "session"):
            world.ok(world.client.post("/v1/keys/rotate", json={"kind": kind}, headers=admin))
        told = world.ok(world.client.get("/v1/status", headers=admin))
        assert (told["keys"], told["late_keys"], ready()) == ("red", ["root//1"], (200, "red"))
        change_root_key(world.settings, Sealing(), clock=world.clock)
        world.vault.upkeep.round()
        assert ready() == (200, "green")


def test_metrics_are_for_this_host_and_for_who_is_known(world: World) -> None:
    far = TestClient(world.app, client=("203.0.113.7", 1))
    assert far.get("/metrics").status_code == 401
    assert far.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
    assert far.get("/metrics", headers=world.service.bearer).status_code == 200
    assert world.client.get("/metrics").status_code == 200


def test_metrics_count_by_route_and_status_and_name_nobody(world: World) -> None:
    token = world.ok(world.tokenize(PHONE, PHONE))["items"][0]["token"]
    world.client.get(f"/v1/tokens/{token}", headers=world.service.bearer)
    world.client.get("/nowhere", headers=world.service.bearer)
    world.client.post("/v1/tokenize")
    told = world.client.get("/metrics")
    assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = told.text
    assert re.search(r'piivault_http_answers_total\{route="/v1/tokenize",status="200"\} [1-9]', text)
    assert re.search(r'piivault_http_answers_total\{route="/v1/tokenize",status="401"\} [1-9]', text)
    assert re.search(r'piivault_http_answers_total\{route="/v1/tokens/\{token\}",status="\d+"\} [1-9]', text)
    assert re.search(r'piivault_http_answers_total\{route="other",status="404"\} [1-9]', text)
    assert re.search(r'piivault_items_total\{route="/v1/tokenize"\} [1-9]', text)
    assert token not in text
    assert "nowhere" not in text


def test_metrics_render_what_is_measured() -> None:
    metrics = Metrics()
    text = metrics.render(Gauges(10, 7, 3, trouble=True, background_trouble=True)).decode()
    for line in (
        "piivault_log_entries 10",
        "piivault_log_unintegrated_entries 3",
        "piivault_revision 3",
        "piivault_upkeep_trouble 1",
        "piivault_background_trouble 1",
    ):
        assert f"\n{line}\n" in text
    assert "unintegrated_entries 0\n" in metrics.render(Gauges(1, 2, 0, trouble=False)).decode()
