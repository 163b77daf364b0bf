from __future__ import annotations

import time

import pytest

from keys.secret import SecretText
from tests.vault.access.conftest import Office
from tests.vault.access.world import DESK, ELSEWHERE, World, origin, plain_terms
from vault.access import services
from vault.access import staff as register
from vault.access.access_tokens import authenticate_access_token, issue_access_token
from vault.access.identities import DAY_US, HOUR_US, SECOND_US
from vault.access.standing import Standing
from vault.domain.actions import Action
from vault.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SessionExpiredError,
)
from vault.domain.model import Actor, ActorKind, Outcome, Reveal, Role


def authenticate(world: World, text: str) -> Actor:
    standing = world.changes.standing(world.now_us)
    return authenticate_access_token(standing.authority, standing.keyring.sessions, text, world.now_us)


def test_access_token_names_service_and_credential(any_office: Office) -> None:
    world = any_office.world
    secret = world.serve(any_office.administrator)
    actor = authenticate(world, world.token(secret))
    assert (actor.kind, actor.id, actor.session) == (
        ActorKind.SERVICE,
        secret.service_id,
        secret.credential_id,
    )
    entry = world.said(Action.SERVICE_AUTHENTICATE)[-1]
    assert (entry.actor, entry.outcome) == (actor, Outcome.DONE)


def test_access_token_is_over_after_ten_minutes(office: Office) -> None:
    world = office.world
    text = world.token(world.serve(office.administrator))
    world.later(599 * SECOND_US)
    authenticate(world, text)
    world.later(SECOND_US)
    with pytest.raises(SessionExpiredError):
        authenticate(world, text)


def test_access_token_does_not_outlive_its_credential(office: Office) -> None:
    world = office.world
    secret = world.serve(office.administrator, days=1)
    world.now_us = secret.expires_us - 60 * SECOND_US
    issued = issue_access_token(
        world.changes, secret.service_id, secret.client_secret, origin=origin(), now_us=world.now_us
    )
    assert issued.expires_in == 60


@pytest.mark.parametrize("text", ["", "pva_", "pva_" + "0" * 138, "x" * 5000])
def test_refuses_what_is_no_access_token(office: Office, text: str) -> None:
    with pytest.raises(AuthenticationError):
        authenticate(office.world, text)


def test_refuses_an_access_token_with_one_digit_changed(office: Office) -> None:
    world = office.world
    text = world.token(world.serve(office.administrator))
    for place in (10, 60, 100):
        other = "1" if text[place] != "1" else "2"
        with pytest.raises(AuthenticationError):
            authenticate(world, text[:place] + other + text[place + 1 :])


def test_access_token_of_a_credential_that_is_not_ours_is_refused(any_office: Office) -> None:
    world = any_office.world
    secret = world.serve(any_office.administrator)
    text = world.token(secret)
    world.tamper("credential", {"id": secret.credential_id}, {"expires_at": 1 << 60})
    with pytest.raises(AuthenticationError):
        authenticate(world, text)
    assert ("credential", secret.credential_id) in world.alarms()


def test_revoked_service_stops_at_once(any_office: Office) -> None:
    world = any_office.world
    secret = world.serve(any_office.administrator)
    text = world.token(secret)
    services.revoke(world.changes, world.request(any_office.administrator), secret.service_id)
    with pytest.raises(SessionExpiredError):
        authenticate(world, text)
    with pytest.raises(AuthenticationError):
        world.token(secret)
    assert world.said(Action.SERVICE_AUTHENTICATE)[-1].decision.rule == "service"


def test_secret_ended_outright_is_over_on_a_node_whose_clock_is_behind(any_office: Office) -> None:
    world = any_office.world
    secret = world.serve(any_office.administrator)
    world.later(HOUR_US)
    text = world.token(secret)
    services.rotate(world.changes, world.request(any_office.administrator), secret.service_id, overlap_us=0)
    world.later(-5 * SECOND_US)
    with pytest.raises(SessionExpiredError):
        authenticate(world, text)
    with pytest.raises(AuthenticationError):
        world.token(secret)
    (listed,) = services.list_services(world.changes, world.request(any_office.administrator)).value
    assert [row.ended for row in listed.credentials] == [True, False]


def test_secret_that_overlaps_is_not_told_to_be_ended(office: Office) -> None:
    world = office.world
    secret = world.serve(office.administrator)
    world.later(HOUR_US)
    services.rotate(world.changes, world.request(office.administrator), secret.service_id)
    (listed,) = services.list_services(world.changes, world.request(office.administrator)).value
    assert [(row.ended, row.revoked_at is None) for row in listed.credentials] == [
        (False, False),
        (False, True),
    ]


