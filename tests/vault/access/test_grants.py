from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.vault.access.conftest import Office
from tests.vault.access.world import DESK, Someone, World, origin, plain_terms
from vault.access import approvals, grants, services
from vault.access import staff as register
from vault.access.decision import Permit, Question, decide
from vault.access.entries import Request
from vault.access.grants import Proposed
from vault.access.identities import DAY_US
from vault.domain.actions import Action
from vault.domain.errors import (
    AccessDeniedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TamperDetectedError,
    VaultError,
)
from vault.domain.model import Actor, ActorKind, Outcome, Reveal, Role


def ask(world: World, actor: Actor, **change: Any) -> Permit:
    question = Question(
        actor=actor,
        action=Action.TOKEN_DETOKENIZE,
        fields=("member.phone",),
        purpose="inquiry",
        reveal=Reveal.PLAIN,
        address=DESK,
        reasoned=True,
    )
    return decide(world.changes.standing(world.now_us).authority, replace(question, **change), world.now_us)


def refused_by(world: World, actor: Actor, **change: Any) -> str:
    with pytest.raises(AccessDeniedError) as refused:
        ask(world, actor, **change)
    return refused.value.rule


def shop(office: Office) -> Actor:
    secret = office.world.serve(office.administrator)
    return Actor(ActorKind.SERVICE, secret.service_id, "shop", session=secret.credential_id)


def test_plaintext_grant_is_in_force_only_when_the_officer_has_approved(any_office: Office) -> None:
    world, actor = any_office.world, shop(any_office)
    proposed = world.propose(any_office.administrator, plain_terms(actor.id))
    assert proposed.state == "proposed"
    assert refused_by(world, actor) == "grant_approval"
    world.approve(any_office.officer, proposed.grant_id)
    assert ask(world, actor).grants == (proposed.grant_id,)


def handler(office: Office) -> Actor:
    someone = office.world.hire(office.administrator, office.officer, Role.HANDLER)
    return Actor(ActorKind.STAFF, someone.staff_id, "handler")


@pytest.mark.parametrize(
    "change",
    [
        {"reveal": Reveal.MASKED},
        {"reveal": None, "actions": (Action.TOKEN_TOKENIZE, Action.TOKEN_SEARCH)},
    ],
)
def test_narrower_grant_of_a_person_is_in_force_at_once(office: Office, change: dict[str, Any]) -> None:
    world, actor = office.world, handler(office)
    terms = plain_terms(actor.id, kind="staff", **change)
    proposed = world.propose(office.administrator, terms)
    assert (proposed.state, proposed.approval_id) == ("active", "")


@pytest.mark.parametrize(
    "change",
    [
        {"reveal": Reveal.MASKED},
        {"reveal": None, "actions": (Action.TOKEN_TOKENIZE, Action.TOKEN_SEARCH)},
    ],
)
def test_grant_that_lets_a_service_see_anything_waits_for_the_officer(
    office: Office, change: dict[str, Any]
) -> None:
    world, actor = office.world, shop(office)
    assert world.propose(office.administrator, plain_terms(actor.id, **change)).state == "proposed"


def test_grant_that_lets_a_service_see_nothing_is_in_force_at_once(office: Office) -> None:
    world, actor = office.world, shop(office)
    terms = plain_terms(actor.id, reveal=None, actions=(Action.TOKEN_TOKENIZE,))
    assert world.propose(office.administrator, terms).state == "active"


def test_masked_grant_never_yields_plaintext(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id, reveal=Reveal.MASKED))
    world.approve(office.officer, proposed.grant_id)
    ask(world, actor, reveal=Reveal.MASKED)
    assert refused_by(world, actor) == "grant_reveal"


