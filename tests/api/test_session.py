"""Who is asking: one bearer becomes an actor, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.session import LOOPBACK_ONLY, MOST_HELD, PUBLIC, UNSEALING, WHEN_SEALED, Bearers, is_public
from tests.api.world import PHONE, PURPOSE, World
from vault.assembly import open_vault
from vault.domain.errors import AuthenticationError, SessionExpiredError
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin
from vault.service.sessions import Admitted
from vault.service.vault import Vault

ORIGIN = Origin(RequestId("req_" + "0" * 32), "127.0.0.1")

UNKNOWN = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Basic c3ZjOnB2cw=="},
    {"Authorization": "Bearer CANARY"},
    {"Authorization": "Bearer pva_" + "0" * 138},
    {"Authorization": "Bearer pvn_" + "0" * 72},
    {"Authorization": "Bearer pva_" + "0" * 600},
    {"Authorization": "Bearer pvs_" + "0" * 72},
]


def _entries(world: World, action: str, outcome: str) -> list[dict[str, Any]]:
    reviewer = world.people.get("reviewer") or world.hire("reviewer")
    world.people["reviewer"] = reviewer
    page = world.client.get(
        "/v1/audit/entries", params={"action": action, "outcome": outcome}, headers=reviewer.bearer
    )
    return list(world.ok(page)["items"])


def test_public_routes_are_these() -> None:
    assert PUBLIC == (
        ("GET", "/healthz"),
        ("GET", "/openapi.json"),
        ("GET", "/readyz"),
        ("GET", "/v1/audit/key"),
        ("POST", "/oauth2/token"),
        ("POST", "/v1/enrolment"),
        ("POST", "/v1/enrolment/finish"),
        ("POST", "/v1/password"),
        ("POST", "/v1/session"),
    )
    assert LOOPBACK_ONLY == (("GET", "/metrics"),)
    assert UNSEALING == (("DELETE", "/v1/unseal"), ("GET", "/v1/unseal"), ("POST", "/v1/unseal"))
    assert WHEN_SEALED == (
        ("GET", "/healthz"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/readyz"),
        ("GET", "/v1/audit/key"),
    )


def test_everything_else_is_closed(world: World) -> None:
    paths = world.ok(world.client.get("/openapi.json"))["paths"]
    closed = [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in paths.items()
        for method in operations
        if not is_public(method.upper(), path, "127.0.0.1") and (method.upper(), path) not in UNSEALING
    ]
    assert len(closed) > 20
    for method, path in [*closed, ("GET", "/"), ("GET", "/v1/nothing"), ("PUT", "/v1/session")]:
        refused = world.client.request(method, path)
        assert (refused.status_code, refused.json()["code"]) == (401, "authentication_failed"), path
        assert refused.headers["www-authenticate"] == 'Bearer realm="piivault"'


@pytest.mark.parametrize("headers", UNKNOWN)
@pytest.mark.parametrize("path", ["/v1/tokenize", "/v1/keys/rotate"])
def test_bad_bearers_look_alike(world: World, path: str, headers: dict[str, str]) -> None:
    refused = world.client.post(path, headers=headers, json={})
    assert (refused.status_code, refused.json()["code"]) == (401, "authentication_failed")
    assert "CANARY" not in refused.text


def test_scheme_is_not_case_sensitive(world: World) -> None:
    bearer = world.service.bearer["Authorization"].replace("Bearer ", "bearer ")
    body = {"purpose": PURPOSE, "field": "member.phone", "value": PHONE}
    assert world.client.post("/v1/search", json=body, headers={"Authorization": bearer}).is_success


def test_access_token_ends(own_world: World) -> None:
    assert own_world.tokenize(PHONE).is_success
    own_world.clock.advance(seconds=601)
    refused = own_world.tokenize(PHONE)
    assert (refused.status_code, refused.json()["code"]) == (401, "session_expired")


def test_session_ends_when_idle_and_after_a_day_of_work(own_world: World) -> None:
    admin = own_world.people["admin"]
    own_world.clock.advance(minutes=11)
    refused = own_world.client.get("/v1/staff", headers=admin.bearer)
    assert (refused.status_code, refused.json()["code"]) == (401, "session_expired")
    own_world.log_in(admin)
    for _ in range(8 * 60 // 9):
        own_world.clock.advance(minutes=9)
        assert own_world.client.get("/v1/staff", headers=admin.bearer).is_success
    own_world.clock.advance(minutes=9)
    assert own_world.client.get("/v1/staff", headers=admin.bearer).status_code == 401


def test_session_that_was_closed_is_over(own_world: World) -> None:
    admin = own_world.admin
    assert own_world.client.delete("/v1/session", headers=admin).status_code == 204
    assert own_world.client.get("/v1/staff", headers=admin).status_code == 401


def test_staff_may_take_the_hot_path(own_world: World) -> None:
    handler = own_world.hire("handler")
    own_world.grant("staff", handler.staff_id)
    body = {"purpose": PURPOSE, "items": [{"field": "member.phone", "value": PHONE}]}
    assert own_world.client.post("/v1/tokenize", json=body, headers=handler.bearer).is_success


def test_forwarded_addresses_are_not_believed(own_world: World) -> None:
    service = own_world.employ()
    own_world.grant("service", service.client_id, networks=["203.0.113.0/24"])
    body = {"purpose": PURPOSE, "items": [{"field": "member.phone", "value": PHONE}]}
    claims = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7", "X-Real-IP": "203.0.113.7"}
    refused = own_world.client.post("/v1/tokenize", json=body, headers={**service.bearer, **claims})
    assert refused.status_code == 403


def test_strangers_are_counted_in_the_log(own_world: World) -> None:
    for headers in UNKNOWN:
        own_world.client.post("/v1/tokenize", headers=headers)
    own_world.client.get("/v1/staff", headers={"Authorization": "Bearer pvn_" + "0" * 72})
    own_world.clock.advance(minutes=2)
    own_world.log_in(own_world.people["admin"])
    own_world.log_in(own_world.people["officer"])
    own_world.vault.upkeep.round()
    services = {
        entry["decision"]["rule"]: entry["count"]
        for entry in _entries(own_world, "service:authenticate", "refused")
    }
    assert services == {"no_bearer": 5, "access_token": 4}
    (sessions,) = _entries(own_world, "session:open", "refused")
    assert (sessions["actor"]["kind"], sessions["count"]) == ("stranger", 2)


def test_refusal_of_somebody_known_is_in_the_log(own_world: World) -> None:
    refused = own_world.client.get("/v1/keys", headers=own_world.officer)
    assert refused.status_code == 403
    (entry,) = _entries(own_world, "key:list", "refused")
    assert entry["request"] == refused.headers["x-request-id"]
    assert entry["actor"]["id"] == own_world.people["officer"].staff_id


@pytest.fixture
def other_node(own_world: World) -> Any:
    """A second vault on the same database."""
    vault = open_vault(own_world.settings, clock=own_world.clock)
    yield vault
    vault.close()


def test_token_of_another_node_is_known_at_once(own_world: World, other_node: Vault) -> None:
    bearers = Bearers(other_node.sessions, other_node.now_us)
    header = own_world.authorise(own_world.employ())["Authorization"].encode()

    async def ask() -> tuple[Actor, Actor | None]:
        return await bearers.identify(header, ORIGIN), bearers.known(header)

    actor, known = asyncio.run(ask())
    assert actor.kind is ActorKind.SERVICE
    assert known == actor


def test_held_token_is_looked_at_again_at_another_revision(own_world: World, other_node: Vault) -> None:
    bearers = Bearers(other_node.sessions, other_node.now_us)
    header = own_world.service.bearer["Authorization"].encode()

    async def ask() -> None:
        await bearers.identify(header, ORIGIN)
        assert bearers.known(header) is not None
        path = f"/v1/services/{own_world.service.client_id}/revoke"
        await asyncio.to_thread(own_world.client.post, path, headers=own_world.admin)
        other_node.sessions.refresh(other_node.now_us())
        assert bearers.known(header) is None
        with pytest.raises(SessionExpiredError):
            await bearers.identify(header, ORIGIN)

    asyncio.run(ask())


class Flood:
    """Sessions that know nobody and count how often they refresh."""

    revision = 1

    def __init__(self) -> None:
        self.refreshed = 0
        self.counted = 0

    def admit_service(self, _text: str, _now_us: int) -> Admitted:
        raise AuthenticationError

    def refresh(self, _now_us: int) -> None:
        self.refreshed += 1

    def count_stranger(self, *_: Any, **__: Any) -> None:
        self.counted += 1


def test_flood_of_strangers_refreshes_together() -> None:
    sessions: Any = Flood()
    bearers = Bearers(sessions, lambda: 0)

    async def ask() -> None:
        asked = [bearers.identify(b"Bearer pva_0", ORIGIN) for _ in range(100)]
        assert all(
            isinstance(told, AuthenticationError)
            for told in await asyncio.gather(*asked, return_exceptions=True)
        )

    asyncio.run(ask())
    assert sessions.counted == 100
    assert sessions.refreshed <= 2


def test_what_is_held_is_bounded() -> None:
    class Everybody:
        revision = 1

        def admit_service(self, text: str, _now_us: int) -> Admitted:
            return Admitted(Actor(ActorKind.SERVICE, text, text), 10, 1)

    sessions: Any = Everybody()
    bearers = Bearers(sessions, lambda: 0)

    async def ask() -> None:
        for number in range(MOST_HELD + 1):
            await bearers.identify(b"Bearer pva_%d" % number, ORIGIN)

    asyncio.run(ask())
    assert bearers.known(b"Bearer pva_0") is None
    assert bearers.known(b"Bearer pva_%d" % MOST_HELD) is not None
