from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from keys.passwords import Argon2Parameters, Passwords
from keys.secret import SecretText
from tests.vault.access.conftest import Office
from tests.vault.access.world import CHEAP, DESK, ELSEWHERE, PASSWORD, Node, Someone, World, origin
from vault.access import staff as register
from vault.access import throttle
from vault.access.decision import PASSWORD_AGE_US, PASSWORD_GRACE_US
from vault.access.identities import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from vault.access.logins import Logins, Opened
from vault.access.password_rules import PasswordRules
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError, InvalidInputError, TooManyAttemptsError
from vault.domain.model import ActorKind, Outcome, Role
from vault.storage.sessions import sessions_since

WRONG = SecretText("not-the-password-9")
REFUSED = "^login, password or code is not right$"


def attempt(
    world: World,
    login: str,
    *,
    password: SecretText = PASSWORD,
    code: str = "000000",
    address: str = DESK,
    node: Node | None = None,
) -> Opened:
    return (node or world.node).logins.open(
        login, password=password, totp_code=code, origin=origin(address), now_us=world.now_us
    )


def fail(world: World, someone: Someone, times: int, *, address: str) -> None:
    for _ in range(times):
        with pytest.raises(AuthenticationError, match=REFUSED):
            attempt(world, someone.login, password=WRONG, address=address)