def test_grants_end_with_their_service_and_no_other(office: Office) -> None:
    world, administrator = office.world, office.administrator
    secret, other = world.serve(administrator), world.serve(administrator)
    active = world.propose(administrator, plain_terms(secret.service_id, reveal=Reveal.MASKED))
    waiting = world.propose(administrator, plain_terms(secret.service_id))
    tokenize = plain_terms(other.service_id, reveal=None, actions=(Action.TOKEN_TOKENIZE,))
    theirs = world.propose(administrator, tokenize)
    services.revoke(world.changes, world.request(administrator), secret.service_id)
    found = world.changes.standing(world.now_us).authority.grants
    states = [found[proposed.grant_id].state for proposed in (active, waiting, theirs)]
    assert states == ["revoked", "revoked", "active"]


def test_service_stops_when_its_owner_leaves(any_office: Office) -> None:
    world = any_office.world
    owner = world.hire(any_office.administrator, any_office.officer, Role.HANDLER)
    secret = world.serve(any_office.administrator, owner=owner.staff_id)
    text = world.token(secret)
    register.leave(world.changes, world.request(any_office.administrator), owner.staff_id)
    with pytest.raises(SessionExpiredError):
        authenticate(world, text)
    listed = services.list_services(world.changes, world.request(any_office.administrator)).value
    assert [(found.row.id, found.row.state) for found in listed] == [(secret.service_id, "revoked")]


def test_service_stops_while_its_owner_is_invited_again(office: Office) -> None:
    world = office.world
    owner = world.hire(office.administrator, office.officer, Role.HANDLER)
    secret = world.serve(office.administrator, owner=owner.staff_id)
    text = world.token(secret)
    register.invite_again(world.changes, world.request(office.administrator), owner.staff_id)
    with pytest.raises(SessionExpiredError):
        authenticate(world, text)
    with pytest.raises(AuthenticationError):
        world.token(secret)
    assert world.said(Action.SERVICE_AUTHENTICATE)[-1].decision.rule == "owner"


def test_overdue_credential_stops_and_its_refusal_is_an_entry_of_the_service(office: Office) -> None:
    world = office.world
    secret = world.serve(office.administrator, days=1)
    world.later(DAY_US)
    with pytest.raises(AuthenticationError, match=r"^the client could not be authenticated$"):
        world.token(secret)
    entry = world.said(Action.SERVICE_AUTHENTICATE)[-1]
    assert (entry.outcome, entry.actor.id, entry.decision.rule) == (
        Outcome.REFUSED,
        secret.service_id,
        "credential",
    )


def test_service_is_refused_from_another_network(office: Office) -> None:
    world = office.world
    secret = world.serve(office.administrator, networks=["192.0.2.0/24"])
    world.token(secret, address=DESK)
    with pytest.raises(AuthenticationError):
        world.token(secret, address=ELSEWHERE)
    assert world.said(Action.SERVICE_AUTHENTICATE)[-1].decision.rule == "network"


@pytest.mark.parametrize("wrong", ["secret", "shape", "client"])
def test_wrong_secret_is_counted_among_the_strangers(office: Office, wrong: str) -> None:
    world = office.world
    secret, other = world.serve(office.administrator), world.serve(office.administrator)
    client_id = "svc_" + "0" * 20 if wrong == "client" else secret.service_id
    shown = SecretText("pvs_") if wrong == "shape" else other.client_secret
    with pytest.raises(AuthenticationError, match=r"^the client could not be authenticated$"):
        issue_access_token(world.changes, client_id, shown, origin=origin(), now_us=world.now_us)
    assert world.said(Action.SERVICE_AUTHENTICATE) == []
    world.changes.strangers.flush(world.now_us, everything=True)
    assert world.said(Action.SERVICE_AUTHENTICATE)[-1].decision.rule == "credential"


def test_credential_gone_between_look_and_issue_issues_nothing(office: Office) -> None:
    world = office.world
    secret = world.serve(office.administrator)
    sabotage = world.changes.standing

    def standing_then_tampered(now_us: int) -> Standing:
        found = sabotage(now_us)
        if not tampered:
            tampered.append(True)
            world.tamper("credential", {"id": secret.credential_id}, {"expires_at": 1 << 60})
        return found

    tampered: list[bool] = []
    world.changes.standing = standing_then_tampered  # type: ignore[method-assign]
    with pytest.raises(AuthenticationError):
        world.token(secret)
    assert world.said(Action.SERVICE_AUTHENTICATE)[-1].decision.rule == "credential"


def test_rotation_leaves_the_earlier_secret_good_for_the_overlap(any_office: Office) -> None:
    world, administrator = any_office.world, any_office.administrator
    first = world.serve(administrator)
    second = services.rotate(
        world.changes, world.request(administrator), first.service_id, overlap_us=HOUR_US
    ).value
    world.token(first)
    world.token(second)
    world.later(HOUR_US)
    with pytest.raises(AuthenticationError):
        world.token(first)
    world.token(second)


