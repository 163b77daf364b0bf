"""What somebody who holds the database can plant, swap or edit, and that it gives nobody anything."""

from __future__ import annotations

from typing import Any

import pytest

from keys.keyring import KeyKind, KeyRecord, Keyring
from keys.secret import SecretText
from keys.states import KeyState
from tests.vault.access.conftest import Office
from tests.vault.access.test_grants import ask, refused_by, shop
from tests.vault.access.world import VAULT_ID, World, new_keys, plain_terms
from vault.access.alarms import sweep
from vault.access.authority import NO_POLICY, Authority
from vault.access.invitations import open_totp, seal_totp
from vault.access.sealing import seal
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, NotFoundError, SealedError, UnavailableError
from vault.domain.model import Outcome, Reveal, Role
from vault.storage.grants import PolicyRow


def load(world: World) -> Authority:
    keyring = world.changes.standings.current.keyring
    with world.node.database.reading() as connection:
        return Authority.load(connection, keyring, revision=1)


def test_planted_grant_is_refused_and_alarms(any_office: Office) -> None:
    world, actor = any_office.world, shop(any_office)
    proposed = world.propose(any_office.administrator, plain_terms(actor.id))
    row = world.rows("access_grant", id=proposed.grant_id)[0]
    planted = row | {"id": "grt_" + "f" * 20, "state": "active", "decided_by": any_office.officer.staff_id}
    world.plant("access_grant", planted)
    assert refused_by(world, actor) == "grant_approval"
    assert world.alarms() == {("access_grant", "grt_" + "f" * 20)}


def test_planted_next_version_of_a_grant_takes_the_grant_away(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id, reveal=Reveal.MASKED))
    row = world.rows("access_grant", id=proposed.grant_id)[0]
    world.plant("access_grant", row | {"version": 2, "reveal": "plain"})
    assert refused_by(world, actor) == "grant"


@pytest.mark.parametrize(
    "values",
    [
        {"state": "active"},
        {"reveal": "masked"},
        {"fields": "member.gender member.phone"},
        {"actor_id": "svc_" + "0" * 20},
        {"valid_until": 1 << 60},
        {"networks": "10.0.0.0/8"},
        {"version": 2},
        {"mac": b""},
    ],
)
def test_edited_grant_is_refused_and_alarms(office: Office, values: dict[str, Any]) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    world.tamper("access_grant", {"id": proposed.grant_id}, values)
    assert refused_by(world, actor) == "grant"
    assert world.alarms() == {("access_grant", proposed.grant_id)}


def test_forged_approval_puts_nothing_in_force(any_office: Office) -> None:
    world, actor = any_office.world, shop(any_office)
    proposed = world.propose(any_office.administrator, plain_terms(actor.id))
    world.tamper(
        "approval",
        {"id": proposed.approval_id},
        {"state": "approved", "decided_by": any_office.officer.staff_id},
    )
    assert refused_by(world, actor) == "grant_approval"
    assert ("approval", proposed.approval_id) in world.alarms()


def test_grant_without_its_approval_is_not_in_force(office: Office) -> None:
    """Zero approvals is never enough, even where the sealed grant itself says it was decided."""
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    world.approve(office.officer, proposed.grant_id)
    ask(world, actor)
    world.tamper("approval", {"id": proposed.approval_id}, {"mac": b"0" * 32})
    assert refused_by(world, actor) == "grant_approval"


def test_planted_person_is_nobody(any_office: Office) -> None:
    world = any_office.world
    row = world.rows("staff", id=any_office.officer.staff_id)[0]
    world.plant("staff", row | {"id": "stf_" + "f" * 20, "login": "mallory"})
    authority = world.changes.standing(world.now_us).authority
    with pytest.raises(NotFoundError):
        authority.require_staff("stf_" + "f" * 20)
    assert world.alarms() == {("staff", "stf_" + "f" * 20)}


