from __future__ import annotations

import threading
from collections.abc import Callable

import pyotp
import pytest

from keys import otp
from keys.passwords import Passwords
from keys.secret import SecretText
from tests.vault.access.conftest import Office
from tests.vault.access.world import CHEAP, DESK, PASSWORD, Node, Someone, World, origin, plain_terms
from vault.access import approvals
from vault.access import staff as register
from vault.access.enrolment import Enrolled, Enrolment
from vault.access.identities import HOUR_US, SECOND_US
from vault.access.invitations import Invited
from vault.access.password_rules import PasswordRules
from vault.access.staff import Person
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError, InvalidInputError
from vault.domain.model import Outcome, Reveal, Role


def _invite(office: Office, role: Role = Role.HANDLER, login: str = "hana") -> Invited:
    person = Person(login, "Hana Park", role)
    return register.invite(office.world.changes, office.world.request(office.administrator), person).value


def test_administrator_and_officer_of_init_are_active_at_once(world: World) -> None:
    _, first = world.enrol(world.initial.administrator)
    _, second = world.enrol(world.initial.officer)
    assert (first.state, second.state) == ("active", "active")


def _begin(world: World, invited: Invited, *, node: Node | None = None) -> pyotp.TOTP:
    """Look at the secret of an invitation."""
    enrolment = (node or world.node).enrolment
    begun = enrolment.begin(invited.code, origin=origin(), now_us=world.now_us)
    totp = pyotp.parse_uri(begun.provisioning_uri.expose())
    assert isinstance(totp, pyotp.TOTP)
    return totp


