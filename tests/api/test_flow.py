"""The main job through the interface, on both databases."""

from __future__ import annotations

from base64 import b64decode

from tests.api.world import PHONE, PURPOSE, World, eventually


def test_service_gets_back_what_it_tokenized(each_world: World) -> None:
    made = each_world.ok(each_world.tokenize(PHONE))
    token = made["items"][0]["token"]
    masked = each_world.ok(each_world.detokenize(token))
    plain = each_world.ok(each_world.detokenize(token, reveal="plain"))
    assert masked["items"] == [
        {"token": token, "field": "member.phone", "value": "010-****-5678", "reveal": "masked"}
    ]
    assert plain["items"][0]["value"] == PHONE
    assert made["log_index"] < masked["log_index"] < plain["log_index"]
    assert len(plain["leaf_hash"]) == 64


def test_search_finds_the_token_of_a_value(each_world: World) -> None:
    token = each_world.ok(each_world.tokenize(PHONE))["items"][0]["token"]
    body = {"purpose": PURPOSE, "field": "member.phone", "value": "01012345678"}
    found = each_world.client.post("/v1/search", json=body, headers=each_world.service.bearer)
    assert [item["token"] for item in each_world.ok(found)["items"]] == [token]


def test_same_key_and_body_do_nothing_twice(each_world: World) -> None:
    first = each_world.tokenize(PHONE, **{"Idempotency-Key": "import 1"})
    again = each_world.tokenize(PHONE, **{"Idempotency-Key": "import 1"})
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["items"] == first.json()["items"]
    # A receipt of its own: index and leaf hash are those of one entry.
    assert again.json()["log_index"] > first.json()["log_index"]
    assert "replayed" not in again.json()


def test_same_key_with_another_body_conflicts(each_world: World) -> None:
    each_world.tokenize(PHONE, **{"Idempotency-Key": "import 2"})
    refused = each_world.tokenize("010-8765-4321", **{"Idempotency-Key": "import 2"})
    assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_conflict")


def test_bad_item_fails_alone(each_world: World) -> None:
    answer = each_world.tokenize(PHONE, "010-12")
    assert answer.status_code == 207
    good, bad = answer.json()["items"]
    assert "token" in good
    assert (bad["error"]["code"], bad["error"]["field"]) == ("invalid_value", "member.phone")


def test_handler_sees_plaintext_once_the_officer_has_agreed(each_world: World) -> None:
    token = each_world.ok(each_world.tokenize(PHONE))["items"][0]["token"]
    handler = each_world.hire("handler")
    body = {"purpose": PURPOSE, "reveal": "plain", "items": [{"token": token}]}

    def reveal() -> int:
        return each_world.client.post("/v1/detokenize", json=body, headers=handler.bearer).status_code

    assert reveal() == 403
    each_world.grant("staff", handler.staff_id)
    assert reveal() == 200


def test_token_is_shown_revoked_and_gone(each_world: World) -> None:
    token = each_world.ok(each_world.tokenize(PHONE))["items"][0]["token"]
    path, bearer = f"/v1/tokens/{token}?purpose={PURPOSE}", each_world.service.bearer
    assert each_world.ok(each_world.client.get(path, headers=bearer))["state"] == "live"
    assert each_world.ok(each_world.client.delete(path, headers=bearer))["state"] == "revoked"
    again = each_world.client.delete(path, headers=bearer)
    assert (again.status_code, again.json()["code"]) == (410, "token_revoked")
    gone = each_world.detokenize(token)
    assert gone.status_code == 207
    assert gone.json()["items"][0]["error"]["code"] == "token_revoked"


def test_one_time_token_is_answered_once_and_then_with_410(each_world: World) -> None:
    item = {"field": "member.phone", "value": PHONE, "kind": "one_time"}
    body = {"purpose": PURPOSE, "items": [item, {**item, "kind": "twice"}]}
    bearer = each_world.service.bearer
    made = each_world.client.post("/v1/tokenize", json=body, headers=bearer)
    assert made.status_code == 207
    one, other = made.json()["items"]
    assert (other["error"]["field"], other["error"]["rule"]) == ("kind", "unknown_kind")
    assert each_world.detokenize(one["token"]).status_code == 200
    again = each_world.detokenize(one["token"])
    assert (again.status_code, again.json()["items"][0]["error"]["code"]) == (207, "token_spent")
    path = f"/v1/tokens/{one['token']}?purpose={PURPOSE}"
    shown = each_world.ok(each_world.client.get(path, headers=bearer))
    assert (shown["kind"], shown["state"], shown["audience"]) == ("one_time", "spent", None)
    gone = each_world.client.delete(path, headers=bearer)
    assert (gone.status_code, gone.json()["code"]) == (410, "token_spent")


