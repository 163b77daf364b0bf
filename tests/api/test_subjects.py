"""Data subjects through the interface: show, restrict, lift, erase."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from httpx2 import Response

from api.v1.asked import SubjectBody
from tests.api.world import PHONE, PURPOSE, Program, World
from vault.service.subjects import GROUNDS

ACTS = ["subject:erase", "subject:lift", "subject:restrict", "subject:show"]
BODY = {"ground": "subject_request", "purpose": PURPOSE, "reason": "letter of 3 May"}
CANARY = "CANARY-7731-0d1e"


def _keeper(world: World) -> Program:
    """Return a service that may act on whole subjects."""
    keeper = world.employ()
    world.grant("service", keeper.client_id, reveal=None, actions=ACTS)
    return keeper


def _post(world: World, who: dict[str, str], subject: str, act: str, body: Any = BODY) -> Response:
    return world.client.post(f"/v1/subjects/{subject}/{act}", json=body, headers=who)


def test_a_person_is_restricted_lifted_and_erased(each_world: World) -> None:
    world = each_world
    bearer = _keeper(world).bearer
    made = world.ok(world.tokenize(PHONE))["items"][0]
    subject, token = made["subject"], made["token"]
    path = f"/v1/subjects/{subject}"

    shown = world.ok(world.client.get(path, params={"purpose": PURPOSE}, headers=bearer))
    assert shown["fields"] == [{"field": "member.phone", "live": 1}]
    assert (shown["subject"], shown["kind"], shown["state"]) == (subject, "member", "open")
    assert shown["certificate"] is None
    assert shown["since"] == shown["created_at"]

    restricted = _post(world, bearer, subject, "restrict")
    assert (restricted.status_code, restricted.json()["subject"]) == (200, subject)
    assert world.detokenize(token).json()["items"][0]["error"]["code"] == "subject_restricted"
    revoked = world.client.delete(f"/v1/tokens/{token}", headers=world.service.bearer)
    assert (revoked.status_code, revoked.json()["code"]) == (403, "subject_restricted")

    lifting = _post(world, bearer, subject, "lift")
    assert lifting.status_code == 202
    assert world.detokenize(token).json()["items"][0]["error"]["code"] == "subject_restricted"
    world.approve(lifting.json()["approval_id"])
    assert world.detokenize(token).json()["items"][0]["value"] == "010-****-5678"

    erasing = _post(world, bearer, subject, "erase")
    assert erasing.status_code == 202
    approved = world.approve(erasing.json()["approval_id"])["approval"]
    assert (approved["kind"], approved["state"]) == ("erasure", "approved")
    assert world.detokenize(token).json()["items"][0]["error"]["code"] == "subject_erased"
    gone = world.client.get(f"/v1/tokens/{token}", headers=world.service.bearer)
    assert (gone.status_code, gone.json()["code"]) == (410, "subject_erased")
    for act in ("erase", "lift", "restrict"):
        again = _post(world, bearer, subject, act)
        assert (again.status_code, again.json()["code"]) == (410, "subject_erased")
    after = world.ok(world.client.get(path, headers=bearer))
    assert (after["state"], after["fields"]) == ("erased", [])
    assert after["certificate"].startswith("crt_")
    world.vault.upkeep.round()
    assert world.vault.upkeep.health.trouble == ""


def test_unknown_and_forbidden_are_one_answer(world: World) -> None:
    bearer = _keeper(world).bearer
    answers = []
    hidden = world.client.post(
        "/v1/tokenize",
        json={"purpose": PURPOSE, "items": [{"field": "member.login_id", "value": "minji77"}]},
        headers=_writer(world).bearer,
    ).json()["items"][0]["subject"]
    for subject in (hidden, "sub_" + "0" * 40, CANARY, "sub_"):
        for answer in (
            world.client.get(f"/v1/subjects/{subject}", headers=bearer),
            *(_post(world, bearer, subject, act) for act in ("erase", "restrict", "lift")),
        ):
            told = answer.json()
            answers.append((answer.status_code, told["code"], told["detail"]))
            assert CANARY not in answer.text
    assert len(set(answers)) == 1
    assert answers[0][:2] == (404, "not_found")


def _writer(world: World) -> Program:
    writer = world.employ()
    world.grant(
        "service", writer.client_id, reveal=None, actions=["token:tokenize"], fields=["member.login_id"]
    )
    return writer


@pytest.mark.parametrize("act", ["erase", "lift", "restrict"])
@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({}, "ground", "required"),
        ({"ground": CANARY}, "ground", "choice"),
        ({**BODY, "reason": "call 010-1234-5678"}, "reason", "phone_number"),
        ({**BODY, "reason": "x" * 501}, "reason", "too_long"),
        ({**BODY, "purpose": 1}, "purpose", "type"),
        ({**BODY, "subject": CANARY}, "body", "unknown_field"),
    ],
)
def test_names_member_and_rule(world: World, act: str, body: dict[str, Any], field: str, rule: str) -> None:
    bearer = _keeper(world).bearer
    subject = world.ok(world.tokenize(PHONE))["items"][0]["subject"]
    refused = _post(world, bearer, subject, act, body)
    told = refused.json()
    assert (refused.status_code, told["field"], told["rule"]) == (422, field, rule)
    assert CANARY not in refused.text
    assert "1234" not in refused.text


@pytest.mark.parametrize("act", ["erase", "lift", "restrict"])
def test_refuses_whoever_has_no_grant(world: World, act: str) -> None:
    subject = world.ok(world.tokenize(PHONE))["items"][0]["subject"]
    for who in (world.admin, world.officer, world.service.bearer):
        refused = _post(world, who, subject, act, {"ground": "subject_request"})
        assert (refused.status_code, refused.json()["code"]) == (403, "access_denied")
        shown = world.client.get(f"/v1/subjects/{subject}", headers=who)
        assert (shown.status_code, shown.json()["code"]) == (403, "access_denied")
    assert world.client.get(f"/v1/subjects/{subject}").status_code == 401


def test_the_body_takes_the_grounds_of_the_vault() -> None:
    assert get_args(get_type_hints(SubjectBody)["ground"]) == GROUNDS
