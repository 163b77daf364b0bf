"""The small parts: networks, names, passwords, strangers, changes, init."""

from __future__ import annotations

from typing import NoReturn

import pytest

from keys.keyring import Keyring
from keys.secret import SecretText
from tests.vault.access.conftest import Office
from tests.vault.access.world import DESK, ELSEWHERE, POLICY, START_US, VAULT_ID, Node, World, new_keys
from vault.access.bootstrap import initialise
from vault.access.changes import ATTEMPTS, Attempt, Change
from vault.access.identities import MINUTE_US, moment
from vault.access.networks import parse_networks, source_of, within
from vault.access.password_rules import PasswordRules, generate_password
from vault.access.staff import Person
from vault.access.strangers import MANY, MAX_SOURCES, printable_address
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError, LogUnavailableError, NotFoundError
from vault.domain.model import ActorKind, Role
from vault.policy.policy import Policy
from vault.storage.errors import StaleRevisionError


@pytest.mark.parametrize(
    ("address", "networks", "inside"),
    [
        (DESK, [], True),
        (DESK, ["192.0.2.0/24"], True),
        (DESK, ["198.51.100.0/24", "192.0.2.10"], True),
        (DESK, ["198.51.100.0/24"], False),
        ("::ffff:192.0.2.10", ["192.0.2.0/24"], True),
        ("2001:db8::1", ["2001:db8::/32"], True),
        ("2001:db8::1", ["192.0.2.0/24"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("local", ["192.0.2.0/24"], False),
        ("local", [], True),
    ],
)
def test_address_is_within_its_networks(address: str, networks: list[str], inside: bool) -> None:
    assert within(address, parse_networks(networks)) is inside


@pytest.mark.parametrize("text", ["", "*", "192.0.2.1/24", "192.0.2.0/33", "host.example"])
def test_refuses_what_is_no_network(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_networks([text])
    assert refused.value.rule == "cidr"


def test_refuses_too_many_networks() -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_networks([f"192.0.2.{number}" for number in range(51)])
    assert refused.value.rule == "count"


@pytest.mark.parametrize(
    ("address", "source"),
    [
        (DESK, DESK),
        ("::ffff:192.0.2.10", DESK),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("local", "local"),
    ],
)
def test_source_is_what_one_customer_has(address: str, source: str) -> None:
    assert source_of(address) == source


@pytest.mark.parametrize(
    ("source", "printed"),
    [("2001:db8::/64", "2001:db8::"), ("", "unknown"), ("a b\n" + "x" * 99, "a_b_" + "x" * 60)],
)
def test_source_is_printed_as_an_address_of_the_log(source: str, printed: str) -> None:
    assert printable_address(source) == printed


def test_moments_are_exact_to_the_microsecond() -> None:
    assert moment(START_US + 1).isoformat() == "2027-01-15T08:00:00.000001+00:00"


# Passwords

RULES = PasswordRules()


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("", "short"),
        ("elevenchars", "short"),
        ("x" * 257, "long"),
        ("tab\tin the middle", "text"),
        ("aaaaaaaaaaaaaaa", "repeated"),
        ("abcdabcdabcdabcd", "repeated"),
        ("otter1otter1otter1", "repeated"),
        ("123456789012", "sequence"),
        ("qwertyuiop[12", "sequence"),
        ("abcdefghijklmnop", "sequence"),
        ("correcthorsebatterystaple", "common"),
        ("P@ssw0rd20262026", "common"),
        ("Password12345!", "common"),
        ("summer-dragon-99", "common"),
        ("saranghaeyo1004", "common"),
        ("hana.park-and-otters", "personal"),
        ("my dear PARK otter", "personal"),
        ("otters for PIIvault", "personal"),
        ("하나은행 길동 otters", "personal"),
    ],
)
def test_refuses_passwords_that_would_be_guessed(password: str, rule: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        RULES.require(SecretText(password), login="hana.park", name="Hana Park 길동")
    assert (refused.value.field, refused.value.rule) == ("password", rule)
    assert len(password) < 4 or password not in str(refused.value)


@pytest.mark.parametrize(
    "password",
    [
        "otter-granite-7-plum",
        "언덕 위의 파란 자전거 세 대",
        "x7Gm-19pQ-zzLw",
        "when otters sing in granite halls",
    ],
)
def test_takes_passwords_that_would_not(password: str) -> None:
    RULES.require(SecretText(password), login="hana.park", name="Lee An")


def test_full_width_characters_are_counted_as_what_they_stand_for() -> None:
    with pytest.raises(InvalidInputError) as refused:
        RULES.require(SecretText("Ｐａｓｓｗｏｒｄ１２３４５"), login="hana", name="")
    assert refused.value.rule == "common"


def test_generated_passwords_pass_their_own_rules_and_differ() -> None:
    made = {generate_password().expose() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        RULES.require(SecretText(password), login="hana", name="Hana Park")


# Strangers


def test_one_entry_for_each_source_kind_and_minute(any_office: Office) -> None:
    world = any_office.world
    strangers = world.changes.strangers
    now_us = world.now_us - world.now_us % MINUTE_US
    for address, action, at in (
        (DESK, Action.SESSION_OPEN, now_us),
        (DESK, Action.SESSION_OPEN, now_us + 1),
        (ELSEWHERE, Action.SESSION_OPEN, now_us),
        (DESK, Action.SERVICE_AUTHENTICATE, now_us),
        (DESK, Action.SESSION_OPEN, now_us + MINUTE_US),
    ):
        strangers.note(action, address, at, error="authentication_failed", rule="login")
    assert strangers.flush(now_us + MINUTE_US) == 3
    assert strangers.flush(now_us + MINUTE_US) == 0
    assert strangers.flush(now_us + MINUTE_US, everything=True) == 1
    entries = world.log()[-4:]
    assert sorted(entry.count for entry in entries) == [1, 1, 1, 2]
    assert {entry.actor.kind for entry in entries} == {ActorKind.STRANGER}


def test_sources_beyond_the_cap_share_one_entry(office: Office) -> None:
    world = office.world
    strangers = world.changes.strangers
    for number in range(MAX_SOURCES + 3):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        strangers.note(Action.SESSION_OPEN, address, world.now_us, error="authentication_failed")
    assert strangers.flush(world.now_us, everything=True) == MAX_SOURCES + 1
    many = [entry for entry in world.log() if entry.origin.address == MANY]
    assert [entry.count for entry in many] == [3]


def test_counts_that_could_not_be_written_are_kept(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    world = office.world
    strangers = world.changes.strangers
    strangers.note(Action.SESSION_OPEN, DESK, world.now_us, error="authentication_failed")

    def broken() -> NoReturn:
        strangers.note(Action.SESSION_OPEN, DESK, world.now_us + 5, error="authentication_failed")
        raise LogUnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(world.node.journal, "unit", broken)
        with pytest.raises(LogUnavailableError):
            strangers.flush(world.now_us, everything=True)
    strangers.flush(world.now_us, everything=True)
    assert world.said(Action.SESSION_OPEN)[-1].count == 2


# Changes


def test_overtaken_change_is_decided_again(any_office: Office) -> None:
    world = any_office.world
    other = world.another_node()
    seen: list[int] = []

    def act(_attempt: Attempt) -> Change[str]:
        seen.append(world.changes.standings.current.revision)
        if len(seen) == 1:
            raise StaleRevisionError
        return Change("done", {}, revises=True)

    made = world.changes.make(world.request(any_office.administrator), Action.KEY_LIST, act)
    assert (made.value, len(seen)) == ("done", 2)
    assert other.changes.standing(world.now_us).revision == seen[-1] + 1


def test_change_of_another_node_is_seen_before_the_commit(any_office: Office) -> None:
    world = any_office.world
    administrator = any_office.administrator
    second = world.hire(administrator, any_office.officer, Role.ADMINISTRATOR)
    other = world.another_node()
    other.changes.standing(world.now_us)
    from vault.access import staff as register

    register.leave(world.changes, world.request(administrator), second.staff_id)
    # The other node still holds the earlier standing, in which this person is an administrator.
    other.changes.standings.refresh = lambda: stale  # type: ignore[method-assign]
    stale = other.changes.standings.current
    with pytest.raises(ConflictError):
        register.invite(other.changes, world.request(second), Person("lee", "Lee", Role.HANDLER))
    assert world.rows("staff", login="lee") == []


def test_change_that_is_always_overtaken_gives_up(office: Office) -> None:
    world = office.world
    tries: list[int] = []

    def act(attempt: Attempt) -> Change[None]:
        tries.append(attempt.now_us)
        raise StaleRevisionError

    with pytest.raises(ConflictError):
        world.changes.make(world.request(office.administrator), Action.KEY_LIST, act)
    assert len(tries) == ATTEMPTS


def test_refusal_of_an_act_changes_nothing_and_is_logged(any_office: Office) -> None:
    world = any_office.world

    def act(attempt: Attempt) -> Change[None]:
        row = attempt.authority.staff[any_office.officer.staff_id].row
        attempt.change(row, name="Somebody Else")
        raise NotFoundError("no such thing")

    with pytest.raises(NotFoundError):
        world.changes.make(
            world.request(any_office.administrator), Action.KEY_LIST, act, target={"key": "wrapping"}
        )
    assert world.rows("staff", id=any_office.officer.staff_id)[0]["name"] == "Omar Seo"
    entry = world.log()[-1]
    assert (entry.error, dict(entry.target)) == ("not_found", {"key": "wrapping"})


def test_row_that_changed_since_it_was_read_is_not_overwritten(office: Office) -> None:
    world = office.world

    def act(attempt: Attempt) -> Change[None]:
        row = attempt.authority.staff[office.officer.staff_id].row
        attempt.change(row, name="First")
        attempt.change(row, name="Second")
        return Change(None, {}, revises=True)

    with pytest.raises(ConflictError, match="changed since it was read"):
        world.changes.make(world.request(office.administrator), Action.KEY_LIST, act)


# Init


@pytest.mark.parametrize(
    ("administrator", "officer", "rule"),
    [
        (Person("a.one", "A", Role.OFFICER), Person("b.two", "B", Role.OFFICER), "role"),
        (Person("a.one", "A", Role.ADMINISTRATOR), Person("b.two", "B", Role.HANDLER), "role"),
        (Person("a.one", "A", Role.ADMINISTRATOR), Person(" A.One", "B", Role.OFFICER), "same"),
    ],
)
def test_init_needs_two_people_of_the_two_roles(
    embedded: World, administrator: Person, officer: Person, rule: str
) -> None:
    keyring = Keyring.unlock(VAULT_ID, new_keys(embedded.root), embedded.root)
    with embedded.node.database.writing() as connection, pytest.raises(InvalidInputError) as refused:
        initialise(
            connection,
            keyring,
            policy=Policy.parse(POLICY),
            administrator=administrator,
            officer=officer,
            now_us=START_US,
        )
    assert refused.value.rule == rule


def test_node_starts_from_what_init_wrote(world: World) -> None:
    node = Node(world.url, world.wrapper)
    authority = node.changes.standing(world.now_us).authority
    assert {member.row.login for member in authority.staff.values()} == {"root.admin", "privacy.officer"}
    assert authority.require_policy().company == "Example"
    assert authority.alarms == ()
    node.close()
