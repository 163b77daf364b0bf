"""A sealed vault over HTTP: what answers, what does not, and how it is opened again."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response, post
from starlette.testclient import TestClient

from api import bodies
from api.app import build_app, routed
from api.edge import Edge
from api.session import UNSEAL, WHEN_SEALED
from keys.passwords import Passwords
from tests.api.served import served
from tests.api.world import CHEAP, LOOPBACK, PHONE, POLICY, World, open_world, populate
from vault.access.staff import Person
from vault.assembly import New, Sealing, initialise, open_or_wait, unseal_on_host
from vault.domain.model import Role
from vault.policy.policy import Policy

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

FAR = ("203.0.113.7", 1)
OPEN = {*WHEN_SEALED, ("GET", UNSEAL), ("POST", UNSEAL), ("DELETE", UNSEAL)}
ROUTES = sorted(
    [("GET", "/openapi.json")]
    + [
        (method.upper(), path)
        for path, operations in json.loads(routed().state.document)["paths"].items()
        for method in operations
    ]
)


def test_routes_are_all_looked_at() -> None:
    assert len(ROUTES) > 40
    assert set(ROUTES) >= OPEN


def told(response: Response, status: int) -> dict[str, Any]:
    """Return the body of an answer of this status."""
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.fixture
def sealed_world(own_world: World) -> World:
    """A world whose administrator has just sealed it."""
    told(own_world.client.post("/v1/seal", json={"reason": "drill"}, headers=own_world.admin), 200)
    return own_world


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, list[str]]]:
    """A served vault in shares that nobody has given yet, and its shares. Tests leave it shut."""
    client, shares = _in_shares(tmp_path_factory.mktemp("shut") / "home")
    with client:
        yield client, shares


def _in_shares(home: Path) -> tuple[TestClient, list[str]]:
    made = initialise(
        home,
        policy=Policy.parse(POLICY.read_text(encoding="utf-8")),
        administrator=Person("admin", "Kim Admin", Role.ADMINISTRATOR),
        officer=Person("officer", "Lee Officer", Role.OFFICER),
        sealing=Sealing(root=New("shamir", threshold=2, shares=3)),
    )
    vault = open_or_wait(made.settings, passwords=Passwords(CHEAP))
    return TestClient(build_app(vault), client=LOOPBACK), [share.expose() for share in made.shares]


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=str)
def test_every_route_but_a_few_is_sealed(shut: tuple[TestClient, list[str]], method: str, path: str) -> None:
    answered = shut[0].request(method, path)
    if (method, path) in OPEN:
        assert "urn:piivault:problem:sealed" not in answered.text
    else:
        problem = told(answered, 503)
        assert problem["code"] == "sealed"
        assert answered.headers["retry-after"] == "30"
        assert problem["request_id"] == answered.headers["x-request-id"]


def test_a_route_that_does_not_exist_is_sealed_too(shut: tuple[TestClient, list[str]]) -> None:
    assert told(shut[0].get("/nowhere"), 503)["code"] == "sealed"
    assert told(shut[0].put("/v1/tokenize"), 503)["code"] == "sealed"


def test_health_says_what_it_waits_for(shut: tuple[TestClient, list[str]]) -> None:
    client, _ = shut
    assert told(client.get("/healthz"), 200)["status"] == "alive"
    assert told(client.get("/readyz"), 503) == {
        "status": "unready",
        "reasons": ["sealed"],
        "why": "waiting",
        "holder": "shamir",
        "given": 0,
        "needed": None,
    }
    metrics = client.get("/metrics").text
    assert "\npiivault_sealed 1\n" in metrics
    assert "/v1/unseal" in client.get("/openapi.json").text


def test_unseal_is_unknown_elsewhere(shut: tuple[TestClient, list[str]]) -> None:
    far = TestClient(shut[0].app, client=FAR)
    for method in ("GET", "POST", "DELETE", "PUT"):
        mine, unknown = far.request(method, UNSEAL), far.request(method, "/v1/nowhere")
        assert (mine.status_code, mine.json()["code"]) == (unknown.status_code, unknown.json()["code"])


def test_unseal_is_unknown_elsewhere_of_an_open_vault_too(world: World) -> None:
    far = TestClient(world.app, client=FAR)
    for headers, status in ((None, 401), (world.service.bearer, 404)):
        for method in ("GET", "POST", "DELETE", "PUT"):
            mine = far.request(method, UNSEAL, headers=headers)
            unknown = far.request(method, "/v1/nowhere", headers=headers)
            assert told(mine, status)["code"] == told(unknown, status)["code"]
            assert told(mine, status)["detail"] == told(unknown, status)["detail"]


def test_a_claimed_address_is_not_believed(shut: tuple[TestClient, list[str]]) -> None:
    far = TestClient(shut[0].app, client=FAR)
    assert told(far.get(UNSEAL, headers={"X-Forwarded-For": "127.0.0.1"}), 503)["code"] == "sealed"


def test_no_network_is_nobody(world: World) -> None:
    client = TestClient(build_app(world.vault, ()), client=LOOPBACK)
    assert told(client.get(UNSEAL), 401)["code"] == "authentication_failed"


@pytest.mark.parametrize(
    ("body", "status", "field", "rule"),
    [
        (b"{}", 422, "body", "required"),
        (b'{"share": "a", "passphrase": "b"}', 422, "body", "required"),
        (b'{"share": ""}', 422, "share", "too_short"),
        (b'{"share": 7}', 422, "share", "type"),
        (b'{"share": "%s"}' % (b"a" * 1_025), 422, "share", "too_long"),
        (b'{"share": "a", "more": 1}', 422, "body", "unknown_field"),
        (b'{"share": "acid acid"}', 422, "share", "share_malformed"),
        (b'{"share"', 400, "body", "syntax"),
        (b" " * 4_097, 413, "body", "too_large"),
    ],
)
def test_refuses_what_is_no_share(tmp_path: Path, body: bytes, status: int, field: str, rule: str) -> None:
    client, _ = _in_shares(tmp_path / "home")
    with client:
        refused = client.post(UNSEAL, content=body, headers={"Content-Type": "application/json"})
        problem = told(refused, status)
        assert (problem["field"], problem["rule"]) == (field, rule)
        assert "acid" not in refused.text
        assert told(client.get(UNSEAL), 200)["given"] == 0


def test_two_keepers_open_it_and_everything_goes_on(tmp_path: Path) -> None:
    client, shares = _in_shares(tmp_path / "home")
    with client:
        first = told(client.post(UNSEAL, json={"share": shares[2]}), 200)
        assert (first["sealed"], first["given"], first["needed"], first["log_index"]) == (True, 1, 2, None)
        assert told(client.get("/readyz"), 503)["given"] == 1
        second = told(client.post(UNSEAL, json={"share": f"  {shares[0].upper()}\n"}), 200)
        assert (second["sealed"], second["given"], second["log_index"]) == (False, 0, 1)
        assert told(client.get("/readyz"), 200)["status"] == "ready"
        assert told(client.get("/v1/audit/key"), 200)
        assert told(client.post(UNSEAL, json={"share": shares[1]}), 409)["code"] == "conflict"


def test_collected_shares_are_dropped_when_asked(shut: tuple[TestClient, list[str]]) -> None:
    client, shares = shut
    told(client.post(UNSEAL, json={"share": shares[0]}), 200)
    assert client.delete(UNSEAL).status_code == 204
    assert told(client.get(UNSEAL), 200)["given"] == 0


def test_seal_takes_an_administrator(world: World) -> None:
    for bearer in (world.officer, world.service.bearer):
        assert told(world.client.post("/v1/seal", headers=bearer), 403)["code"] == "access_denied"
    assert told(world.client.post("/v1/seal"), 401)
    number = told(
        world.client.post("/v1/seal", json={"reason": "call 010-1234-5678"}, headers=world.admin), 422
    )
    assert (number["field"], number["rule"]) == ("reason", "phone_number")
    assert not world.vault.is_sealed


def test_sealed_at_once_and_open_again_when_a_person_says_so(sealed_world: World) -> None:
    world = sealed_world
    assert told(world.tokenize(PHONE), 503)["code"] == "sealed"
    assert told(world.client.get("/v1/status", headers=world.admin), 503)["code"] == "sealed"
    # Known from before, and no secret.
    assert told(world.client.post(UNSEAL, json={"share": "x"}), 409)["code"] == "conflict"
    world.vault.upkeep.round()
    assert told(world.client.get("/readyz"), 503)["why"] == "sealed"
    done = unseal_on_host(world.settings, clock=world.clock)
    assert not done.by_people
    world.vault.upkeep.round()
    assert told(world.client.get("/readyz"), 200)
    token = told(world.tokenize(PHONE), 200)["items"][0]["token"]
    assert told(world.detokenize(token), 200)
    entry = told(
        world.client.get(
            f"/v1/audit/entries/{done.log_index - 1}", headers=world.log_in(world.hire("reviewer"))
        ),
        200,
    )
    assert (entry["action"], entry["reason"]) == ("vault:seal", "drill")


def test_public_key_of_the_log_is_told_while_sealed(own_world: World) -> None:
    before = told(own_world.client.get("/v1/audit/key"), 200)
    told(own_world.client.post("/v1/seal", headers=own_world.admin), 200)
    assert told(own_world.client.get("/v1/audit/key"), 200) == before
    vault = open_or_wait(own_world.settings, clock=own_world.clock)
    with TestClient(build_app(vault), client=LOOPBACK) as client:
        assert told(client.get("/v1/audit/key"), 200) == before


def test_starts_sealed_after_a_seal_and_does_not_open_by_itself(sealed_world: World) -> None:
    vault = open_or_wait(sealed_world.settings, clock=sealed_world.clock)
    with TestClient(build_app(vault), client=LOOPBACK) as client:
        vault.upkeep.round()
        assert told(client.get("/readyz"), 503)["why"] == "sealed"


def test_world_is_served_after_a_sealed_start(tmp_path: Path) -> None:
    world = open_world(tmp_path / "home")
    world.vault.close()
    vault = open_or_wait(world.settings, clock=world.clock, passwords=Passwords(CHEAP))
    world.vault, world.app = vault, build_app(vault)
    world.client = TestClient(world.app, client=LOOPBACK)
    with world.client:
        populate(world)
        assert told(world.tokenize(PHONE), 200)


def test_a_share_that_trickles_in_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 1.0)
    client, shares = _in_shares(tmp_path / "home")
    assert isinstance(client.app, Edge)
    with served(client.app) as (host, port), socket.create_connection((host, port)) as slow:
        slow.sendall(
            b"POST /v1/unseal HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 300\r\n\r\n{"share": "academic'
        )
        states = [
            told(post(f"http://{host}:{port}{UNSEAL}", json={"share": share}, trust_env=False), 200)["sealed"]
            for share in shares[:2]
        ]
        assert states == [True, False]
        slow.settimeout(10)
        assert slow.recv(64).startswith(b"HTTP/1.1 408")