@pytest.mark.parametrize("values", [{"roles": "officer"}, {"team": "ethics"}, {"state": "waiting"}])
def test_edited_person_may_do_nothing(office: Office, values: dict[str, Any]) -> None:
    world = office.world
    world.tamper("staff", {"id": office.administrator.staff_id}, values)
    with pytest.raises(AccessDeniedError) as refused:
        world.serve(office.administrator, owner=office.officer.staff_id)
    assert refused.value.rule == "actor"


def test_person_without_a_genuine_secret_may_do_nothing(office: Office) -> None:
    world = office.world
    world.tamper("staff_secret", {"staff_id": office.administrator.staff_id}, {"password_set_at": 1 << 60})
    with pytest.raises(AccessDeniedError) as refused:
        world.serve(office.administrator)
    assert refused.value.rule == "credential"


def test_planted_service_and_credential_are_nothing(office: Office) -> None:
    world, actor = office.world, shop(office)
    service = world.rows("service", id=actor.id)[0]
    credential = world.rows("credential", id=actor.session)[0]
    world.plant("service", service | {"id": "svc_" + "f" * 20, "name": "mallory"})
    world.plant("credential", credential | {"id": "crd_" + "f" * 32})
    authority = world.changes.standing(world.now_us).authority
    assert "svc_" + "f" * 20 not in authority.services
    assert "crd_" + "f" * 32 not in authority.credentials_by_id
    assert len(world.alarms()) == 2


def test_credential_moved_to_another_service_is_nothing(office: Office) -> None:
    world, actor, other = office.world, shop(office), shop(office)
    world.tamper("credential", {"id": actor.session}, {"service_id": other.id})
    authority = world.changes.standing(world.now_us).authority
    assert actor.session not in authority.credentials_by_id


def test_edited_policy_opens_no_purpose(office: Office) -> None:
    world = office.world
    text = world.rows("policy")[0]["text"].replace('["handler", "service"]', '["handler", "officer"]')
    world.tamper("policy", {"id": "1"}, {"text": text})
    authority = load(world)
    assert authority.policy is NO_POLICY
    assert [alarm.table for alarm in authority.alarms] == ["policy"]
    with pytest.raises(UnavailableError):
        authority.require_policy()


def test_planted_later_policy_opens_no_purpose(office: Office) -> None:
    world = office.world
    world.plant("policy", world.rows("policy")[0] | {"id": "10"})
    assert load(world).policy is NO_POLICY


def test_vault_without_a_policy_opens_no_purpose(office: Office) -> None:
    world = office.world
    world.tamper("policy", {"id": "1"}, {"id": "1", "mac": b""})
    with world.node.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM policy")
    authority = load(world)
    assert (authority.policy, authority.alarms) == (NO_POLICY, ())


def test_sealed_policy_that_cannot_be_read_stops_the_vault(office: Office) -> None:
    world = office.world
    keyring = world.changes.standings.current.keyring
    sealed = seal(keyring.authority, PolicyRow("2", "not toml [", 0, 1, b""))
    world.plant("policy", sealed.columns())
    with pytest.raises(UnavailableError):
        load(world)


def test_newest_policy_is_the_one_of_the_highest_number(office: Office) -> None:
    world = office.world
    keyring = world.changes.standings.current.keyring
    text = world.rows("policy")[0]["text"]
    for number in (9, 10):
        row = PolicyRow(str(number), text.replace('"Example"', f'"Example {number}"'), 0, 1, b"")
        world.plant("policy", seal(keyring.authority, row).columns())
    assert load(world).policy.company == "Example 10"


def test_each_row_alarms_once_per_process(any_office: Office) -> None:
    world = any_office.world
    handler = world.hire(any_office.administrator, any_office.officer, Role.HANDLER)
    world.tamper("staff", {"id": handler.staff_id}, {"name": "Somebody Else"})
    for _ in range(3):
        world.tamper("staff", {"id": handler.staff_id}, {"name": "Somebody Else"})
        world.changes.standing(world.now_us)
    said = world.said(Action.INTEGRITY_ALARM)
    assert len(said) == 1
    assert (said[0].outcome, said[0].actor.id) == (Outcome.DONE, "vault")


