"""Certificates over HTTP: for those who oversee, and for nobody else."""

from __future__ import annotations

from typing import Any

from tests.api.world import World, eventually
from vault.access.changes import Attempt, Change
from vault.access.entries import VAULT, Request, own_origin
from vault.audit.certificate import open_certificate
from vault.audit.note import parse_vkey
from vault.domain.actions import Action
from vault.lifecycle import tombstones

FACTS: dict[str, str | int] = {
    "subject": "sub_0000000000000000",
    "data_keys": 1,
    "values": 3,
    "digests": 2,
    "references": 1,
    "ground": "subject_request",
    "proposed_by": "stf_00000000000000000001",
    "approved_by": "stf_00000000000000000002",
    "approval": "apr_00000000000000000001",
}


def erase(world: World) -> None:
    """Leave what an erasure leaves."""

    def doing(attempt: Attempt) -> Change[None]:
        tombstones.leave(attempt, "erase", 1, facts=FACTS)
        return Change(None, {}, revises=True)

    request = Request(actor=VAULT, origin=own_origin(), now_us=world.vault.now_us())
    world.vault.changes.make_unasked(request, Action.VAULT_STATUS, doing)


def test_certificate_is_listed_signed_and_verifies(each_world: World) -> None:
    erase(each_world)
    client, officer = each_world.client, each_world.officer
    (waiting,) = each_world.ok(client.get("/v1/certificates", headers=officer))["items"]
    assert waiting["ground"] == "subject_request"

    def look() -> Any:
        (found,) = each_world.ok(client.get("/v1/certificates", headers=each_world.admin))["items"]
        return found

    listed = eventually(look, lambda found: found["signed"])
    assert listed == {**waiting, "signed": True}
    shown = each_world.ok(client.get(f"/v1/certificates/{listed['id']}", headers=officer))
    assert {name: shown[name] for name in FACTS} == FACTS
    key = parse_vkey(each_world.ok(client.get("/v1/audit/key"))["vkey"])
    certificate = open_certificate(shown["note"], key)
    assert certificate.lines["certificate"] == shown["id"]
    assert certificate.log_index == shown["log_index"]


def test_keys_say_when_old_copies_are_dead(world: World) -> None:
    bound = world.ok(world.client.get("/v1/keys", headers=world.admin))["bound"]
    assert bound["told"] == bound["at"][:10]
    assert {"wrapping//1", "root//1"} <= {part["key"] for part in bound["parts"]}
    assert bound["at"] == max(part["at"] for part in bound["parts"])


def test_service_sees_none(world: World) -> None:
    for path in ("/v1/certificates", "/v1/certificates/crt_00000000000000000000"):
        refused = world.client.get(path, headers=world.service.bearer)
        assert (refused.status_code, refused.json()["code"]) == (403, "access_denied")


def test_unknown_one_is_not_found_and_a_bad_id_refused(world: World) -> None:
    unknown = world.client.get("/v1/certificates/crt_00000000000000000000", headers=world.officer)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    bad = world.client.get("/v1/certificates/crt_1", headers=world.officer)
    assert bad.status_code == 422