def test_refused_grant_is_never_in_force(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    world.approve(office.officer, proposed.grant_id, approve=False)
    assert refused_by(world, actor) == "grant"
    assert world.rows("approval", target=proposed.grant_id)[0]["state"] == "refused"


@pytest.mark.parametrize("who", ["administrator", "officer"])
def test_revoked_grant_ends_at_once_and_raises_the_revision(any_office: Office, who: str) -> None:
    world, actor = any_office.world, shop(any_office)
    proposed = world.propose(any_office.administrator, plain_terms(actor.id, reveal=Reveal.MASKED))
    before = world.changes.standing(world.now_us).revision
    grants.revoke(world.changes, world.request(getattr(any_office, who)), proposed.grant_id)
    assert world.changes.standing(world.now_us).revision == before + 1
    assert refused_by(world, actor, reveal=Reveal.MASKED) == "grant"


def test_withdrawn_proposal_cannot_be_approved_any_more(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    grants.revoke(world.changes, world.request(office.administrator), proposed.grant_id)
    with pytest.raises(ConflictError):
        approvals.decide_approval(
            world.changes, world.request(office.officer), proposed.approval_id, approve=True
        )


def test_history_keeps_every_version(any_office: Office) -> None:
    world, actor = any_office.world, shop(any_office)
    proposed = world.propose(any_office.administrator, plain_terms(actor.id))
    world.approve(any_office.officer, proposed.grant_id)
    grants.revoke(world.changes, world.request(any_office.officer), proposed.grant_id)
    request = world.request(any_office.administrator)
    rows = grants.history(world.changes, request, proposed.grant_id).value
    assert [(row.version, row.state, row.decided_by) for row in rows] == [
        (1, "proposed", ""),
        (2, "active", any_office.officer.staff_id),
        (3, "revoked", any_office.officer.staff_id),
    ]
    listed = grants.list_grants(world.changes, request).value
    assert [row.state for row in listed] == ["revoked"]


def test_forged_history_is_not_shown(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    world.approve(office.officer, proposed.grant_id)
    world.tamper("access_grant", {"id": proposed.grant_id, "version": 1}, {"proposed_by": "stf_0"})
    with pytest.raises(TamperDetectedError):
        grants.history(world.changes, world.request(office.administrator), proposed.grant_id)
    assert ("access_grant", proposed.grant_id) in world.alarms()


def test_grant_lapses_by_itself(office: Office) -> None:
    world, actor = office.world, shop(office)
    world.propose(office.administrator, plain_terms(actor.id, reveal=Reveal.MASKED, days=1))
    world.later(DAY_US)
    assert refused_by(world, actor, reveal=Reveal.MASKED) == "grant_time"


def test_grant_to_a_team_or_role_reaches_its_people(office: Office) -> None:
    world = office.world
    handler = world.hire(office.administrator, office.officer, Role.HANDLER, team="ethics")
    assert handler.actor is not None
    for kind, holder, purpose in (("team", "ethics", "ethics"), ("role", "handler", "mailing")):
        terms = plain_terms(holder, kind=kind, purposes=(purpose,), reveal=Reveal.MASKED)
        proposed = world.propose(office.administrator, terms)
        permit = ask(world, handler.actor, purpose=purpose, reveal=Reveal.MASKED)
        assert permit.grants == (proposed.grant_id,)


BAD_TERMS: list[tuple[str, dict[str, Any]]] = [
    ("range", {"days": 0}),
    ("range", {"days": 366}),
    ("action", {"actions": ()}),
    ("action", {"actions": (Action.KEY_ROTATE,)}),
    ("action", {"actions": ("*",)}),
    ("unknown_field", {"fields": ()}),
    ("unknown_field", {"fields": ("*",)}),
    ("unknown_field", {"fields": ("member.phone", "member.shoe_size")}),
    ("unknown_purpose", {"purposes": ("world_domination",)}),
    ("required", {"purposes": ()}),
    ("purpose_field", {"purposes": ("mailing",), "fields": ("member.gender",)}),
    ("reveal", {"reveal": None}),
    ("reveal", {"actions": (Action.TOKEN_TOKENIZE,)}),
    ("cidr", {"networks": ("everywhere",)}),
    ("kind", {"holder_kind": "everybody"}),
    ("kind", {"holder_kind": "team", "holder": ""}),
    ("team", {"holder_kind": "team", "holder": "No Team"}),
    ("role", {"holder_kind": "role", "holder": "administrator"}),
    ("phone_number", {"reason": "for 010-1234-5678"}),
    ("empty", {"reason": " "}),
]


@pytest.mark.parametrize(("rule", "change"), BAD_TERMS)
def test_refuses_terms_that_could_never_hold(office: Office, rule: str, change: dict[str, Any]) -> None:
    world, actor = office.world, shop(office)
    with pytest.raises(InvalidInputError) as refused:
        world.propose(office.administrator, replace(plain_terms(actor.id), **change))
    assert refused.value.rule == rule
    assert world.said(Action.GRANT_PROPOSE)[-1].decision.rule == rule
    assert world.rows("access_grant") == []


def test_terms_without_a_value_need_no_purpose(office: Office) -> None:
    world, actor = office.world, shop(office)
    terms = plain_terms(actor.id, actions=(Action.TOKEN_SHOW,), purposes=(), reveal=None)
    world.propose(office.administrator, terms)
    ask(world, actor, action=Action.TOKEN_SHOW, purpose="", reveal=None)


def test_refuses_holders_who_must_not_or_cannot_hold(office: Office) -> None:
    world, request = office.world, office.world.request(office.administrator)
    handler = world.hire(office.administrator, office.officer, Role.HANDLER)
    secret = world.serve(office.administrator)
    register.leave(world.changes, request, handler.staff_id)
    services.revoke(world.changes, request, secret.service_id)
    cases: list[tuple[type[VaultError], str, str]] = [
        (InvalidInputError, "staff", office.administrator.staff_id),
        (ConflictError, "staff", handler.staff_id),
        (ConflictError, "service", secret.service_id),
        (NotFoundError, "staff", "stf_" + "0" * 20),
        (NotFoundError, "service", "svc_" + "0" * 20),
    ]
    for error, kind, holder in cases:
        with pytest.raises(error):
            world.propose(office.administrator, plain_terms(holder, kind=kind))


def test_refuses_to_revoke_what_has_ended_or_is_unknown(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    request = world.request(office.administrator)
    grants.revoke(world.changes, request, proposed.grant_id)
    with pytest.raises(ConflictError):
        grants.revoke(world.changes, request, proposed.grant_id)
    with pytest.raises(NotFoundError):
        grants.revoke(world.changes, request, "grt_" + "0" * 20)


@pytest.mark.parametrize("who", ["officer", "handler"])
def test_only_administrators_propose(office: Office, who: str) -> None:
    world, actor = office.world, shop(office)
    handler = world.hire(office.administrator, office.officer, Role.HANDLER)
    someone = handler if who == "handler" else office.officer
    with pytest.raises(AccessDeniedError):
        world.propose(someone, plain_terms(actor.id))


# Approvals


def _second_officer(office: Office) -> Someone:
    return office.world.hire(office.administrator, office.officer, Role.OFFICER)


def _officers_grant(office: Office, kind: str, holder: str) -> Proposed:
    terms = plain_terms(holder, kind=kind, purposes=("mailing",))
    return office.world.propose(office.administrator, terms)


@pytest.mark.parametrize("kind", ["staff", "role", "team"])
def test_officer_does_not_approve_what_they_gain_by(office: Office, kind: str) -> None:
    world = office.world
    officer = world.hire(office.administrator, office.officer, Role.OFFICER, team="ethics")
    holder = {"staff": officer.staff_id, "role": "officer", "team": "ethics"}[kind]
    proposed = _officers_grant(office, kind, holder)
    with pytest.raises(AccessDeniedError) as refused:
        world.approve(officer, proposed.grant_id)
    assert refused.value.rule == "own_benefit"
    assert world.said(Action.APPROVAL_DECIDE)[-1].outcome is Outcome.REFUSED
    world.approve(officer, proposed.grant_id, approve=False)


def test_second_officer_approves_what_the_first_gains_by(office: Office) -> None:
    world, second = office.world, _second_officer(office)
    proposed = _officers_grant(office, "staff", office.officer.staff_id)
    world.approve(second, proposed.grant_id)
    assert office.officer.actor is not None
    ask(world, office.officer.actor, purpose="mailing")


def test_nobody_approves_their_own_request(any_office: Office) -> None:
    world = any_office.world
    candidate = world.hire(any_office.administrator, any_office.officer, Role.OFFICER)
    again = register.invite_again(
        world.changes, world.request(any_office.administrator), candidate.staff_id
    ).value
    renewed, _ = world.enrol(again)
    waiting = world.rows("approval", target=renewed.staff_id, state="open")[0]
    # They have no session any more; as if they had kept one, they are not active either.
    with pytest.raises(AccessDeniedError) as refused:
        approvals.decide_approval(world.changes, world.request(candidate), waiting["id"], approve=True)
    assert refused.value.rule == "actor"


def test_own_request_is_refused_even_to_an_officer(office: Office) -> None:
    """Reached only if a proposer could be an officer: as after a change of who may propose."""
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    row = world.changes.standing(world.now_us).authority.approvals[proposed.approval_id]
    with world.node.journal.unit() as unit:
        from vault.access.changes import Attempt
        from vault.access.entries import entry

        standing = world.changes.standings.current
        request = world.request(office.officer)
        attempt = Attempt(unit.connection, standing, request, [])
        attempt.change(row, proposed_by=office.officer.staff_id)
        unit.append([entry(request, Action.GRANT_PROPOSE)], revision=None, revise=True)
    with pytest.raises(AccessDeniedError) as refused:
        world.approve(office.officer, proposed.grant_id)
    assert refused.value.rule == "own_request"


@pytest.mark.parametrize("who", ["administrator", "handler", "reviewer"])
def test_only_officers_decide(office: Office, who: str) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    someone = office.administrator
    if who != "administrator":
        someone = world.hire(office.administrator, office.officer, Role(who))
    with pytest.raises(AccessDeniedError):
        approvals.decide_approval(world.changes, world.request(someone), proposed.approval_id, approve=True)
    assert refused_by(world, actor) == "grant_approval"


def test_refuses_to_decide_twice_or_what_is_unknown(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    world.approve(office.officer, proposed.grant_id)
    request = world.request(office.officer)
    with pytest.raises(ConflictError):
        approvals.decide_approval(world.changes, request, proposed.approval_id, approve=False)
    with pytest.raises(NotFoundError):
        approvals.decide_approval(world.changes, request, "apr_" + "0" * 20, approve=True)


def test_services_and_strangers_decide_nothing(office: Office) -> None:
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    request = Request(actor=actor, origin=origin(), now_us=world.now_us)
    with pytest.raises(AccessDeniedError):
        approvals.decide_approval(world.changes, request, proposed.approval_id, approve=True)


def test_waiting_thing_that_has_changed_is_not_decided(office: Office) -> None:
    """An approval whose grant or person does not wait any more decides nothing."""
    world, actor = office.world, shop(office)
    proposed = world.propose(office.administrator, plain_terms(actor.id))
    invited = register.invite(
        world.changes, world.request(office.administrator), register.Person("lee", "Lee", Role.HANDLER)
    ).value
    from vault.access.approval_rows import open_approval
    from vault.access.changes import Attempt
    from vault.access.entries import entry

    request = world.request(office.administrator)
    with world.node.journal.unit() as unit:
        attempt = Attempt(unit.connection, world.changes.standings.refresh(), request, [])
        attempt.add_version(attempt.authority.grants[proposed.grant_id], state="revoked")
        approval = open_approval("enrolment", invited.staff_id, by=invited.staff_id, now_us=world.now_us)
        early = attempt.put(approval)
        unit.append([entry(request, Action.GRANT_REVOKE)], revision=None, revise=True)
    for approval_id in (proposed.approval_id, early.id):
        with pytest.raises(ConflictError):
            approvals.decide_approval(world.changes, world.request(office.officer), approval_id, approve=True)


def test_refuses_a_search_over_fields_that_cannot_be_searched(office: Office) -> None:
    world, actor = office.world, shop(office)
    terms = plain_terms(actor.id, actions=(Action.TOKEN_SEARCH,), fields=("member.gender",), reveal=None)
    with pytest.raises(InvalidInputError) as refused:
        world.propose(office.administrator, terms)
    assert (refused.value.field, refused.value.rule) == ("fields", "not_searchable")
