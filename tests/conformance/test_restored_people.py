"""After a restore nobody acts but one officer, and no right comes back into force by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.returning import KEPT, erased_since_a_backup, outside
from tests.conformance.yard import Yard, new_yard
from vault.access import approvals, services, staff
from vault.domain.errors import (
    AccessDeniedError,
    AuthenticationError,
    InvalidInputError,
)
from vault.domain.model import Role
from vault.storage import tables


@pytest.fixture(params=["sqlite", "postgresql"])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Yard:
    return new_yard(request, tmp_path)


def test_what_could_act_ends_or_waits_for_the_officer(yard: Yard) -> None:
    furnished = yard.furnished
    token = yard.counter.token(KEPT)
    secret = services.rotate(
        yard.counter.vault.changes, furnished.request(furnished.actors["admin"]), furnished.actors["shop"].id
    ).value
    yard.backup()
    restored = yard.restore()
    assert restored.ended["credentials"] == 3
    with yard.opened(restored.home) as counter:
        authority = counter.vault.standings.current.authority
        assert counter.count(tables.session) == 0
        assert {row.state for row in authority.grants.values()} == {"proposed"}
        waiting = [row.target for row in authority.approvals.values() if row.state == "open"]
        people = {furnished.people[login] for login in ("admin", "minji", "chief")}
        assert sorted(waiting) == sorted({*authority.grants, *people})
        with pytest.raises(AuthenticationError):
            counter.furnished.authenticate(secret)
        with pytest.raises(AccessDeniedError):
            counter.detokenize(token)
        yard.let_in(counter)
        assert counter.detokenize(token)["items"][0]["value"] == KEPT


def test_who_left_since_the_backup_does_not_come_back(yard: Yard) -> None:
    """Nor anybody else before the officer has approved them: the copy cannot know who left."""
    furnished, changes = yard.furnished, yard.counter.vault.changes
    yard.backup()
    staff.leave(changes, furnished.request(furnished.actors["admin"]), furnished.people["minji"])
    restored = yard.restore()
    assert (restored.officer, restored.ended["staff"]) == ("officer", 3)
    with yard.opened(restored.home) as counter:
        office, changes = counter.furnished, counter.vault.changes
        told = dict(counter.entry(restored.log_index).target)
        assert (told["stays"], told["ended.staff"]) == (office.people["officer"], "3")
        for login in ("minji", "chief", "admin"):
            with pytest.raises(AuthenticationError):
                office.login(login)
        officer = office.login("officer")
        for row in approvals.list_approvals(changes, office.request(officer)).value:
            if (row.kind, row.state) == ("enrolment", "open"):
                approve = row.target != office.people["minji"]
                approvals.decide_approval(changes, office.request(officer), row.id, approve=approve)
        office.login("chief")
        admin = office.login("admin")
        listed = staff.list_staff(changes, office.request(admin)).value
        assert {one.row.login for one in listed if one.row.state == "left"} == {"minji"}
        grant = counter.vault.standings.refresh().authority.grants[office.grants["minji"][0]]
        assert grant.state == "revoked"
        counter.verify_log()


def test_of_several_officers_one_is_named_who_lets_the_others_in(yard: Yard) -> None:
    furnished = yard.furnished
    furnished.hire(furnished.actors["admin"], "deputy", Role.OFFICER)
    furnished.approve_all(furnished.actors["officer"])
    yard.backup()
    home = yard.new_home()
    for named, rule in (("", "ambiguous"), ("admin", "unknown"), ("nobody", "unknown")):
        with pytest.raises(InvalidInputError) as refused:
            yard.restore(home=home, officer=named)
        assert (refused.value.field, refused.value.rule) == ("--officer", rule)
    restored = yard.restore(home=home, officer="Deputy")
    assert (restored.officer, restored.ended["staff"]) == ("deputy", 4)
    with yard.opened(home) as counter:
        office = counter.furnished
        with pytest.raises(AuthenticationError):
            office.login("officer")
        office.approve_all(office.login("deputy"))
        for login in ("officer", "admin", "chief", "minji"):
            office.login(login)


def test_of_several_officers_the_one_who_vouched_stays(yard: Yard) -> None:
    yard.furnished.hire(yard.furnished.actors["admin"], "deputy", Role.OFFICER)
    yard.furnished.approve_all(yard.furnished.actors["officer"])
    yard.counter.verify_log()
    older = outside(yard, "older")
    erased_since_a_backup(yard)
    options = {"tombstones": older["tombstones"], "checkpoint": outside(yard)["checkpoint"]}
    restored = yard.restore(vouch=yard.vouchers(officer="deputy"), **options)
    assert restored.officer == "deputy"


def test_where_nobody_could_let_anybody_in_nobody_waits(yard: Yard) -> None:
    """The vault of a copy that was made before its officer had enrolled is not shut for ever."""
    yard.counter.change(tables.staff, {"login": "officer"}, state="left")
    yard.backup()
    restored = yard.restore()
    assert (restored.officer, "staff" in restored.ended) == ("", False)
    with yard.opened(restored.home) as counter:
        counter.furnished.login("admin")
