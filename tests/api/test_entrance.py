"""Logging in, enrolling, renewing a password: one answer for every failure, and limits."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pyotp
import pytest

from api.v1 import calls
from api.v1.calls import HashingQueue
from tests.api.world import PASSWORD, World
from vault.domain.errors import UnavailableError

CANARY = "CANARY-7731-0d1e"


def _log_in(world: World, **changed: str) -> Any:
    admin = world.people["admin"]
    body = {"login": "admin", "password": PASSWORD, "code": world.code(admin.totp), **changed}
    return world.client.post("/v1/session", json=body)


def test_code_opens_one_session(own_world: World) -> None:
    own_world.clock.advance(seconds=30)
    assert _log_in(own_world).status_code == 201
    replayed = _log_in(own_world)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "authentication_failed")


@pytest.mark.parametrize(
    "changed",
    [
        {"login": CANARY},
        {"password": CANARY},
        {"code": "000000"},
        {"code": CANARY},
        {"login": f"a\u0000{CANARY}"},
    ],
)
def test_failures_look_alike(own_world: World, changed: dict[str, str]) -> None:
    own_world.clock.advance(seconds=30)
    refused = _log_in(own_world, **changed)
    assert (refused.status_code, refused.json()["code"]) == (401, "authentication_failed")
    assert refused.json()["detail"] == "login, password or code is not right"
    assert CANARY not in refused.text


def test_guessing_is_slowed_down(own_world: World) -> None:
    for _ in range(5):
        assert _log_in(own_world, password=CANARY).status_code == 401
    refused = _log_in(own_world)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert 0 < int(refused.headers["retry-after"]) <= 900


def test_owner_is_warned_before_a_password_is_past_its_age(own_world: World) -> None:
    admin = own_world.people["admin"]
    own_world.clock.advance(days=80)
    assert _log_in(own_world).json()["warnings"] == ["password_renewal_due"]
    own_world.clock.advance(days=10)
    assert _log_in(own_world).json()["warnings"] == ["password_overdue"]
    own_world.clock.advance(seconds=30)
    body = {
        "login": "admin",
        "password": PASSWORD,
        "code": own_world.code(admin.totp),
        "new_password": "silk-onto-lamp-wise",
    }
    assert own_world.client.post("/v1/password", json=body).status_code == 204
    own_world.clock.advance(seconds=30)
    assert _log_in(own_world).status_code == 401
    own_world.clock.advance(seconds=30)
    assert _log_in(own_world, password="silk-onto-lamp-wise").json()["warnings"] == []


def test_weak_password_burns_no_invitation(own_world: World) -> None:
    body = {"login": "weak", "name": "Weak", "role": "handler"}
    invited = own_world.ok(own_world.client.post("/v1/staff", json=body, headers=own_world.admin))
    path, code = "/v1/enrolment", invited["invitation"]
    offer = own_world.ok(own_world.client.post(path, json={"invitation": code}))
    again = own_world.ok(own_world.client.post(path, json={"invitation": code}))
    # Whoever looked before holds a secret that enrols nobody.
    assert again["secret"] != offer["secret"]
    finish = {"invitation": code, "password": "short", "code": "000000"}
    wrong = own_world.client.post(f"{path}/finish", json=finish)
    assert (wrong.status_code, wrong.json()["code"]) == (401, "authentication_failed")
    finish["code"] = own_world.code(pyotp.TOTP(again["secret"]))
    weak = own_world.client.post(f"{path}/finish", json=finish)
    assert (weak.status_code, weak.json()["field"], weak.json()["rule"]) == (422, "password", "short")
    finish["password"] = offer["suggested_password"]
    assert own_world.ok(own_world.client.post(f"{path}/finish", json=finish))["state"] == "waiting"
    used = own_world.client.post(path, json={"invitation": code})
    assert (used.status_code, used.json()["code"]) == (401, "authentication_failed")


def test_unknown_invitation_is_not_told_from_a_used_one(world: World) -> None:
    for code in ("pvi_" + "0" * 32, CANARY, world.invitations["admin"]):
        refused = world.client.post("/v1/enrolment", json={"invitation": code})
        assert (refused.status_code, refused.json()["detail"]) == (401, "the invitation is not valid")


@pytest.mark.parametrize(
    ("path", "body", "field", "rule"),
    [
        ("/v1/session", {"login": "a", "password": "b"}, "code", "required"),
        ("/v1/session", {"login": 1, "password": "b", "code": "c"}, "login", "type"),
        ("/v1/session", {"login": "a", "password": CANARY * 100, "code": "c"}, "password", "too_long"),
        ("/v1/session", {"login": "a", "password": "b", "code": "c", CANARY: 1}, "body", "unknown_field"),
        ("/v1/enrolment", {}, "invitation", "required"),
        ("/v1/enrolment/finish", {"invitation": "x", "password": "p", "code": 123456}, "code", "type"),
        ("/v1/password", {"login": "a", "password": "b", "code": "c"}, "new_password", "required"),
    ],
)
def test_names_member_and_rule(world: World, path: str, body: dict[str, Any], field: str, rule: str) -> None:
    refused = world.client.post(path, json=body)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "invalid_input")
    assert (problem["field"], problem["rule"]) == (field, rule)
    assert CANARY not in refused.text


def test_hashing_runs_two_at_a_time() -> None:
    running = threading.Semaphore(2)
    overlapped: list[int] = []

    def hash_something() -> None:
        if not running.acquire(blocking=False):
            overlapped.append(1)
            return
        threading.Event().wait(0.01)
        running.release()

    async def ask() -> None:
        queue = HashingQueue()
        await asyncio.gather(*(queue.run(hash_something) for _ in range(20)))

    asyncio.run(ask())
    assert overlapped == []


def test_queue_for_hashing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_WAITING", 3)
    release = threading.Event()

    async def ask() -> list[Any]:
        queue = HashingQueue(at_once=1)
        tasks = [asyncio.create_task(queue.run(release.wait)) for _ in range(8)]
        await asyncio.sleep(0.05)
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    told = asyncio.run(ask())
    assert told.count(True) == 4
    assert sum(isinstance(error, UnavailableError) for error in told) == 4