def test_sweep_finds_rows_that_no_decision_has_read(any_office: Office) -> None:
    world, actor = any_office.world, shop(any_office)
    proposed = world.propose(any_office.administrator, plain_terms(actor.id))
    world.approve(any_office.officer, proposed.grant_id)
    keyring = world.changes.standings.current.keyring
    assert sweep(world.node.database, keyring) == ()
    session = world.rows("session")[0]
    world.tamper("session", {"id": session["id"]}, {"address": "203.0.113.1"})
    world.tamper("access_grant", {"id": proposed.grant_id, "version": 1}, {"reason": "another"})
    found = sweep(world.node.database, keyring)
    assert {alarm.table for alarm in found} == {"session", "access_grant"}
    assert world.changes.alarms.report(found, now_us=world.now_us) == 2
    assert world.changes.alarms.report(found, now_us=world.now_us) == 0


@pytest.mark.parametrize("row_id", ["x" * 70_000, "", "이름 'or 1=1\n"])
def test_planted_row_with_any_id_alarms_and_breaks_nothing(office: Office, row_id: str) -> None:
    world = office.world
    row = world.rows("staff", id=office.officer.staff_id)[0]
    world.plant("staff", row | {"id": row_id, "login": "mallory"})
    world.changes.standing(world.now_us)
    assert len(world.alarms()) == 1


def test_planted_row_with_an_absurd_version_alarms_and_breaks_nothing(office: Office) -> None:
    world = office.world
    world.tamper("staff", {"id": office.officer.staff_id}, {"version": -1})
    world.changes.standing(world.now_us)
    assert world.alarms() == {("staff", office.officer.staff_id)}


def test_rows_under_an_earlier_authority_key_still_verify(office: Office) -> None:
    world = office.world
    records = _stored(world)
    old = next(record for record in records if record.kind is KeyKind.AUTHORITY)
    fresh = next(record for record in new_keys(world.root, 2) if record.kind is KeyKind.AUTHORITY)
    others = [record for record in records if record is not old]
    retired = KeyRecord(old.kind, old.scope, old.version, KeyState.DEACTIVATED, old.wrapped)
    keyring = Keyring.unlock(VAULT_ID, [*others, retired, fresh], world.root)
    with world.node.database.reading() as connection:
        assert Authority.load(connection, keyring, revision=1).alarms == ()


def test_without_an_authority_key_the_vault_decides_nothing_and_accuses_nobody(office: Office) -> None:
    world = office.world
    others = [record for record in _stored(world) if record.kind is not KeyKind.AUTHORITY]
    keyring = Keyring.unlock(VAULT_ID, others, world.root)
    with world.node.database.reading() as connection, pytest.raises(UnavailableError):
        Authority.load(connection, keyring, revision=1)


def test_without_a_key_for_staff_data_nobody_is_accused(office: Office) -> None:
    world = office.world
    others = [record for record in _stored(world) if record.kind is not KeyKind.STAFF_DATA]
    keyring = Keyring.unlock(VAULT_ID, others, world.root)
    with pytest.raises(UnavailableError):
        open_totp(keyring, "stf_1", b"")
    with pytest.raises(UnavailableError):
        seal_totp(keyring, "stf_1", SecretText("A" * 32))


def _stored(world: World) -> list[KeyRecord]:
    from vault.storage.keys import read_keys

    with world.node.database.reading() as connection:
        return read_keys(connection)


def test_sealed_vault_gives_no_standing(any_office: Office) -> None:
    world = any_office.world
    world.tamper("counter", {"id": 1}, {"sealed": True})
    with pytest.raises(SealedError):
        world.changes.standing(world.now_us)
