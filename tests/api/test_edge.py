"""The outermost application: ids, headers, and no exception that leaves it."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.asgi import Message, Receive, Scope, Send
from api.edge import Edge
from api.metrics import Metrics
from api.session import Bearers
from api.v1.hot import HotRoutes
from tests.api.world import PHONE, World

MINE = "req_" + "0123456789abcdef" * 2
FRESH = re.compile(r"req_[0-9a-f]{32}").fullmatch


@pytest.mark.parametrize("path", ["/healthz", "/v1/session", "/v1/tokenize", "/nowhere"])
def test_every_answer_has_its_headers(world: World, path: str) -> None:
    headers = world.client.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert FRESH(headers["x-request-id"])
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/healthz", "/v1/tokenize"])
def test_request_id_of_the_caller_is_taken_if_it_is_one(world: World, path: str) -> None:
    assert world.client.get(path, headers={"X-Request-Id": MINE}).headers["x-request-id"] == MINE
    for other in ("", "abc", MINE.upper(), MINE + "0", "req_" + "g" * 32, f"{MINE} CANARY"):
        given = world.client.get(path, headers={"X-Request-Id": other}).headers["x-request-id"]
        assert FRESH(given)
        assert given != other


def test_unknown_routes_and_methods_are_problems(world: World) -> None:
    missing = world.client.get("/v1/nothing", headers=world.admin)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    wrong = world.client.put("/v1/staff", headers=world.admin)
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"]
    for told in (missing, wrong):
        assert told.headers["content-type"] == "application/problem+json"
        assert told.json()["request_id"] == told.headers["x-request-id"]
    slash = world.client.get("/v1/staff/", headers=world.admin, follow_redirects=False)
    assert slash.status_code == 404


@pytest.mark.parametrize("path", ["/v1/status", "/v1/tokenize"])
def test_faults_are_answered_and_logged_without_a_value(
    own_world: World, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("CANARY")

    monkeypatch.setattr(own_world.vault, "show_status", fail)
    monkeypatch.setattr(own_world.vault.tokens, "tokenize", fail)
    caplog.set_level(logging.DEBUG)
    told = (
        own_world.tokenize(PHONE)
        if path == "/v1/tokenize"
        else own_world.client.get(path, headers=own_world.admin)
    )
    assert (told.status_code, told.json()["code"]) == (500, "internal")
    request_id = told.json()["request_id"]
    assert [record.name for record in caplog.records if request_id in record.getMessage()] == ["piivault.api"]
    assert "ZeroDivisionError at" in caplog.text
    assert "CANARY" not in caplog.text + told.text
    assert "Traceback" not in caplog.text


def test_lane_that_is_closed_is_an_outage(own_world: World) -> None:
    own_world.vault.tokens.close()
    refused = own_world.tokenize(PHONE)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"


def test_websockets_are_refused(world: World) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    asyncio.run(world.app({"type": "websocket", "path": "/"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1002}]


def _scope(world: World, path: str) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "client": None,
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in {**world.service.bearer, "Content-Type": "application/json"}.items()
        ],
    }


@pytest.mark.parametrize("path", ["/v1/tokenize", "/v1/session"])
def test_client_that_hangs_up_early_gets_no_answer(world: World, path: str) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    asyncio.run(world.app(_scope(world, path), receive, send))
    assert sent == []


HOT = "/v1/tokenize"
PHONE_BODY = b'{"purpose":"member_communication","items":[{"field":"member.phone","value":"010-1234-5678"}]}'


def _hot(world: World) -> HotRoutes:
    return HotRoutes(world.vault, Bearers(world.vault.sessions, world.vault.now_us), Metrics())


async def _receive_phone() -> Message:
    return {"type": "http.request", "body": PHONE_BODY, "more_body": False}


async def _refuse_to_send(_message: Message) -> None:
    pytest.fail("nobody is there any more")


@pytest.mark.parametrize("path", [HOT, "/healthz"])
def test_answer_that_cannot_be_sent_is_not_sent_again(own_world: World, path: str) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            raise RuntimeError("the connection broke")

    scope = {**_scope(own_world, path), "method": "POST" if path == HOT else "GET"}
    asyncio.run(own_world.app(scope, _receive_phone, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_callers_who_give_up_leave_the_lane_alive(own_world: World) -> None:
    async def give_up() -> None:
        hot = _hot(own_world)
        served = [
            hot.serve(hot.routes[HOT], _scope(own_world, HOT), _receive_phone, _refuse_to_send)
            for _ in range(20)
        ]
        tasks = [asyncio.create_task(one) for one in served]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    # The loop is closed as well before the lane can deliver to it.
    asyncio.run(give_up())
    assert own_world.tokenize(PHONE).is_success


def test_delivery_to_a_closed_loop_does_not_reach_the_lane(
    own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries: list[Any] = []
    monkeypatch.setattr(own_world.vault.tokens, "start", lambda _work, deliver: deliveries.append(deliver))

    async def give_up() -> None:
        hot = _hot(own_world)
        task = asyncio.create_task(
            hot.serve(hot.routes[HOT], _scope(own_world, HOT), _receive_phone, _refuse_to_send)
        )
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        deliveries[0]()
        await asyncio.sleep(0)

    asyncio.run(give_up())
    deliveries[0]()


def test_vault_starts_and_stops_with_the_server() -> None:
    told: list[str] = []

    async def gate(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    hot: Any = SimpleNamespace(routes={})
    main = threading.get_ident()
    threads: list[bool] = []

    def stop() -> None:
        told.append("stop")
        threads.append(threading.get_ident() == main)

    shutter: Any = SimpleNamespace(closed=False)
    edge = Edge(hot, gate, Metrics(), shutter, start=lambda: told.append("start"), stop=stop)
    with TestClient(edge):
        assert told == ["start"]
    assert told == ["start", "stop"]
    assert threads == [False]