def test_reviewer_reads_the_log_and_exports_it(each_world: World) -> None:
    index = each_world.ok(each_world.tokenize(PHONE))["log_index"]
    reviewer = each_world.hire("reviewer").bearer
    each_world.vault.upkeep.round()
    page = each_world.ok(
        each_world.client.get(
            "/v1/audit/entries", params={"action": "token:tokenize", "limit": 1}, headers=reviewer
        )
    )
    assert page["items"][0]["index"] == index
    shown = each_world.ok(each_world.client.get(f"/v1/audit/entries/{index}", headers=reviewer))
    assert shown["action"] == "token:tokenize"
    export = each_world.ok(each_world.client.get("/v1/audit/export", headers=reviewer))
    assert export["start"] == 0
    assert len(export["entries"]) == export["size"]
    assert b'"vault:init"' in b64decode(export["entries"][0])
    assert export["checkpoints"]
    key = each_world.ok(each_world.client.get("/v1/audit/key"))["vkey"]
    assert key.startswith("piivault/")
    missing = each_world.client.get("/v1/audit/entries/99999", headers=reviewer)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_rotation_finishes(each_world: World) -> None:
    each_world.ok(each_world.tokenize(PHONE, "010-8765-4321"))
    admin, client = each_world.admin, each_world.client
    rotated = each_world.ok(client.post("/v1/keys/rotate", headers=admin))
    assert (rotated["old"], rotated["new"]) == (1, 2)
    reviewer = each_world.log_in(each_world.hire("reviewer"))
    entry = each_world.ok(client.get(f"/v1/audit/entries/{rotated['log_index']}", headers=reviewer))
    assert (entry["action"], entry["leaf_hash"]) == ("key:rotate", rotated["leaf_hash"])
    started = each_world.ok(client.post("/v1/keys/rewrap", headers=admin))
    assert (started["job"]["target"], started["job"]["total"]) == ("2", 2)
    (job,) = eventually(
        lambda: each_world.ok(client.get("/v1/keys/jobs", headers=admin))["items"],
        lambda jobs: [job["state"] for job in jobs] == ["done"],
    )
    assert (job["id"], job["done"], job["failed"]) == (started["job"]["id"], 2, 0)
    census = each_world.ok(client.get("/v1/keys/census", headers=admin))["items"]
    hanging = {key["version"]: key["total"] for key in census if key["kind"] == "wrapping"}
    assert (hanging[1], hanging[2] > 0) == (0, True)
    body = {"kind": "wrapping", "version": 1, "reason": "replaced"}
    proposed = each_world.ok(client.post("/v1/keys/destroy", json=body, headers=admin))
    assert proposed["key"] == "wrapping//1"
    path = f"/v1/approvals/{proposed['approval_id']}"
    refused = client.post(path, json={"decision": "approve"}, headers=admin)
    assert refused.status_code == 403
    keys = each_world.ok(client.get("/v1/keys", headers=admin))["items"]
    assert {key["version"]: key["data_keys"] for key in keys if key["kind"] == "wrapping"} == {1: 0, 2: 2}


def test_a_compromised_key_is_replaced_and_everything_sealed_anew(each_world: World) -> None:
    client, admin = each_world.client, each_world.admin
    token = each_world.ok(each_world.tokenize(PHONE))["items"][0]["token"]
    body = {"version": 1, "reason": "a disk was sold"}
    said = each_world.ok(client.post("/v1/keys/compromise", json=body, headers=admin))
    assert (said["key"], said["successor"], said["suspect"]) == ("wrapping//1", 2, 1)
    assert client.get("/readyz").json() == {"status": "ready", "reasons": [], "keys": "red"}
    status = each_world.ok(client.get("/v1/status", headers=admin))
    assert (status["keys"], status["compromised_keys"]) == ("red", ["wrapping//1"])
    joined = each_world.ok(client.post("/v1/keys/reencrypt", headers=admin))["job"]
    assert (joined["id"], joined["kind"]) == (said["job"]["id"], "reencrypt")
    eventually(
        lambda: each_world.ok(client.get("/v1/keys/jobs", headers=admin))["items"],
        lambda jobs: [job["state"] for job in jobs if job["kind"] == "reencrypt"] == ["done"],
    )
    census = each_world.ok(client.get("/v1/keys/census", headers=admin))["items"]
    found = {key["version"]: key for key in census if key["kind"] == "wrapping"}
    assert (found[1]["state"], found[1]["total"], found[1]["suspect_data_keys"]) == ("compromised", 0, 0)
    assert (found[2]["data_keys"], found[2]["suspect_values"]) == (1, 0)
    opened = each_world.ok(each_world.detokenize(token, reveal="plain"))["items"]
    assert [item["value"] for item in opened] == [PHONE]


