from __future__ import annotations

from typing import Any

import pytest

from tests.vault.access.conftest import Office
from tests.vault.access.test_grants import refused_by, shop
from tests.vault.access.world import plain_terms
from vault.access import approvals, services
from vault.access import staff as register
from vault.access.roles import require_compatible
from vault.access.staff import Person
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, ConflictError, InvalidInputError, NotFoundError
from vault.domain.model import Outcome, Reveal, Role


def invite(office: Office, login: str = "hana", **other: Any) -> str:
    fields: dict[str, Any] = {"name": "Hana Park", "role": Role.HANDLER}
    person = Person(login, **(fields | other))
    return register.invite(
        office.world.changes, office.world.request(office.administrator), person
    ).value.staff_id


def test_new_account_is_listed_and_reads_nothing(any_office: Office) -> None:
    world = any_office.world
    staff_id = invite(any_office)
    listed = register.list_staff(world.changes, world.request(any_office.officer)).value
    row = next(member.row for member in listed if member.row.id == staff_id)
    assert (row.state, row.roles, row.login) == ("invited", ("handler",), "hana")
    member = world.changes.standing(world.now_us).authority.staff[staff_id]
    assert refused_by(world, member.actor) == "actor"


def test_name_and_login_are_kept_as_people_compare_them(office: Office) -> None:
    staff_id = invite(office, " HANA.Park ", name="  Park   Hana ", team="ethics", employer="Call Co.")
    row = office.world.rows("staff", id=staff_id)[0]
    assert (row["login"], row["name"], row["team"], row["employer"]) == (
        "hana.park",
        "Park Hana",
        "ethics",
        "Call Co.",
    )


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("login", {"login": ""}),
        ("login", {"login": "a"}),
        ("login", {"login": "hana park"}),
        ("login", {"login": "하나"}),
        ("name", {"name": ""}),
        ("name", {"name": "x" * 101}),
        ("name", {"name": "a\x00b"}),
        ("team", {"team": "The Team"}),
        ("name", {"employer": "x" * 101}),
        ("resident_number", {"login": "900101-1234567"}),
        ("resident_number", {"name": "박하나 900101-1234567"}),
        ("resident_number", {"name": "９００１０１-１２３４５６７"}),
        ("resident_number", {"employer": "Call Co. 9001011234567"}),
        ("resident_number", {"team": "t900101_1234567"}),
    ],
)
def test_refuses_what_is_no_login_name_or_team(office: Office, rule: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError) as refused:
        invite(office, **({"login": "hana"} | change))
    assert refused.value.rule == rule
    assert refused.value.field == next(iter(change))
    assert "900101" not in refused.value.detail
    assert office.world.said(Action.STAFF_INVITE)[-1].decision.rule == rule


def test_refuses_a_login_that_was_ever_given(office: Office) -> None:
    staff_id = invite(office)
    register.leave(office.world.changes, office.world.request(office.administrator), staff_id)
    with pytest.raises(ConflictError):
        invite(office, "HANA")


def test_login_of_a_row_that_is_not_ours_conflicts_too(office: Office) -> None:
    world = office.world
    staff_id = invite(office)
    world.tamper("staff", {"id": staff_id}, {"name": "Mallory"})
    with pytest.raises(ConflictError):
        invite(office)


@pytest.mark.parametrize("first", list(Role))
@pytest.mark.parametrize("second", list(Role))
def test_no_two_roles_meet_in_one_person(first: Role, second: Role) -> None:
    if first is second:
        assert require_compatible([first, second]) == (first,)
    else:
        with pytest.raises(InvalidInputError) as refused:
            require_compatible([first, second])
        assert refused.value.rule == "incompatible"


def test_person_without_a_role_is_refused() -> None:
    with pytest.raises(InvalidInputError) as refused:
        require_compatible([])
    assert refused.value.rule == "required"


@pytest.mark.parametrize("who", ["officer", "handler", "reviewer"])
def test_only_administrators_invite_and_let_go(office: Office, who: str) -> None:
    world = office.world
    staff_id = invite(office)
    someone = office.officer
    if who != "officer":
        someone = world.hire(office.administrator, office.officer, Role(who))
    request = world.request(someone)
    for act in (
        lambda: register.invite(world.changes, request, Person("lee", "Lee", Role.HANDLER)),
        lambda: register.invite_again(world.changes, request, staff_id),
        lambda: register.leave(world.changes, request, staff_id),
    ):
        with pytest.raises(AccessDeniedError):
            act()
        assert world.log()[-1].outcome is Outcome.REFUSED


def test_leaving_ends_everything_in_one_transaction(any_office: Office) -> None:
    world, administrator, officer = any_office.world, any_office.administrator, any_office.officer
    handler = world.hire(administrator, officer, Role.HANDLER)
    masked = world.propose(administrator, plain_terms(handler.staff_id, kind="staff", reveal=Reveal.MASKED))
    waiting = world.propose(administrator, plain_terms(handler.staff_id, kind="staff"))
    secret = world.serve(administrator, owner=handler.staff_id)
    held = world.propose(administrator, plain_terms(secret.service_id, reveal=Reveal.MASKED))
    before = world.changes.standing(world.now_us).revision
    register.leave(world.changes, world.request(administrator), handler.staff_id)
    assert world.changes.standing(world.now_us).revision == before + 1
    assert world.rows("staff", id=handler.staff_id)[0]["state"] == "left"
    assert all(row["closed_at"] is not None for row in world.rows("session", staff_id=handler.staff_id))
    authority = world.changes.standing(world.now_us).authority
    for grant_id in (masked.grant_id, waiting.grant_id, held.grant_id):
        assert authority.grants[grant_id].state == "revoked"
    assert authority.approvals[waiting.approval_id].state == "refused"
    assert authority.services[secret.service_id].row.state == "revoked"
    assert all(row.revoked_at is not None for row in authority.services[secret.service_id].credentials)
    assert world.alarms() == set()


