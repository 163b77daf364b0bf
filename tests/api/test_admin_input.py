"""Bad input to the routes of administrators and officers, and what they may not do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.world import World

CANARY = "CANARY-7731-0d1e"
NOBODY = "stf_" + "0" * 20
SERVICE = "/v1/services/svc_" + "0" * 20
PERSON = {"login": "new.one", "name": "New One", "role": "handler"}
GRANT = {
    "actor_kind": "role",
    "actor_id": "handler",
    "actions": ["token:detokenize"],
    "fields": ["member.phone"],
    "purposes": ["inquiry"],
    "reveal": "masked",
    "reason": "for the tests",
}


@pytest.mark.parametrize(
    ("path", "body", "field", "rule"),
    [
        ("/v1/staff", {**PERSON, "login": "A B"}, "login", "login"),
        ("/v1/staff", {**PERSON, "name": " "}, "name", "name"),
        ("/v1/staff", {**PERSON, "name": f"a\u0000{CANARY}"}, "name", "name"),
        ("/v1/staff", {**PERSON, "role": CANARY}, "role", "role"),
        ("/v1/staff", {**PERSON, "team": CANARY}, "team", "team"),
        ("/v1/staff", {**PERSON, "roles": ["handler"]}, "body", "unknown_field"),
        ("/v1/services", {"name": "x", "owner": NOBODY, "networks": CANARY}, "networks", "type"),
        ("/v1/services", {"name": "x", "owner": NOBODY, "expires_in_days": 0}, "expires_in_days", "range"),
        (f"{SERVICE}/rotate", {"overlap_hours": -1}, "overlap_hours", "range"),
        ("/v1/grants", {**GRANT, "actor_kind": CANARY}, "actor_kind", "kind"),
        ("/v1/grants", {**GRANT, "actor_id": "administrator"}, "actor_id", "role"),
        ("/v1/grants", {**GRANT, "actions": []}, "actions", "action"),
        ("/v1/grants", {**GRANT, "actions": [CANARY]}, "actions", "action"),
        ("/v1/grants", {**GRANT, "fields": [CANARY]}, "fields", "unknown_field"),
        ("/v1/grants", {**GRANT, "purposes": [CANARY]}, "purposes", "unknown_purpose"),
        ("/v1/grants", {**GRANT, "purposes": []}, "purposes", "required"),
        ("/v1/grants", {**GRANT, "reveal": None}, "reveal", "reveal"),
        ("/v1/grants", {**GRANT, "reveal": CANARY}, "reveal", "choice"),
        ("/v1/grants", {**GRANT, "networks": ["10.0.0.1/8"]}, "networks", "cidr"),
        ("/v1/grants", {**GRANT, "valid_days": 366}, "valid_days", "range"),
        ("/v1/grants", {**GRANT, "reason": "call 010-1234-5678"}, "reason", "phone_number"),
        ("/v1/keys/rewrap", {"after": [1]}, "body", "unknown_field"),
        ("/v1/keys/rotate", {"kind": "root"}, "kind", "choice"),
        ("/v1/keys/redigest", {}, "scope", "required"),
        ("/v1/keys/reseal", {}, "kind", "required"),
        ("/v1/keys/reseal", {"kind": "session"}, "kind", "choice"),
        ("/v1/keys/destroy", {"version": 1}, "kind", "required"),
        ("/v1/keys/destroy", {"kind": "wrapping"}, "version", "required"),
        ("/v1/keys/destroy", {"kind": "wrapping", "version": 1}, "reason", "required"),
        ("/v1/keys/destroy", {"kind": "root", "version": 1}, "kind", "choice"),
        ("/v1/keys/destroy", {"kind": "token", "version": 1, "reason": "old"}, "kind", "never_ends"),
        ("/v1/keys/destroy", {"kind": "wrapping", "version": 0}, "version", "range"),
        ("/v1/keys/destroy", {"kind": "wrapping", "version": 1, "reason": ""}, "reason", "too_short"),
        ("/v1/keys/rotate", {"reason": "call 010-1234-5678"}, "reason", "phone_number"),
        ("/v1/keys/reencrypt", {"version": 1}, "body", "unknown_field"),
        ("/v1/keys/suspend", {"version": 1}, "reason", "required"),
        ("/v1/keys/suspend", {"reason": "lost"}, "version", "required"),
        ("/v1/keys/suspend", {"version": 1, "kind": "lookup", "reason": "lost"}, "kind", "wrapping_only"),
        ("/v1/keys/suspend", {"version": 1, "kind": "root", "reason": "lost"}, "kind", "choice"),
        ("/v1/keys/resume", {"version": 1, "reason": ""}, "reason", "too_short"),
        ("/v1/keys/resume", {"version": 0, "reason": "found"}, "version", "range"),
        ("/v1/keys/compromise", {"version": 1}, "reason", "required"),
        ("/v1/keys/compromise", {"reason": "lost"}, "version", "required"),
        ("/v1/keys/compromise", {"version": 0, "reason": "lost"}, "version", "range"),
        ("/v1/keys/compromise", {"version": 1, "reason": "call 010-1234-5678"}, "reason", "phone_number"),
        ("/v1/keys/compromise", {"version": 1, "kind": "token", "reason": "lost"}, "kind", "choice"),
        ("/v1/keys/compromise", {"version": 1, "subject": "sub_1", "reason": "lost"}, "subject", "alone"),
        ("/v1/keys/compromise", {"all": True, "subject": "sub_1", "reason": "lost"}, "subject", "alone"),
        (
            "/v1/keys/compromise",
            {"version": 1, "kind": "lookup", "scope": "member.phone", "all": True, "reason": "lost"},
            "all",
            "wrapping_only",
        ),
        ("/v1/keys/destroy", {"kind": "wrapping", "version": 1 << 70}, "version", "range"),
    ],
)
def test_names_member_and_rule(world: World, path: str, body: dict[str, Any], field: str, rule: str) -> None:
    refused = world.client.post(path, json=body, headers=world.admin)
    problem = refused.json()
    assert (refused.status_code, problem["field"], problem["rule"]) == (422, field, rule)
    assert CANARY not in refused.text
    assert "010-1234" not in refused.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/v1/staff/{NOBODY}/leave", None),
        ("POST", f"/v1/staff/{NOBODY}/invitation", None),
        ("POST", f"{SERVICE}/revoke", None),
        ("POST", f"{SERVICE}/rotate", {}),
        ("POST", "/v1/grants/grt_" + "0" * 20 + "/revoke", None),
        ("POST", "/v1/services", {"name": "x", "owner": NOBODY}),
        ("POST", "/v1/keys/destroy", {"kind": "wrapping", "version": 9, "reason": "old"}),
        ("POST", "/v1/keys/rotate", {"kind": "lookup", "scope": "member.nothing"}),
        ("POST", "/v1/keys/suspend", {"version": 9, "reason": "lost"}),
        ("POST", "/v1/keys/resume", {"version": 9, "reason": "found"}),
        ("POST", "/v1/keys/compromise", {"version": 9, "reason": "lost"}),
        ("POST", "/v1/keys/compromise", {"subject": "sub_1", "reason": "lost"}),
        ("POST", "/v1/keys/redigest", {"scope": "member.nothing"}),
        ("POST", "/v1/grants", {**GRANT, "actor_kind": "staff", "actor_id": NOBODY}),
    ],
)
def test_what_is_not_there_is_not_found(world: World, method: str, path: str, body: Any) -> None:
    refused = world.client.request(method, path, json=body, headers=world.admin)
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/keys", None),
        ("GET", "/v1/audit/entries", None),
        ("GET", "/v1/audit/entries/0", None),
        ("GET", "/v1/audit/entries/99999", None),
        ("GET", "/v1/audit/export", None),
        ("POST", "/v1/staff", PERSON),
        ("POST", f"/v1/staff/{NOBODY}/leave", None),
        ("POST", "/v1/services", {"name": "x", "owner": NOBODY}),
        ("POST", f"{SERVICE}/revoke", None),
        ("POST", "/v1/grants", GRANT),
        ("POST", "/v1/keys/rotate", None),
        ("POST", "/v1/keys/rewrap", {}),
        ("GET", "/v1/keys/jobs", None),
        ("GET", "/v1/keys/census", None),
        ("POST", "/v1/keys/destroy", {"kind": "wrapping", "version": 1, "reason": "old"}),
        ("POST", "/v1/keys/compromise", {"version": 1, "reason": "lost"}),
        ("POST", "/v1/keys/reencrypt", None),
    ],
)
def test_officer_may_not_administer_nor_review(world: World, method: str, path: str, body: Any) -> None:
    refused = world.client.request(method, path, json=body, headers=world.officer)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (403, "access_denied")
    assert problem["detail"] == "you may not do this, or it does not exist"


def test_administrator_reads_no_personal_data(world: World) -> None:
    body = {"purpose": "inquiry", "items": [{"token": "phn_0"}]}
    refused = world.client.post("/v1/detokenize", json=body, headers=world.admin)
    assert refused.status_code == 403


def test_service_administers_nothing(world: World) -> None:
    for method, path in (("GET", "/v1/staff"), ("GET", "/v1/keys"), ("GET", "/v1/status")):
        assert world.client.request(method, path, headers=world.service.bearer).status_code == 403


def test_nobody_approves_their_own_request(world: World) -> None:
    proposed = world.ok(
        world.client.post("/v1/grants", json={**GRANT, "reveal": "plain"}, headers=world.admin)
    )
    path = f"/v1/approvals/{proposed['approval_id']}"
    refused = world.client.post(path, json={"decision": "approve"}, headers=world.admin)
    assert refused.status_code == 403
    decided = world.client.post(path, json={"decision": "refuse"}, headers=world.officer)
    assert world.ok(decided)["approval"]["state"] == "refused"
    again = world.client.post(path, json={"decision": "approve"}, headers=world.officer)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    unsure = world.client.post(path, json={"decision": "maybe"}, headers=world.officer)
    assert (unsure.json()["field"], unsure.json()["rule"]) == ("decision", "choice")


def test_login_stays_taken(world: World) -> None:
    refused = world.client.post("/v1/staff", json={**PERSON, "login": "ADMIN"}, headers=world.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("path", "field", "rule"),
    [
        ("/v1/audit/entries?limit=0", "limit", "range"),
        ("/v1/audit/entries?limit=101", "limit", "range"),
        (f"/v1/audit/entries?limit={CANARY}", "limit", "type"),
        ("/v1/audit/entries?before=-1", "before", "range"),
        ("/v1/audit/entries?before=99999999999999999999", "before", "range"),
        (f"/v1/audit/entries?actor={CANARY * 20}", "actor", "too_long"),
        (f"/v1/audit/entries?{CANARY}=1", "query", "unknown_field"),
        ("/v1/audit/entries?limit=1&limit=2", "query", "duplicate"),
        (f"/v1/audit/entries/{CANARY}", "index", "type"),
        ("/v1/audit/export?start=-1", "start", "range"),
        (f"/v1/tokens/{CANARY * 5}", "token", "too_long"),
        (f"/v1/tokens/phn_0?purpose={CANARY * 5}", "purpose", "too_long"),
    ],
)
def test_parameters_are_checked(world: World, path: str, field: str, rule: str) -> None:
    refused = world.client.get(path, headers=world.admin)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "invalid_input")
    assert (problem["field"], problem["rule"]) == (field, rule)
    assert CANARY not in refused.text


@pytest.mark.parametrize("staff_id", ["x", f"stf_{CANARY}", "stf_%00", "svc_" + "0" * 20])
def test_ids_are_checked(world: World, staff_id: str) -> None:
    refused = world.client.post(f"/v1/staff/{staff_id}/leave", headers=world.admin)
    assert (refused.status_code, refused.json()["rule"]) == (422, "pattern")
    assert CANARY not in refused.text


def test_body_sent_in_vain_is_refused(world: World) -> None:
    refused = world.client.post("/v1/keys/rotate", json={"remark": CANARY}, headers=world.admin)
    assert (refused.status_code, refused.json()["field"]) == (422, "body")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b'{"login": "\xff"}', 400, "malformed_json"),
        (b'{"login": "a", "login": "b"}', 422, "invalid_input"),
        (b"x" * 70_000, 413, "limit_exceeded"),
    ],
)
def test_bodies_are_read_as_strictly_as_on_the_hot_path(
    world: World, body: bytes, status: int, code: str
) -> None:
    headers = {**world.admin, "Content-Type": "application/json"}
    refused = world.client.post("/v1/staff", content=body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_body_has_to_be_json(world: World) -> None:
    refused = world.client.post("/v1/staff", content=b"{}", headers=world.admin)
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")


def test_networks_have_to_be_some(world: World) -> None:
    body = {"name": "x", "owner": world.people["admin"].staff_id, "networks": [CANARY]}
    refused = world.client.post("/v1/services", json=body, headers=world.admin)
    assert (refused.status_code, refused.json()["field"], refused.json()["rule"]) == (422, "networks", "cidr")
    assert CANARY not in refused.text


def test_keys_of_idempotency_are_refused_where_none_are_kept(world: World) -> None:
    headers = {**world.admin, "Idempotency-Key": "k"}
    for method, path in (("POST", "/v1/keys/rotate"), ("DELETE", "/v1/session"), ("POST", "/v1/session")):
        refused = world.client.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()["rule"]) == (422, "not_supported")