def test_a_suspended_key_shuts_what_hangs_on_it_until_it_is_resumed(each_world: World) -> None:
    client, admin = each_world.client, each_world.admin
    token = each_world.ok(each_world.tokenize(PHONE))["items"][0]["token"]
    body = {"version": 1, "reason": "a disk is missing"}
    said = each_world.ok(client.post("/v1/keys/suspend", json=body, headers=admin))
    assert (said["key"], said["successor"], said["data_keys"]) == ("wrapping//1", 2, 1)
    assert client.get("/readyz").json() == {"status": "ready", "reasons": [], "keys": "yellow"}
    status = each_world.ok(client.get("/v1/status", headers=admin))
    assert (status["keys"], status["suspended_keys"]) == ("yellow", ["wrapping//1"])
    shut = each_world.detokenize(token)
    assert shut.status_code == 207
    error = {"code": "key_suspended", "field": "token", "rule": "key_suspended"}
    assert shut.json()["items"] == [{"token": token, "error": error}]
    refused = client.post("/v1/keys/suspend", json=body, headers=admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    said = each_world.ok(client.post("/v1/keys/resume", json=body, headers=admin))
    assert (said["key"], said["data_keys"]) == ("wrapping//1", 1)
    opened = each_world.ok(each_world.detokenize(token, reveal="plain"))["items"]
    assert [item["value"] for item in opened] == [PHONE]


def test_secret_rotation_overlaps(each_world: World) -> None:
    old = each_world.service
    path = f"/v1/services/{old.client_id}"
    made = each_world.ok(each_world.client.post(f"{path}/rotate", headers=each_world.admin))
    new = type(old)(old.client_id, made["client_secret"])
    each_world.authorise(old)
    each_world.authorise(new)
    each_world.ok(each_world.client.post(f"{path}/revoke", headers=each_world.admin))
    assert each_world.token(new).status_code == 401


def test_revoked_service_is_refused_at_once(each_world: World) -> None:
    assert each_world.tokenize(PHONE).status_code == 200
    path = f"/v1/services/{each_world.service.client_id}/revoke"
    each_world.ok(each_world.client.post(path, headers=each_world.admin))
    refused = each_world.tokenize(PHONE)
    assert (refused.status_code, refused.json()["code"]) == (401, "session_expired")
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]


def test_revoked_grant_is_refused_at_once(each_world: World) -> None:
    grants = each_world.ok(each_world.client.get("/v1/grants", headers=each_world.admin))["items"]
    (mine,) = [grant for grant in grants if grant["actor_id"] == each_world.service.client_id]
    each_world.ok(each_world.client.post(f"/v1/grants/{mine['id']}/revoke", headers=each_world.officer))
    refused = each_world.tokenize(PHONE)
    assert (refused.status_code, refused.json()["code"]) == (403, "access_denied")


def test_who_leaves_is_out_at_once(each_world: World) -> None:
    handler = each_world.hire("handler")
    path = f"/v1/staff/{handler.staff_id}"
    each_world.ok(each_world.client.post(f"{path}/leave", headers=each_world.admin))
    refused = each_world.client.delete("/v1/session", headers=handler.bearer)
    assert (refused.status_code, refused.json()["code"]) == (401, "session_expired")
    again = each_world.client.post(f"{path}/leave", headers=each_world.admin)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_lists_name_what_there_is(each_world: World) -> None:
    client = each_world.client
    staff = each_world.ok(client.get("/v1/staff", headers=each_world.officer))["items"]
    assert {member["login"]: member["state"] for member in staff} == {"admin": "active", "officer": "active"}
    services = each_world.ok(client.get("/v1/services", headers=each_world.officer))["items"]
    assert [service["id"] for service in services] == [each_world.service.client_id]
    assert services[0]["credentials"][0]["ends_at"] is None
    approvals = each_world.ok(client.get("/v1/approvals", headers=each_world.admin))["items"]
    assert [(approval["kind"], approval["state"]) for approval in approvals] == [("grant", "approved")]


def test_status_is_for_people(each_world: World) -> None:
    status = each_world.ok(each_world.client.get("/v1/status", headers=each_world.officer))
    assert not status["sealed"]
    assert status["next_index"] > status["log_index"] - 1
    refused = each_world.client.get("/v1/status", headers=each_world.service.bearer)
    assert refused.status_code == 403
