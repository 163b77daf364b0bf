from __future__ import annotations

from zlib import crc32

import pytest

from keys.secret import SecretText
from tests.vault.access.conftest import Office
from tests.vault.access.world import DESK, ELSEWHERE, origin
from vault.access import sessions
from vault.access import staff as register
from vault.access.identities import HOUR_US, MINUTE_US, SECOND_US
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError, SessionExpiredError
from vault.domain.model import ActorKind, Role


def test_session_names_the_person(any_office: Office) -> None:
    actor = any_office.world.authenticate(any_office.officer)
    assert (actor.kind, actor.name, actor.roles) == (ActorKind.STAFF, "Omar Seo", ("officer",))
    assert actor.session.startswith("ses_")


def test_secret_itself_is_nowhere_in_the_database(office: Office) -> None:
    stored = repr(office.world.rows("session"))
    assert office.officer.secret.expose() not in stored
    assert office.officer.secret.expose()[4:68] not in stored


def test_idle_session_ends(any_office: Office) -> None:
    any_office.world.later(10 * MINUTE_US)
    with pytest.raises(SessionExpiredError):
        any_office.world.authenticate(any_office.officer)


def test_session_in_use_goes_on_until_the_working_day_is_over(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    start = world.now_us
    while world.now_us + 9 * MINUTE_US < start + 8 * HOUR_US:
        world.later(9 * MINUTE_US)
        world.authenticate(officer)
    world.now_us = start + 8 * HOUR_US
    with pytest.raises(SessionExpiredError):
        world.authenticate(officer)


def test_use_is_written_down_once_a_minute_at_most(office: Office) -> None:
    world, officer = office.world, office.officer
    opened = world.now_us

    def seen() -> int:
        assert officer.actor is not None
        return int(world.rows("session", id=officer.actor.session)[0]["last_seen_at"])

    world.later(59 * SECOND_US)
    world.authenticate(officer)
    assert seen() == opened
    world.later(SECOND_US)
    world.authenticate(officer)
    assert seen() == world.now_us


def test_closed_session_is_over(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    sessions.close(world.changes, world.request(officer))
    with pytest.raises(SessionExpiredError):
        world.authenticate(officer)
    assert world.said(Action.SESSION_CLOSE)[-1].actor.id == officer.staff_id


def test_session_is_of_no_use_from_another_source(office: Office) -> None:
    with pytest.raises(SessionExpiredError):
        office.world.authenticate(office.officer, address=ELSEWHERE)
    office.world.authenticate(office.officer)


WELL_FORMED = "pvn_" + "0" * 64 + f"{crc32(b'pvn_' + b'0' * 64):08x}"


@pytest.mark.parametrize("text", ["", "pvn_", "x" * 5000, WELL_FORMED])
def test_unknown_secret_is_refused_with_the_same_words(office: Office, text: str) -> None:
    with pytest.raises(AuthenticationError, match=r"^the session is not valid; log in$"):
        sessions.authenticate_session(
            office.world.changes, SecretText(text), origin=origin(DESK), now_us=office.world.now_us
        )


def test_failures_are_counted_among_the_strangers(office: Office) -> None:
    world = office.world
    for _ in range(4):
        with pytest.raises(AuthenticationError):
            sessions.authenticate_session(
                world.changes, SecretText("pvn_"), origin=origin(ELSEWHERE), now_us=world.now_us
            )
    world.changes.strangers.flush(world.now_us, everything=True)
    entry = world.said(Action.SESSION_OPEN)[-1]
    assert (entry.count, entry.origin.address, entry.decision.rule) == (4, ELSEWHERE, "session")


def test_session_given_to_another_person_is_refused_and_alarms(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    assert officer.actor is not None
    other = any_office.administrator.staff_id
    world.tamper("session", {"id": officer.actor.session}, {"staff_id": other})
    with pytest.raises(AuthenticationError):
        world.authenticate(officer)
    assert ("session", officer.actor.session) in world.alarms()


def test_prolonged_session_is_refused(office: Office) -> None:
    world, officer = office.world, office.officer
    assert officer.actor is not None
    world.tamper("session", {"id": officer.actor.session}, {"expires_at": 1 << 60})
    with pytest.raises(AuthenticationError):
        world.authenticate(officer)


def test_session_of_a_person_whose_row_is_not_ours_is_over(office: Office) -> None:
    world, officer = office.world, office.officer
    world.tamper("staff", {"id": officer.staff_id}, {"roles": "officer handler"})
    with pytest.raises(SessionExpiredError):
        world.authenticate(officer)
    assert ("staff", officer.staff_id) in world.alarms()


def test_leaving_ends_the_session_on_every_node(any_office: Office) -> None:
    world = any_office.world
    handler = world.hire(any_office.administrator, any_office.officer, Role.HANDLER)
    other = world.another_node()
    register.leave(world.changes, world.request(any_office.administrator), handler.staff_id)
    with pytest.raises(SessionExpiredError):
        sessions.authenticate_session(other.changes, handler.secret, origin=origin(), now_us=world.now_us)