def test_opens_a_session_and_logs_who(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    opened = world.log_in(someone)
    entry = world.said(Action.SESSION_OPEN)[-1]
    assert (entry.outcome, entry.actor.name, entry.origin.address) == (Outcome.DONE, "Omar Seo", DESK)
    assert dict(entry.target) == {"session": opened.actor.session, "staff": someone.staff_id}
    assert world.log()[opened.log_index] == entry
    assert opened.secret.expose() not in repr(opened)


def test_login_is_the_same_however_it_is_typed(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    someone.login = " PRIVACY.Officer "
    assert embedded.log_in(someone).actor.id == someone.staff_id


def test_failures_look_alike_whatever_is_wrong(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    world.later()
    good = officer.code(world.now_us)
    causes: list[dict[str, Any]] = [
        {"login": "nobody", "code": good},
        {"login": "a\x00b\ud800", "code": good},
        {"login": officer.login, "password": WRONG, "code": good},
        {"login": officer.login, "code": "12345"},
        {"login": officer.login, "password": SecretText("x" * 1025), "code": good},
    ]
    errors = []
    for cause in causes:
        with pytest.raises(AuthenticationError) as refused:
            attempt(world, **cause)
        errors.append((type(refused.value), refused.value.detail, refused.value.code))
    assert len(set(errors)) == 1


def test_failure_of_a_known_account_is_an_entry_that_names_the_rule(office: Office) -> None:
    world, officer = office.world, office.officer
    world.later()
    fail(world, officer, 1, address=DESK)
    with pytest.raises(AuthenticationError):
        attempt(world, officer.login, code="000000")
    first, second = world.said(Action.SESSION_OPEN)[-2:]
    assert (first.decision.rule, second.decision.rule) == ("password", "code")
    assert first.actor.kind is ActorKind.STRANGER
    assert dict(first.target) == {"staff": officer.staff_id}


def test_failure_of_an_unknown_account_is_counted(embedded: World) -> None:
    with pytest.raises(AuthenticationError):
        attempt(embedded, "nobody")
    assert embedded.said(Action.SESSION_OPEN) == []
    embedded.changes.strangers.flush(embedded.now_us, everything=True)
    assert [entry.decision.rule for entry in embedded.said(Action.SESSION_OPEN)] == ["login"]


def test_refuses_a_replayed_code(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    world.log_in(someone)
    with pytest.raises(AuthenticationError, match=REFUSED):
        attempt(world, someone.login, code=someone.code(world.now_us))
    assert world.said(Action.SESSION_OPEN)[-1].decision.rule == "code"


def test_refuses_an_earlier_code_after_a_later_one(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    earlier = someone.code(world.later())
    world.log_in(someone)
    with pytest.raises(AuthenticationError, match=REFUSED):
        attempt(world, someone.login, code=earlier)


def test_one_code_at_once_on_two_nodes_opens_one_session(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    nodes = [world.node, world.another_node(), world.another_node()]
    for _ in range(3):
        world.later()
        code = someone.code(world.now_us)
        outcomes = _race(world, nodes, someone, code)
        assert sorted(outcomes) == ["opened", "refused", "refused"]


def _race(world: World, nodes: list[Node], someone: Someone, code: str) -> list[str]:
    barrier = threading.Barrier(len(nodes))
    outcomes: list[str] = []

    def run(node: Node) -> None:
        barrier.wait()
        try:
            attempt(world, someone.login, code=code, node=node)
            outcomes.append("opened")
        except AuthenticationError:
            outcomes.append("refused")

    threads = [threading.Thread(target=run, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_five_failures_lock_the_source_for_fifteen_minutes(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    world.later()
    fail(world, someone, 5, address=ELSEWHERE)
    assert world.said(Action.SESSION_OPEN)[-1].decision.rule == "password_and_locked"
    with pytest.raises(TooManyAttemptsError) as refused:
        attempt(world, someone.login, code=someone.code(world.now_us), address=ELSEWHERE)
    assert refused.value.retry_after == 15 * 60
    world.later(15 * MINUTE_US)
    world.log_in(someone, address=ELSEWHERE)


def test_unknown_logins_lock_just_the_same(embedded: World) -> None:
    for _ in range(5):
        with pytest.raises(AuthenticationError):
            attempt(embedded, "nobody")
    with pytest.raises(TooManyAttemptsError):
        attempt(embedded, "nobody")


def test_waiting_attempts_do_not_prolong_the_wait(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    fail(embedded, someone, 5, address=ELSEWHERE)
    embedded.later(10 * MINUTE_US)
    with pytest.raises(TooManyAttemptsError) as refused:
        attempt(embedded, someone.login, address=ELSEWHERE)
    assert refused.value.retry_after == 5 * 60


def test_attempts_at_once_get_no_more_guesses(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    counts = {"guessed": 0, "throttled": 0}
    lock = threading.Lock()

    def run() -> None:
        kind = "let in"
        try:
            attempt(world, someone.login, password=WRONG, address=ELSEWHERE)
        except AuthenticationError:
            kind = "guessed"
        except TooManyAttemptsError:
            kind = "throttled"
        with lock:
            counts[kind] += 1

    threads = [threading.Thread(target=run) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {"guessed": 5, "throttled": 7}


def test_throttled_attempts_are_counted_among_the_strangers(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    fail(embedded, someone, 5, address=ELSEWHERE)
    for _ in range(3):
        with pytest.raises(TooManyAttemptsError):
            attempt(embedded, someone.login, address=ELSEWHERE)
    embedded.changes.strangers.flush(embedded.now_us, everything=True)
    entry = embedded.said(Action.SESSION_OPEN)[-1]
    assert (entry.decision.rule, entry.count) == ("throttle", 3)


def test_stranger_from_many_sources_is_slowed_to_twenty_an_hour(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    for number in range(4):
        fail(world, someone, 5, address=f"198.51.100.{number}")
    with pytest.raises(TooManyAttemptsError) as refused:
        attempt(world, someone.login, address="203.0.113.9")
    assert 0 < refused.value.retry_after <= 3600


def test_stranger_cannot_lock_a_person_out_of_their_own_desk(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    for hour in range(6):
        for number in range(4):
            for _ in range(5):
                with pytest.raises((AuthenticationError, TooManyAttemptsError)):
                    attempt(world, someone.login, password=WRONG, address=f"198.51.{hour}.{number}")
        world.later(HOUR_US)
    with pytest.raises(TooManyAttemptsError):
        attempt(world, someone.login, address="203.0.113.9")
    # Where they enrolled is known already, though they never logged in before.
    assert world.log_in(someone, address=DESK).actor.id == someone.staff_id


def test_hard_stop_after_a_hundred_in_a_row_outlasts_the_hour(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    for hour in range(5):
        for number in range(4):
            fail(embedded, someone, 5, address=f"198.51.{hour}.{number}")
        embedded.later(HOUR_US)
    with pytest.raises(TooManyAttemptsError) as refused:
        attempt(embedded, someone.login, address="203.0.113.9")
    assert refused.value.retry_after == 24 * 3600
    embedded.later(30 * DAY_US)
    with pytest.raises(AuthenticationError):
        attempt(embedded, someone.login, address="203.0.113.9")


def test_known_source_forged_in_the_database_does_not_count(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    row = embedded.rows("session", staff_id=someone.staff_id)[0]
    embedded.plant("session", row | {"id": "ses_" + "0" * 20, "secret_mac": b"0" * 32, "address": ELSEWHERE})
    for number in range(4):
        fail(embedded, someone, 5, address=f"198.51.100.{number}")
    with pytest.raises(TooManyAttemptsError):
        attempt(embedded, someone.login, address=ELSEWHERE)
    assert ("session", "ses_" + "0" * 20) in embedded.alarms()


def test_success_takes_its_attempts_back(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    for _ in range(30):
        embedded.log_in(someone)
    fail(embedded, someone, 4, address=DESK)
    embedded.log_in(someone)
    fail(embedded, someone, 4, address=DESK)


def test_one_ipv6_network_is_one_source(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    for number in range(5):
        fail(embedded, someone, 1, address=f"2001:db8::{number}")
    with pytest.raises(TooManyAttemptsError):
        attempt(embedded, someone.login, address="2001:db8::ffff")


def test_counts_are_forgotten_when_they_limit_nothing(embedded: World) -> None:
    with pytest.raises(AuthenticationError):
        attempt(embedded, "nobody")
    with embedded.node.database.writing() as connection:
        assert throttle.tidy(connection, embedded.later(DAY_US)) == 0
        assert throttle.tidy(connection, embedded.later()) == 2
    assert [row["source"] for row in embedded.rows("login_failure")] == ["in a row"]
    with embedded.node.database.writing() as connection:
        assert throttle.tidy(connection, embedded.later(28 * DAY_US)) == 0
        assert throttle.tidy(connection, embedded.later(2 * DAY_US)) == 1
    assert embedded.rows("login_failure") == []


def test_failures_in_a_row_at_known_sources_outlast_the_day_too(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer)
    fail(embedded, someone, 1, address=DESK)
    with embedded.node.database.writing() as connection:
        assert throttle.tidy(connection, embedded.later(2 * DAY_US)) == 2
    assert [row["source"] for row in embedded.rows("login_failure")] == ["known in a row"]


def test_login_looks_through_ten_sessions_at_most(embedded: World) -> None:
    someone, _ = embedded.enrol(embedded.initial.officer, address="192.0.2.99")
    for _ in range(10):
        embedded.log_in(someone)

    def known(address: str) -> bool:
        find = embedded.node.logins._accounts.find
        return find(someone.login, address=address, now_us=embedded.now_us).slot.known

    with embedded.node.database.reading() as connection:
        assert len(sessions_since(connection, someone.staff_id, 0)) == 10
    assert (known(DESK), known("192.0.2.99")) == (True, False)


def test_table_of_failures_names_no_login(embedded: World) -> None:
    with pytest.raises(AuthenticationError):
        attempt(embedded, "hana.park")
    assert "hana" not in repr(embedded.rows("login_failure"))


def test_swapped_verifier_is_refused_and_alarms(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    other = any_office.administrator
    verifier = world.rows("staff_secret", staff_id=other.staff_id)[0]["verifier"]
    world.tamper("staff_secret", {"staff_id": officer.staff_id}, {"verifier": verifier})
    with pytest.raises(AuthenticationError, match=REFUSED):
        world.log_in(officer)
    assert ("staff_secret", officer.staff_id) in world.alarms()


def test_whole_secret_of_another_person_is_refused(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    row = world.rows("staff_secret", staff_id=any_office.administrator.staff_id)[0]
    row.pop("staff_id")
    world.tamper("staff_secret", {"staff_id": officer.staff_id}, row)
    with pytest.raises(AuthenticationError, match=REFUSED):
        world.log_in(officer)
    assert ("staff_secret", officer.staff_id) in world.alarms()


def test_swapped_totp_secret_is_refused_and_alarms(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    sealed = world.rows("staff_secret", staff_id=any_office.administrator.staff_id)[0]["totp_sealed"]
    world.tamper("staff_secret", {"staff_id": officer.staff_id}, {"totp_sealed": sealed})
    with pytest.raises(AuthenticationError, match=REFUSED):
        world.log_in(officer)
    assert ("staff_secret", officer.staff_id) in world.alarms()


def test_highest_step_set_back_is_refused_and_alarms(office: Office) -> None:
    world, officer = office.world, office.officer
    world.tamper("staff_secret", {"staff_id": officer.staff_id}, {"highest_step": 0})
    with pytest.raises(AuthenticationError, match=REFUSED):
        attempt(world, officer.login, code=officer.code(world.now_us))
    assert ("staff_secret", officer.staff_id) in world.alarms()


def test_left_person_made_active_again_in_the_database_is_refused(office: Office) -> None:
    world = office.world
    handler = world.hire(office.administrator, office.officer, Role.HANDLER)
    register.leave(world.changes, world.request(office.administrator), handler.staff_id)
    with pytest.raises(AuthenticationError, match=REFUSED):
        world.log_in(handler)
    world.tamper("staff", {"id": handler.staff_id}, {"state": "active"})
    with pytest.raises(AuthenticationError, match=REFUSED):
        world.log_in(handler)
    assert ("staff", handler.staff_id) in world.alarms()


def test_password_past_its_grace_does_not_log_in(office: Office) -> None:
    world, officer = office.world, office.officer
    world.later(PASSWORD_AGE_US + PASSWORD_GRACE_US)
    with pytest.raises(AuthenticationError, match="invite you again"):
        world.log_in(officer)
    assert world.said(Action.SESSION_OPEN)[-1].decision.rule == "password_age"


def test_password_within_its_grace_logs_in(office: Office) -> None:
    world, officer = office.world, office.officer
    world.later(PASSWORD_AGE_US)
    opened = world.log_in(officer)
    assert opened.password_renewal_us < world.now_us


def test_verifier_of_another_cost_is_made_anew_at_login(office: Office) -> None:
    world, officer = office.world, office.officer
    before = world.rows("staff_secret", staff_id=officer.staff_id)[0]
    rules = PasswordRules()
    dearer = Passwords(Argon2Parameters(memory_kib=16, passes=1))
    world.node.logins = Logins(world.changes, dearer, rules)
    world.log_in(officer)
    after = world.rows("staff_secret", staff_id=officer.staff_id)[0]
    assert "m=16," in after["verifier"]
    assert after["password_set_at"] == before["password_set_at"]
    world.log_in(officer)
    assert world.rows("staff_secret", staff_id=officer.staff_id)[0]["verifier"] == after["verifier"]


def test_failures_at_known_sources_and_at_others_are_counted_apart(office: Office) -> None:
    world, officer = office.world, office.officer
    world.log_in(officer, address="192.0.2.77")
    for address in (DESK, "192.0.2.77"):
        fail(world, officer, 5, address=address)
    for number in range(4):
        fail(world, officer, 5, address=f"198.51.100.{number}")
    with pytest.raises(TooManyAttemptsError):
        attempt(world, officer.login, address=ELSEWHERE)
    world.later(15 * MINUTE_US)
    fail(world, officer, 4, address=DESK)


def _renew(world: World, someone: Someone, new: str, *, code: str = "") -> None:
    world.later()
    world.node.logins.renew(
        someone.login,
        password=someone.password,
        totp_code=code or someone.code(world.now_us),
        new_password=SecretText(new),
        origin=origin(),
        now_us=world.now_us,
    )


def test_renewed_password_replaces_the_old_and_ends_sessions(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    world.later(PASSWORD_AGE_US)
    _renew(world, officer, "quiet-lantern-42-moss")
    with pytest.raises(AuthenticationError):
        world.authenticate(officer)
    with pytest.raises(AuthenticationError):
        world.log_in(officer)
    officer.password = SecretText("quiet-lantern-42-moss")
    assert world.log_in(officer).password_renewal_us > world.now_us


def test_renewal_needs_the_old_password_and_a_fresh_code(office: Office) -> None:
    world, officer = office.world, office.officer
    used = officer.code(world.now_us)
    with pytest.raises(AuthenticationError, match=REFUSED):
        _renew(world, officer, "quiet-lantern-42-moss", code=used)
    officer.password = WRONG
    with pytest.raises(AuthenticationError, match=REFUSED):
        _renew(world, officer, "quiet-lantern-42-moss")


@pytest.mark.parametrize(
    ("new", "rule"),
    [(PASSWORD.expose(), "reused"), ("short", "short"), ("my-name-is-omar-4711", "personal")],
)
def test_renewal_refuses_a_password_that_may_not_be_set(office: Office, new: str, rule: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        _renew(office.world, office.officer, new)
    assert refused.value.rule == rule


def test_refused_new_password_locks_nobody_out(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    for _ in range(5):
        with pytest.raises(InvalidInputError):
            _renew(world, officer, "my-name-is-omar-4711")
    entry = world.said(Action.STAFF_PASSWORD)[-1]
    assert (entry.outcome, entry.actor.id, entry.error) == (
        Outcome.REFUSED,
        officer.staff_id,
        "invalid_input",
    )
    assert (entry.decision.rule, dict(entry.target)) == ("personal", {"staff": officer.staff_id})
    assert world.rows("login_failure", source=DESK) == []
    world.log_in(officer)


def test_code_of_a_refused_new_password_is_not_used_up(office: Office) -> None:
    world, officer = office.world, office.officer
    code = officer.code(world.now_us + 31 * SECOND_US)
    with pytest.raises(InvalidInputError):
        _renew(world, officer, "my-name-is-omar-4711", code=code)
    world.now_us -= 31 * SECOND_US
    _renew(world, officer, "quiet-lantern-42-moss", code=code)


def test_used_code_does_not_take_failures_back(office: Office) -> None:
    world, officer = office.world, office.officer
    used = officer.code(world.now_us)
    fail(world, officer, 4, address=DESK)
    with pytest.raises(AuthenticationError, match=REFUSED):
        world.node.logins.renew(
            officer.login,
            password=PASSWORD,
            totp_code=used,
            new_password=SecretText("my-name-is-omar-4711"),
            origin=origin(),
            now_us=world.now_us,
        )
    with pytest.raises(TooManyAttemptsError):
        attempt(world, officer.login)


class Overtaken(Passwords):
    """Lets somebody else act between the examination and the transaction that accepts the code."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(CHEAP)
        self._act = act

    def needs_upgrade(self, verifier: str) -> bool:
        self._act()
        return super().needs_upgrade(verifier)


def test_code_used_between_look_and_lock_opens_nothing(any_office: Office) -> None:
    world, officer = any_office.world, any_office.officer
    world.later()
    code = officer.code(world.now_us)
    passwords = Overtaken(lambda: attempt(world, officer.login, code=code, node=world.nodes[0]))
    second = world.another_node()
    second.logins = Logins(second.changes, passwords, PasswordRules())
    with pytest.raises(AuthenticationError, match=REFUSED):
        attempt(world, officer.login, code=code, node=second)
    assert world.said(Action.SESSION_OPEN)[-1].decision.rule == "code"


def test_password_changed_between_look_and_lock_opens_nothing(office: Office) -> None:
    from vault.access.accounts import Shown, accept

    world, officer = office.world, office.officer
    world.later()
    accounts = world.node.logins._accounts
    account = accounts.find(officer.login, address=DESK, now_us=world.now_us)
    code = officer.code(world.now_us)
    assert accounts.examine(account, Shown(officer.login, PASSWORD, code), world.now_us) == ""
    _renew(world, officer, "quiet-lantern-42-moss")
    with pytest.raises(AuthenticationError):
        world.changes.make_unasked(
            world.request(officer),
            Action.SESSION_OPEN,
            lambda attempt: accept(attempt, account, code),  # type: ignore[arg-type,return-value]
        )


def test_person_gone_between_look_and_lock_opens_nothing(office: Office) -> None:
    from vault.access.accounts import accept

    world = office.world
    handler = world.hire(office.administrator, office.officer, Role.HANDLER)
    account = world.node.logins._accounts.find(handler.login, address=DESK, now_us=world.now_us)
    register.leave(world.changes, world.request(office.administrator), handler.staff_id)
    with pytest.raises(AuthenticationError):
        world.changes.make_unasked(
            world.request(handler),
            Action.SESSION_OPEN,
            lambda attempt: accept(attempt, account, "000000"),  # type: ignore[arg-type,return-value]
        )