def test_two_secrets_are_good_at_once_at_most(office: Office) -> None:
    world, administrator = office.world, office.administrator
    first = world.serve(administrator)
    second = services.rotate(world.changes, world.request(administrator), first.service_id).value
    third = services.rotate(world.changes, world.request(administrator), first.service_id).value
    with pytest.raises(AuthenticationError):
        world.token(first)
    world.token(second)
    world.token(third)


def test_rotation_without_overlap_ends_the_earlier_secret_now(office: Office) -> None:
    world, administrator = office.world, office.administrator
    first = world.serve(administrator)
    services.rotate(world.changes, world.request(administrator), first.service_id, overlap_us=0)
    with pytest.raises(AuthenticationError):
        world.token(first)


def test_rotation_of_an_overdue_service_gives_a_new_secret(office: Office) -> None:
    world, administrator = office.world, office.administrator
    first = world.serve(administrator, days=1)
    world.later(2 * DAY_US)
    second = services.rotate(world.changes, world.request(administrator), first.service_id).value
    world.token(second)


def test_secret_is_shown_once_and_never_stored(office: Office) -> None:
    world = office.world
    secret = world.serve(office.administrator)
    assert secret.client_secret.expose() not in repr(secret)
    assert secret.client_secret.expose()[4:] not in repr(world.rows("credential"))


@pytest.mark.parametrize("days", [0, 366, -1])
def test_refuses_a_lifetime_out_of_range(office: Office, days: int) -> None:
    with pytest.raises(InvalidInputError):
        office.world.serve(office.administrator, days=days)


@pytest.mark.parametrize("overlap_us", [-1, 31 * DAY_US])
def test_refuses_an_overlap_out_of_range(office: Office, overlap_us: int) -> None:
    world = office.world
    secret = world.serve(office.administrator)
    with pytest.raises(InvalidInputError):
        services.rotate(
            world.changes, world.request(office.administrator), secret.service_id, overlap_us=overlap_us
        )


def test_refuses_an_owner_who_is_unknown_or_not_active(office: Office) -> None:
    world = office.world
    with pytest.raises(NotFoundError):
        world.serve(office.administrator, owner="stf_" + "0" * 20)
    invited = register.invite(
        world.changes, world.request(office.administrator), register.Person("lee", "Lee", Role.HANDLER)
    ).value
    with pytest.raises(ConflictError):
        world.serve(office.administrator, owner=invited.staff_id)


def test_refuses_a_name_with_a_resident_number(office: Office) -> None:
    world = office.world
    with pytest.raises(InvalidInputError) as refused:
        services.create(
            world.changes,
            world.request(office.administrator),
            name="export of 900101-1234567",
            owner=office.administrator.staff_id,
        )
    assert (refused.value.rule, refused.value.field) == ("resident_number", "name")
    assert world.rows("service") == []


def test_refuses_a_name_that_is_taken(office: Office) -> None:
    world = office.world
    request = world.request(office.administrator)
    services.create(world.changes, request, name="shop", owner=office.officer.staff_id)
    with pytest.raises(ConflictError):
        services.create(world.changes, request, name=" shop ", owner=office.officer.staff_id)


def test_refuses_acts_on_a_revoked_or_unknown_service(office: Office) -> None:
    world, request = office.world, office.world.request(office.administrator)
    secret = world.serve(office.administrator)
    services.revoke(world.changes, request, secret.service_id)
    for act in (services.revoke, services.rotate):
        with pytest.raises(ConflictError):
            act(world.changes, request, secret.service_id)
        with pytest.raises(NotFoundError):
            act(world.changes, request, "svc_" + "0" * 20)


def test_only_administrators_make_services(office: Office) -> None:
    world = office.world
    with pytest.raises(AccessDeniedError):
        services.create(
            world.changes, world.request(office.officer), name="shop", owner=office.officer.staff_id
        )
    refused = world.said(Action.SERVICE_CREATE)[-1]
    assert (refused.outcome, refused.actor.id, refused.decision.rule) == (
        Outcome.REFUSED,
        office.officer.staff_id,
        "role",
    )


def test_authenticating_takes_microseconds(office: Office) -> None:
    world = office.world
    text = world.token(world.serve(office.administrator))
    standing = world.changes.standing(world.now_us)
    authority, keys = standing.authority, standing.keyring.sessions
    start = time.perf_counter()
    for _ in range(1_000):
        authenticate_access_token(authority, keys, text, world.now_us)
    # The goal is 10 each; the rest is room for a busy machine.
    assert (time.perf_counter() - start) / 1_000 < 150e-6
