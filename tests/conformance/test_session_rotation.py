"""The session key is replaced under open sessions, live services and locked accounts, and then it ends."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from keys.passwords import Passwords
from keys.secret import SecretText
from tests.conformance.counter import Counter
from tests.conformance.rotating import (
    approve,
    census,
    destroy,
    propose,
    rotate,
    second_administrator,
    state_of,
)
from tests.support.furnished import CHEAP, PASSWORD
from vault.access import services, staff
from vault.access.logins import Logins, Opened
from vault.access.password_rules import PasswordRules
from vault.access.staff import Person
from vault.domain.errors import AuthenticationError, ConflictError, TooManyAttemptsError
from vault.domain.model import Actor, Role
from vault.storage import tables


@pytest.fixture
def two(counter: Counter) -> Counter:
    """A vault with a second administrator."""
    second_administrator(counter)
    return counter


def _open(counter: Counter, login: str, *, password: str = PASSWORD) -> Opened:
    office = counter.furnished
    logins = Logins(counter.vault.changes, Passwords(CHEAP), PasswordRules())
    return logins.open(
        login,
        password=SecretText(password),
        totp_code=office.code(login) if login in office.seeds else "000000",
        origin=office.origin(),
        now_us=counter.vault.now_us(),
    )


def _admit(counter: Counter, opened: Opened) -> Actor:
    office = counter.furnished
    return counter.vault.sessions.admit_staff(
        opened.secret.expose(), origin=office.origin(), now_us=counter.vault.now_us()
    )


def _token(counter: Counter, made: services.Secret) -> str:
    issued = counter.vault.sessions.issue_access_token(
        made.service_id,
        made.client_secret.expose(),
        origin=counter.furnished.origin(),
        now_us=counter.vault.now_us(),
    )
    return issued.text.expose()


def _serve(counter: Counter, name: str = "kiosk") -> services.Secret:
    administrator = counter.actor("admin")
    return services.create(
        counter.vault.changes, counter.furnished.request(administrator), name=name, owner=administrator.id
    ).value


def _end_what_is_old(counter: Counter) -> None:
    """Let sessions lapse, replace the secrets of every service, and log the administrators in again."""
    office = counter.furnished
    office.clock.pass_time(hours=9)
    for login in ("admin", "second"):
        office.actors[login] = office.login(login)
    for service in counter.vault.services.list(office.request(counter.actor("admin"))).value:
        counter.vault.services.rotate(office.request(counter.actor("admin")), service.row.id, overlap_hours=0)


def test_sessions_services_and_invitations_of_before_go_on(two: Counter) -> None:
    office = two.furnished
    session, service = _open(two, "minji"), _serve(two)
    token = _token(two, service)
    person = Person(login="hana", name="Hana Kim", role=Role.HANDLER, team="support")
    invited = staff.invite(two.vault.changes, office.request(two.actor("admin")), person).value
    assert rotate(two, "session").new == 2
    for vault in (two.vault, two.node()):
        vault.sessions.refresh(vault.now_us())
        assert vault.sessions.admit_service(token, vault.now_us()).actor.name == "kiosk"
    assert _admit(two, session).id == two.actor("minji").id
    assert _token(two, service) != token
    assert office.enrol("hana", invited.code) == "waiting"
    assert two.alarms() == []
    two.verify_log()


def test_census_counts_what_is_live_by_the_key_it_was_made_with(two: Counter) -> None:
    _open(two, "minji")
    before = dict(census(two, "session").counts)
    rotate(two, "session")
    _open(two, "minji")
    _serve(two)
    assert dict(census(two, "session").counts) == before
    assert dict(census(two, "session", 2).counts) == {"credentials": 1, "sessions": 1, "invitations": 0}
    two.furnished.clock.pass_time(minutes=11)
    two.furnished.actors["admin"] = two.furnished.login("admin")
    assert census(two, "session").counts["sessions"] == 0
    assert before["sessions"] > 0


def test_the_key_ends_when_nothing_live_hangs_on_it_and_then_nothing_of_it_works(two: Counter) -> None:
    session, service = _open(two, "minji"), _serve(two)
    token = _token(two, service)
    rotate(two, "session")
    with pytest.raises(ConflictError, match="still hang"):
        propose(two, "session")
    _end_what_is_old(two)
    assert census(two, "session").total == 0
    destroy(two, "session")
    assert state_of(two, "session") == "destroyed"
    with pytest.raises(AuthenticationError):
        _admit(two, session)
    with pytest.raises(AuthenticationError):
        _token(two, service)
    with pytest.raises(AuthenticationError):
        two.vault.sessions.admit_service(token, two.vault.now_us())
    assert _admit(two, _open(two, "minji")).id == two.actor("minji").id
    assert two.alarms() == []
    two.verify_log()


def test_the_key_is_held_for_an_hour_though_nothing_hangs_on_it(two: Counter) -> None:
    rotate(two, "session")
    two.tamper(
        update(tables.session).values(key_version=2),
        update(tables.credential).values(key_version=2),
        update(tables.invitation).values(key_version=2),
    )
    hanging = census(two, "session")
    assert (hanging.total, hanging.held_until_us is not None) == (0, True)
    with pytest.raises(ConflictError, match="not before"):
        propose(two, "session")
    two.furnished.clock.pass_time(hours=1)
    assert census(two, "session").held_until_us is None
    propose(two, "session")


def test_a_column_lowered_behind_the_vaults_back_ends_the_secret_and_opens_nothing(two: Counter) -> None:
    """It is outside the MAC: whoever holds the database can hurry a key's end, and stop a service with it."""
    service = _serve(two)
    rotate(two, "session")
    two.furnished.clock.pass_time(hours=9)
    for login in ("admin", "second"):
        two.furnished.actors[login] = two.furnished.login(login)
    two.tamper(update(tables.credential).values(key_version=2))
    destroy(two, "session")
    with pytest.raises(AuthenticationError):
        _token(two, service)