def _finish(world: World, invited: Invited, totp: pyotp.TOTP) -> Enrolled:
    return world.node.enrolment.finish(
        invited.code,
        password=PASSWORD,
        totp_code=totp.at(world.now_us // SECOND_US),
        origin=origin(),
        now_us=world.now_us,
    )


def test_every_look_at_the_secret_is_in_the_log(world: World) -> None:
    invited = world.initial.officer
    _begin(world, invited)
    _begin(world, invited)
    entries = world.said(Action.STAFF_ENROL)
    (row,) = world.rows("invitation", staff_id=invited.staff_id)
    target = {"invitation": row["id"], "staff": invited.staff_id, "step": "begin"}
    assert [(dict(entry.target), entry.outcome, entry.origin.address) for entry in entries] == [
        (target, Outcome.DONE, DESK)
    ] * 2
    assert row["version"] == 3


def test_only_the_secret_shown_last_enrols(world: World) -> None:
    invited = world.initial.officer
    first, second = _begin(world, invited), _begin(world, invited)
    assert first.secret != second.secret
    with pytest.raises(AuthenticationError, match="code of the authenticator"):
        _finish(world, invited, first)
    assert _finish(world, invited, second).state == "active"


def test_secret_seen_before_the_invited_person_looks_is_worth_nothing(office: Office) -> None:
    world = office.world
    invited = _invite(office)
    seen = _begin(world, invited)
    someone, _ = world.enrol(invited)
    world.approve(office.officer, someone.staff_id)
    world.later()
    for totp, lets_in in ((seen, False), (someone.totp, True)):
        thief = Someone(someone.staff_id, someone.login, totp)
        if lets_in:
            world.log_in(thief)
        else:
            with pytest.raises(AuthenticationError):
                world.log_in(thief)


def test_looks_at_once_on_two_nodes_leave_one_secret(world: World) -> None:
    invited = world.initial.officer
    nodes = [world.node, world.another_node()]
    barrier, shown = threading.Barrier(2), []

    def run(node: Node) -> None:
        barrier.wait()
        shown.append(_begin(world, invited, node=node))

    threads = [threading.Thread(target=run, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = []
    for totp in shown:
        try:
            states.append(_finish(world, invited, totp).state)
        except AuthenticationError:
            states.append("refused")
    assert sorted(states) == ["active", "refused"]


@pytest.mark.parametrize("meanwhile", ["second invitation", "leave"])
def test_code_that_ends_between_look_and_lock_shows_nothing(
    any_office: Office, meanwhile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = any_office.world
    invited = _invite(any_office)
    end = register.leave if meanwhile == "leave" else register.invite_again
    real = otp.generate_secret

    def overtaken() -> SecretText:
        monkeypatch.undo()
        end(world.changes, world.request(any_office.administrator), invited.staff_id)
        return real()

    monkeypatch.setattr(otp, "generate_secret", overtaken)
    with pytest.raises(AuthenticationError, match=r"^the invitation is not valid$"):
        _begin(world, invited)
    assert [entry for entry in world.said(Action.STAFF_ENROL) if "step" in dict(entry.target)][2:] == []


def test_secret_shown_between_look_and_lock_ends_the_one_before(any_office: Office) -> None:
    world = any_office.world
    invited = _invite(any_office)
    totp, later = _begin(world, invited), []
    real = world.node.enrolment
    act = Interrupting(lambda: later.append(_begin(world, invited, node=world.another_node())))
    world.node.enrolment = Enrolment(world.changes, act, PasswordRules())
    with pytest.raises(AuthenticationError, match="code of the authenticator"):
        _finish(world, invited, totp)
    world.node.enrolment = real
    assert _finish(world, invited, later[0]).state == "waiting"


def test_takes_a_code_with_spaces_and_capitals_from_paper(embedded: World) -> None:
    typed = SecretText(f"  {embedded.initial.officer.code.expose().upper()} ")
    begun = embedded.node.enrolment.begin(typed, origin=origin(), now_us=embedded.now_us)
    assert begun.login == "privacy.officer"


@pytest.mark.parametrize("role", list(Role))
def test_everybody_invited_later_waits_for_the_officer(office: Office, role: Role) -> None:
    world = office.world
    someone, enrolled = world.enrol(_invite(office, role))
    assert enrolled.state == "waiting"
    with pytest.raises(AuthenticationError):
        world.log_in(someone)
    world.approve(office.officer, someone.staff_id)
    world.log_in(someone)


def test_refused_enrolment_never_logs_in(office: Office) -> None:
    world = office.world
    someone, _ = world.enrol(_invite(office))
    world.approve(office.officer, someone.staff_id, approve=False)
    with pytest.raises(AuthenticationError):
        world.log_in(someone)


def test_refused_second_enrolment_ends_what_the_first_gave(any_office: Office) -> None:
    world, administrator, officer = any_office.world, any_office.administrator, any_office.officer
    handler = world.hire(administrator, officer, Role.HANDLER)
    held = world.propose(administrator, plain_terms(handler.staff_id, kind="staff", reveal=Reveal.MASKED))
    secret = world.serve(administrator, owner=handler.staff_id)
    served = world.propose(administrator, plain_terms(secret.service_id, reveal=Reveal.MASKED))
    again = register.invite_again(world.changes, world.request(administrator), handler.staff_id).value
    world.enrol(again)
    world.approve(officer, handler.staff_id, approve=False)
    authority = world.changes.standing(world.now_us).authority
    assert authority.staff[handler.staff_id].row.state == "left"
    assert [authority.grants[grant.grant_id].state for grant in (held, served)] == ["revoked", "revoked"]
    service = authority.services[secret.service_id]
    assert service.row.state == "revoked"
    assert all(row.revoked_at is not None for row in service.credentials)
    assert all(row["closed_at"] is not None for row in world.rows("session", staff_id=handler.staff_id))
    assert all(row["used_at"] is not None for row in world.rows("invitation", staff_id=handler.staff_id))
    assert world.alarms() == set()


def test_refuses_a_used_invitation(world: World) -> None:
    world.enrol(world.initial.officer)
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="the invitation is not valid"):
            world.enrol(world.initial.officer)


def test_refuses_an_overdue_invitation(embedded: World) -> None:
    embedded.later(73 * HOUR_US)
    with pytest.raises(AuthenticationError, match="the invitation is not valid"):
        embedded.enrol(embedded.initial.officer)


@pytest.mark.parametrize("code", ["", "pvi_", "pvi_" + "0" * 32, "x" * 5000, "pvi_\N{FULLWIDTH DIGIT ONE}"])
def test_refuses_an_unknown_code_with_the_same_words(embedded: World, code: str) -> None:
    with pytest.raises(AuthenticationError, match=r"^the invitation is not valid$"):
        embedded.node.enrolment.begin(SecretText(code), origin=origin(), now_us=embedded.now_us)


def test_wrong_totp_code_burns_nothing_and_is_logged(embedded: World) -> None:
    invited = embedded.initial.officer
    embedded.node.enrolment.begin(invited.code, origin=origin(), now_us=embedded.now_us)
    with pytest.raises(AuthenticationError):
        embedded.node.enrolment.finish(
            invited.code, password=PASSWORD, totp_code="000000", origin=origin(), now_us=embedded.now_us
        )
    refused = embedded.said(Action.STAFF_ENROL)[-1]
    assert (refused.outcome, refused.decision.rule) == (Outcome.REFUSED, "code")
    assert dict(refused.target) == {"staff": invited.staff_id}
    _, enrolled = embedded.enrol(invited)
    assert enrolled.state == "active"


def test_weak_password_burns_nothing(embedded: World) -> None:
    invited = embedded.initial.officer
    begun = embedded.node.enrolment.begin(invited.code, origin=origin(), now_us=embedded.now_us)
    totp = pyotp.parse_uri(begun.provisioning_uri.expose())
    assert isinstance(totp, pyotp.TOTP)
    code = totp.at(embedded.now_us // 1_000_000)
    with pytest.raises(InvalidInputError):
        embedded.node.enrolment.finish(
            invited.code,
            password=SecretText("short"),
            totp_code=code,
            origin=origin(),
            now_us=embedded.now_us,
        )
    embedded.enrol(invited)


def test_code_shown_at_enrolment_does_not_log_in(world: World) -> None:
    someone, _ = world.enrol(world.initial.officer)
    with pytest.raises(AuthenticationError):
        world.node.logins.open(
            someone.login,
            password=PASSWORD,
            totp_code=someone.code(world.now_us),
            origin=origin(),
            now_us=world.now_us,
        )


def test_swapped_invitation_is_refused_and_alarms(embedded: World) -> None:
    first, second = embedded.initial.administrator.staff_id, embedded.initial.officer.staff_id
    sealed = embedded.rows("invitation", staff_id=second)[0]["totp_sealed"]
    embedded.tamper("invitation", {"staff_id": first}, {"totp_sealed": sealed})
    with pytest.raises(AuthenticationError):
        embedded.enrol(embedded.initial.administrator)
    assert {table for table, _ in embedded.alarms()} == {"invitation"}


def test_invitation_given_another_person_is_refused(embedded: World) -> None:
    first, second = embedded.initial.administrator.staff_id, embedded.initial.officer.staff_id
    embedded.tamper("invitation", {"staff_id": first}, {"staff_id": second, "expires_at": 1 << 60})
    with pytest.raises(AuthenticationError):
        embedded.enrol(embedded.initial.administrator)


def test_prefix_of_init_cannot_be_given_to_an_invitation(office: Office) -> None:
    world = office.world
    invited = _invite(office)
    row = world.rows("invitation", staff_id=invited.staff_id)[0]
    world.tamper("invitation", {"id": row["id"]}, {"id": row["id"].replace("inv_", "ini_")})
    with pytest.raises(AuthenticationError):
        world.enrol(invited)


def test_invitation_of_somebody_who_left_is_refused(office: Office) -> None:
    world = office.world
    invited = _invite(office)
    register.leave(world.changes, world.request(office.administrator), invited.staff_id)
    with pytest.raises(AuthenticationError):
        world.enrol(invited)


def test_second_invitation_ends_the_first(office: Office) -> None:
    world = office.world
    first = _invite(office)
    again = register.invite_again(world.changes, world.request(office.administrator), first.staff_id).value
    with pytest.raises(AuthenticationError):
        world.enrol(first)
    world.enrol(again)


def test_inviting_again_ends_sessions_and_needs_the_officer_again(office: Office) -> None:
    world = office.world
    handler = world.hire(office.administrator, office.officer, Role.HANDLER)
    again = register.invite_again(world.changes, world.request(office.administrator), handler.staff_id).value
    with pytest.raises(AuthenticationError):
        world.authenticate(handler)
    with pytest.raises(AuthenticationError):
        world.log_in(handler)
    renewed, enrolled = world.enrol(again)
    assert enrolled.state == "waiting"
    world.approve(office.officer, renewed.staff_id)
    world.log_in(renewed)


def test_approval_of_an_earlier_enrolment_does_not_let_a_later_one_in(office: Office) -> None:
    world = office.world
    someone, _ = world.enrol(_invite(office))
    register.invite_again(world.changes, world.request(office.administrator), someone.staff_id)
    rows = approvals.list_approvals(world.changes, world.request(office.officer)).value
    assert [row.state for row in rows if row.target == someone.staff_id] == ["refused"]


class Interrupting(Passwords):
    """Lets somebody else act between the look at a code and the transaction that burns it."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(CHEAP)
        self._act = act

    def hash(self, password: SecretText) -> str:
        self._act()
        return super().hash(password)


@pytest.mark.parametrize("meanwhile", ["the same code", "leave"])
def test_code_that_ends_between_look_and_lock_enrols_nobody(any_office: Office, meanwhile: str) -> None:
    world = any_office.world
    invited = _invite(any_office)
    other = world.another_node()
    real = other.enrolment

    def use_the_code() -> None:
        world.node.enrolment = real
        world.enrol(invited)

    def let_go() -> None:
        register.leave(world.changes, world.request(any_office.administrator), invited.staff_id)

    act = use_the_code if meanwhile == "the same code" else let_go
    world.node.enrolment = Enrolment(world.changes, Interrupting(act), PasswordRules())
    with pytest.raises(AuthenticationError, match=r"^the invitation is not valid$"):
        world.enrol(invited)
    state = world.rows("staff", id=invited.staff_id)[0]["state"]
    assert state == ("waiting" if meanwhile == "the same code" else "left")


def test_one_code_at_once_on_two_nodes_enrols_once(world: World) -> None:
    invited = world.initial.officer
    nodes = [world.node, world.another_node()]
    begun = world.node.enrolment.begin(invited.code, origin=origin(), now_us=world.now_us)
    totp = pyotp.parse_uri(begun.provisioning_uri.expose())
    assert isinstance(totp, pyotp.TOTP)
    code = totp.at(world.now_us // 1_000_000)
    barrier, outcomes = threading.Barrier(2), []

    def run(node: Node) -> None:
        barrier.wait()
        try:
            node.enrolment.finish(
                invited.code, password=PASSWORD, totp_code=code, origin=origin(), now_us=world.now_us
            )
            outcomes.append("enrolled")
        except AuthenticationError:
            outcomes.append("refused")

    threads = [threading.Thread(target=run, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["enrolled", "refused"]


def test_code_for_a_person_whose_row_is_not_ours_is_refused(office: Office) -> None:
    world = office.world
    invited = _invite(office)
    world.tamper("staff", {"id": invited.staff_id}, {"roles": "officer"})
    with pytest.raises(AuthenticationError, match=r"^the invitation is not valid$"):
        world.enrol(invited)


def test_strangers_with_codes_are_counted_not_logged_one_by_one(embedded: World) -> None:
    for _ in range(7):
        with pytest.raises(AuthenticationError):
            embedded.node.enrolment.begin(
                SecretText("pvi_" + "0" * 32), origin=origin(DESK), now_us=embedded.now_us
            )
    assert embedded.said(Action.STAFF_ENROL) == []
    embedded.changes.strangers.flush(embedded.later(60_000_000))
    (entry,) = embedded.said(Action.STAFF_ENROL)
    assert (entry.count, entry.origin.address, entry.decision.rule) == (7, DESK, "unknown")