def test_a_planted_invitation_keeps_nobody_from_being_let_go(any_office: Office) -> None:
    world, administrator, officer = any_office.world, any_office.administrator, any_office.officer
    handler = world.hire(administrator, officer, Role.HANDLER)
    genuine = world.rows("invitation", staff_id=handler.staff_id)[0]
    world.plant("invitation", genuine | {"id": "inv_planted", "code_mac": bytes(32), "used_at": None})
    register.leave(world.changes, world.request(administrator), handler.staff_id)
    assert world.rows("staff", id=handler.staff_id)[0]["state"] == "left"
    assert world.alarms() == {("invitation", "inv_planted")}


def test_what_somebody_proposed_and_nobody_decided_ends_with_them(office: Office) -> None:
    world = office.world
    second = world.hire(office.administrator, office.officer, Role.ADMINISTRATOR)
    actor = shop(office)
    open_one = world.propose(second, plain_terms(actor.id))
    decided = world.propose(second, plain_terms(actor.id))
    world.approve(office.officer, decided.grant_id)
    others = world.propose(office.administrator, plain_terms(actor.id))
    register.leave(world.changes, world.request(office.administrator), second.staff_id)
    authority = world.changes.standing(world.now_us).authority
    assert authority.grants[open_one.grant_id].state == "revoked"
    assert authority.grants[decided.grant_id].state == "active"
    assert authority.grants[others.grant_id].state == "proposed"


def test_administrator_who_proposed_for_a_service_of_their_own_leaves(any_office: Office) -> None:
    """What ends for two reasons ends once."""
    world = any_office.world
    second = world.hire(any_office.administrator, any_office.officer, Role.ADMINISTRATOR)
    secret = world.serve(second)
    proposed = world.propose(second, plain_terms(secret.service_id))
    register.leave(world.changes, world.request(any_office.administrator), second.staff_id)
    assert [row["state"] for row in world.rows("access_grant", id=proposed.grant_id)] == [
        "proposed",
        "revoked",
    ]


def test_service_revoked_before_its_owner_left_stays_as_it_is(office: Office) -> None:
    world, request = office.world, office.world.request(office.administrator)
    handler = world.hire(office.administrator, office.officer, Role.HANDLER)
    secret = world.serve(office.administrator, owner=handler.staff_id)
    services.rotate(world.changes, request, secret.service_id)
    services.rotate(world.changes, request, secret.service_id, overlap_us=0)
    services.revoke(world.changes, request, secret.service_id)
    before = world.rows("credential", service_id=secret.service_id)
    register.leave(world.changes, request, handler.staff_id)
    assert world.rows("credential", service_id=secret.service_id) == before


def test_pending_enrolment_ends_with_the_person(office: Office) -> None:
    world = office.world
    person = Person("lee", "Lee", Role.HANDLER)
    invited = register.invite(world.changes, world.request(office.administrator), person).value
    world.enrol(invited)
    register.leave(world.changes, world.request(office.administrator), invited.staff_id)
    waiting = approvals.list_approvals(world.changes, world.request(office.officer)).value
    assert [row.state for row in waiting] == ["refused"]


def test_last_administrator_and_last_officer_cannot_be_taken_away(office: Office) -> None:
    world = office.world
    second = world.hire(office.administrator, office.officer, Role.ADMINISTRATOR)
    for act in (register.leave, register.invite_again):
        with pytest.raises(ConflictError, match="nobody else is an active officer"):
            act(world.changes, world.request(office.administrator), office.officer.staff_id)
    register.leave(world.changes, world.request(office.administrator), second.staff_id)
    with pytest.raises(ConflictError, match="another administrator"):
        register.leave(world.changes, world.request(office.administrator), office.administrator.staff_id)


def test_officer_with_a_successor_may_go(office: Office) -> None:
    world = office.world
    successor = world.hire(office.administrator, office.officer, Role.OFFICER)
    register.leave(world.changes, world.request(office.administrator), office.officer.staff_id)
    staff_id = invite(office)
    assert staff_id
    world.request(successor)


def test_refuses_acts_on_people_who_left_or_are_unknown(office: Office) -> None:
    world, request = office.world, office.world.request(office.administrator)
    staff_id = invite(office)
    register.leave(world.changes, request, staff_id)
    for act in (register.leave, register.invite_again):
        with pytest.raises(ConflictError):
            act(world.changes, request, staff_id)
        with pytest.raises(NotFoundError):
            act(world.changes, request, "stf_" + "0" * 20)
    refused = world.said(Action.STAFF_LEAVE)[-1]
    assert (refused.error, dict(refused.target)) == ("not_found", {"staff": "stf_" + "0" * 20})