@pytest.mark.parametrize("login", ["minji", "nobody"])
def test_a_rotation_clears_no_lockout(two: Counter, login: str) -> None:
    for _ in range(5):
        with pytest.raises(AuthenticationError):
            _open(two, login, password="wrong-lantern-oxide")
    rotate(two, "session")
    with pytest.raises(TooManyAttemptsError):
        _open(two, login)
    two.furnished.clock.pass_time(minutes=16)
    if login == "minji":
        _open(two, login)
    else:
        with pytest.raises(AuthenticationError):
            _open(two, login)


def test_failures_before_and_after_a_rotation_are_counted_together(two: Counter) -> None:
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            _open(two, "minji", password="wrong-lantern-oxide")
    rotate(two, "session")
    rotate(two, "session")
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            _open(two, "minji", password="wrong-lantern-oxide")
    with pytest.raises(TooManyAttemptsError):
        _open(two, "minji")


def test_the_end_of_the_key_forgets_no_failure_of_a_registered_login(two: Counter) -> None:
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            _open(two, "minji", password="wrong-lantern-oxide")
    rows = two.rows(tables.login_failure, order_by="source")
    before = {(row["source"], row["failures"]) for row in rows if row["failures"]}
    assert before
    rotate(two, "session")
    two.tamper(
        update(tables.session).values(key_version=2),
        update(tables.credential).values(key_version=2),
        update(tables.invitation).values(key_version=2),
    )
    two.furnished.clock.pass_time(hours=1)
    waiting = propose(two, "session")
    approve(two, waiting)
    rows = two.rows(tables.login_failure, order_by="source")
    assert {(row["source"], row["failures"]) for row in rows if row["failures"]} == before
    keyring = two.vault.standings.refresh().keyring
    digest = keyring.sessions.session_digest(SecretText("login minji"))
    assert {bytes(row["account"]) for row in rows if row["failures"]} == {digest}
