"""The staff-data key is replaced and people log in as before; and what else rotates: the token key."""

from __future__ import annotations

import pytest

from keys.envelope import staff_version_of
from tests.conformance.counter import Counter
from tests.conformance.rotating import (
    census,
    destroy,
    propose,
    reseal,
    rotate,
    second_administrator,
    start_reseal,
    state_of,
)
from vault.access import staff
from vault.access.staff import Person
from vault.domain.errors import ConflictError
from vault.domain.model import Role
from vault.storage import tables


@pytest.fixture
def two(counter: Counter) -> Counter:
    """A vault with a second administrator."""
    second_administrator(counter)
    return counter


def _versions(counter: Counter) -> set[int]:
    rows = [*counter.rows(tables.staff_secret, order_by="staff_id"), *counter.rows(tables.invitation)]
    return {staff_version_of(bytes(row["totp_sealed"])) for row in rows}


def test_everybody_logs_in_and_enrols_before_during_and_after(two: Counter) -> None:
    office = two.furnished
    person = Person(login="hana", name="Hana Kim", role=Role.HANDLER, team="support")
    invited = staff.invite(two.vault.changes, office.request(two.actor("admin")), person).value
    rotate(two, "staff_data")
    office.login("minji")
    done = reseal(two, "staff_data", size=2)
    assert (done.state, done.failed, done.done) == ("done", 0, done.total)
    assert _versions(two) == {2}
    assert office.enrol("hana", invited.code) == "waiting"
    for login in ("admin", "officer", "minji", "chief", "second"):
        office.actors[login] = office.login(login)
    assert census(two, "staff_data").total == 0
    destroy(two, "staff_data")
    assert state_of(two, "staff_data") == "destroyed"
    for login in ("admin", "officer", "minji", "chief", "second"):
        office.login(login)
    assert two.alarms() == []
    two.verify_log()


def test_refuses_the_end_while_an_authenticator_hangs_on_it(two: Counter) -> None:
    rotate(two, "staff_data")
    with pytest.raises(ConflictError, match="authenticator secrets"):
        propose(two, "staff_data")


def test_reasons_keep_their_key_and_the_key_stays_for_them(two: Counter) -> None:
    token = two.token()
    index = two.detokenize(token, by="minji", reason="call back, ticket 4711")["log_index"]
    rotate(two, "staff_data")
    reseal(two, "staff_data")
    assert dict(census(two, "staff_data").counts) == {"authenticator_secrets": 0, "reasons": 1}
    with pytest.raises(ConflictError, match="1 reasons"):
        propose(two, "staff_data")
    shown = two.vault.audit.show(two.furnished.request(two.actor("chief")), index)
    assert shown["reason"] == "call back, ticket 4711"
    two.detokenize(token, by="minji", reason="call back, ticket 4712")
    assert census(two, "staff_data", 2).counts["reasons"] == 1


def test_a_login_between_portions_wins(two: Counter) -> None:
    rotate(two, "staff_data")
    start_reseal(two, "staff_data")
    two.vault.worker.portion(size=2)
    for login in ("admin", "officer", "minji", "chief", "second"):
        two.furnished.login(login)
    while two.vault.worker.portion(size=2) is not None:
        pass
    assert _versions(two) == {2}
    two.furnished.login("minji")
    assert two.alarms() == []


def test_a_secret_that_does_not_open_is_left_and_keeps_the_key(two: Counter) -> None:
    minji = two.furnished.people["minji"]
    chief = two.row(tables.staff_secret, staff_id=two.furnished.people["chief"])
    two.change(tables.staff_secret, {"staff_id": minji}, totp_sealed=chief["totp_sealed"])
    rotate(two, "staff_data")
    done = reseal(two, "staff_data")
    assert (done.state, done.failed) == ("done", 1)
    assert ("staff_secret", minji) in two.alarms()
    assert census(two, "staff_data").counts["authenticator_secrets"] == 1


def test_tokens_of_every_version_are_read_for_ever(two: Counter) -> None:
    first = two.token("010-1234-0001")
    assert rotate(two, "token").new == 2
    second = two.token("010-1234-0002")
    codec = two.vault.standings.current.keyring.tokens
    assert codec.decode(first) != codec.decode(second)
    node = two.node()
    for vault in (two.vault, node):
        opened = two.detokenize(first, second, at=vault)["items"]
        assert [answer["value"] for answer in opened] == ["010-1234-0001", "010-1234-0002"]
    two.revoke(first)
    assert two.refused(first) == "token_revoked"
    assert census(two, "token").counts["tokens"] == census(two, "token", 2).counts["tokens"] > 0
    two.verify_log()


def test_no_version_is_left_after_the_last(two: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.rotation.epochs.MAX_KEY_VERSION", 1)
    with pytest.raises(ConflictError, match="no version"):
        rotate(two, "session")
