"""The end of a key, on both databases: a census of zero, two administrators, nothing left to open with."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from keys.keyring import KeyKind
from tests.conformance.counter import Counter, item, phone
from tests.support.furnished import phones
from vault.access import staff
from vault.domain.errors import AccessDeniedError, ConflictError, InvalidInputError, NotFoundError
from vault.domain.model import Role
from vault.rotation import census
from vault.rotation.census import Hanging
from vault.storage import tables


@pytest.fixture
def two(counter: Counter) -> Counter:
    """A vault with a second administrator, six values under epoch 1, and epoch 2 in force."""
    office = counter.furnished
    office.hire(counter.actor("admin"), "second", Role.ADMINISTRATOR)
    office.approve_all(counter.actor("officer"))
    office.actors["second"] = office.login("second")
    counter.tokenize(*map(phone, phones(6)))
    counter.vault.keys.rotate(office.request(counter.actor("admin")))
    return counter


def _census(counter: Counter) -> dict[str, Hanging]:
    found = counter.vault.keys.census(counter.furnished.request(counter.actor("admin"))).value
    return {f"{hanging.kind}/{hanging.scope}/{hanging.version}": hanging for hanging in found}


def _rewrap(counter: Counter) -> None:
    counter.vault.keys.rewrap(counter.furnished.request(counter.actor("admin")))
    while counter.vault.worker.portion() is not None:
        pass


def _propose(
    counter: Counter, version: int = 1, *, by: str = "admin", kind: str = "wrapping", scope: str = ""
) -> str:
    request = counter.furnished.request(counter.actor(by))
    return counter.vault.keys.destroy(
        request, kind=kind, scope=scope, version=version, reason="replaced"
    ).value.approval_id


def _decide(counter: Counter, approval_id: str, *, by: str, approve: bool = True) -> None:
    counter.vault.approvals.decide(counter.furnished.request(counter.actor(by)), approval_id, approve=approve)


def _epoch(counter: Counter, version: int = 1) -> tuple[str, bytes]:
    row = counter.row(tables.key, kind="wrapping", version=version)
    return row["state"], bytes(row["wrapped"])


def test_census_counts_what_hangs_on_each_key(two: Counter) -> None:
    two.tokenize(phone("010-9999-0001", external_ref="user-1"), item("member.gender", "F"))
    found = _census(two)
    assert (found["wrapping//1"].data_keys, found["wrapping//1"].values) == (6, 6)
    # Two people, two values and the reference of one of them.
    assert (found["wrapping//2"].data_keys, found["wrapping//2"].values) == (2, 3)
    assert found["wrapping//1"].digests is None
    assert found["lookup/member.phone/1"].digests == 7
    assert found["lookup/ref/member/1"].digests == 1
    assert {hanging.kind for hanging in found.values()} == set(KeyKind)


def test_census_is_zero_after_a_rewrap(two: Counter) -> None:
    _rewrap(two)
    found = _census(two)
    assert found["wrapping//1"].total == 0
    assert (found["wrapping//2"].data_keys, found["wrapping//2"].values) == (6, 6)
    entry = two.last().entry
    assert (entry.action, entry.actor.id) == ("key:census", two.actor("admin").id)


def test_census_is_of_one_snapshot_whatever_is_revoked_while_it_counts(two: Counter) -> None:
    token = two.token("010-9999-0002")
    before = _census(two)["lookup/member.phone/1"].digests or 0
    changes = two.vault.changes
    with changes.database.reading() as connection:
        assert changes.database.counter(connection).revision == changes.standings.current.revision
        two.revoke(token)
        seen = census.count(connection, changes.standings.current.keyring, two.vault.now_us())
    assert [row.digests for row in seen if (row.kind, row.scope) == ("lookup", "member.phone")] == [before]
    assert _census(two)["lookup/member.phone/1"].digests == before - 1


def test_two_administrators_destroy_a_key_that_nothing_hangs_on(two: Counter) -> None:
    _rewrap(two)
    waiting = _propose(two)
    assert _epoch(two)[0] == "deactivated"
    _decide(two, waiting, by="second")
    assert _epoch(two) == ("destroyed", b"")
    decided, ended = (logged.entry for logged in two.log()[-2:])
    assert (decided.action, ended.action) == ("approval:decide", "key:destroy")
    assert dict(ended.target) == {
        "key": "wrapping//1",
        "from": "deactivated",
        "to": "destroyed",
        "census": "0",
        "proposed_by": two.actor("admin").id,
        "approved_by": two.actor("second").id,
        "approval": waiting,
    }
    two.verify_log()


def test_values_open_on_every_node_after_the_old_key_has_ended(two: Counter) -> None:
    node = two.node()
    tokens = [answer["token"] for answer in two.tokenize(*map(phone, phones(3)))["items"]]
    _rewrap(two)
    _decide(two, _propose(two), by="second")
    for vault in (two.vault, node, two.node()):
        opened = two.detokenize(*tokens, at=vault)["items"]
        assert [answer["value"] for answer in opened] == list(phones(3))
    assert two.alarms() == []


def test_a_destroyed_key_is_not_in_any_keyring(two: Counter) -> None:
    _rewrap(two)
    _decide(two, _propose(two), by="second")
    records = two.node().standings.current.keyring
    with pytest.raises(Exception, match="wrapping//1"):
        records.epoch(1)


def test_refuses_a_key_that_something_hangs_on(two: Counter) -> None:
    with pytest.raises(ConflictError, match="6 data keys"):
        _propose(two)
    assert two.last().entry.error == "conflict"
    assert [row["kind"] for row in two.rows(tables.approval) if row["state"] == "open"] == []
    assert _epoch(two)[0] == "deactivated"


def test_refuses_the_key_in_force(two: Counter) -> None:
    with pytest.raises(ConflictError, match="the key is active"):
        _propose(two, 2)


def test_refuses_a_second_proposal_of_the_same_key(two: Counter) -> None:
    _rewrap(two)
    _propose(two)
    with pytest.raises(ConflictError, match="waits"):
        _propose(two, by="second")


def test_refuses_a_key_that_is_gone_already(two: Counter) -> None:
    _rewrap(two)
    _decide(two, _propose(two), by="second")
    with pytest.raises(ConflictError, match="destroyed already"):
        _propose(two)


def test_refuses_a_key_that_is_none(two: Counter) -> None:
    for kind, scope, version in (("wrapping", "", 9), ("lookup", "member.nothing", 1), ("wrapping", "x", 1)):
        with pytest.raises(NotFoundError):
            _propose(two, version, kind=kind, scope=scope)


@pytest.mark.parametrize("kind", sorted({kind.value for kind in KeyKind} - {"wrapping", "lookup", "token"}))
def test_refuses_the_key_in_force_of_every_kind(two: Counter, kind: str) -> None:
    scope = two.rows(tables.key, order_by="kind")
    (of_it,) = [row["scope"] for row in scope if row["kind"] == kind]
    with pytest.raises(ConflictError, match="the key is active"):
        _propose(two, kind=kind, scope=of_it)


def test_refuses_to_end_a_token_key_in_use_or_not(two: Counter) -> None:
    two.vault.keys.rotate(two.furnished.request(two.actor("admin")), kind="token")
    for version in (1, 2):
        with pytest.raises(InvalidInputError, match="never ends") as refused:
            _propose(two, version, kind="token")
        assert (refused.value.field, refused.value.rule) == ("kind", "never_ends")


def test_the_proposer_does_not_approve(two: Counter) -> None:
    _rewrap(two)
    waiting = _propose(two)
    with pytest.raises(AccessDeniedError):
        _decide(two, waiting, by="admin")
    assert two.last().entry.decision.rule == "own_request"
    assert _epoch(two)[0] == "deactivated"


@pytest.mark.parametrize("who", ["officer", "chief", "minji", "shop"])
def test_nobody_but_an_administrator_approves_or_proposes(two: Counter, who: str) -> None:
    _rewrap(two)
    waiting = _propose(two)
    with pytest.raises(AccessDeniedError):
        _decide(two, waiting, by=who)
    with pytest.raises(AccessDeniedError):
        _propose(two, by=who)
    assert _epoch(two)[0] == "deactivated"


def test_an_administrator_decides_neither_enrolments_nor_grants(two: Counter) -> None:
    office = two.furnished
    office.hire(two.actor("admin"), "newcomer", Role.HANDLER)
    rows = two.vault.approvals.list(office.request(two.actor("admin"))).value
    (waiting,) = [row.id for row in rows if row.state == "open"]
    with pytest.raises(AccessDeniedError):
        _decide(two, waiting, by="second")
    assert two.last().entry.decision.rule == "role"


def test_a_refused_destruction_leaves_the_key_and_may_be_proposed_again(two: Counter) -> None:
    _rewrap(two)
    _decide(two, _propose(two), by="second", approve=False)
    assert _epoch(two)[0] == "deactivated"
    assert _epoch(two)[1] != b""
    _decide(two, _propose(two), by="second")
    assert _epoch(two) == ("destroyed", b"")


def test_the_census_is_taken_again_at_the_approval(two: Counter) -> None:
    _rewrap(two)
    waiting = _propose(two)
    # Somebody who holds the database hangs a key on the old epoch again.
    subject = two.rows(tables.data_key, order_by="subject_id")[0]["subject_id"]
    two.tamper(update(tables.data_key).filter_by(subject_id=subject).values(epoch=1))
    with pytest.raises(ConflictError, match="1 data keys"):
        _decide(two, waiting, by="second")
    assert _epoch(two)[0] == "deactivated"
    assert two.row(tables.approval, id=waiting)["state"] == "open"


def test_a_planted_approval_destroys_nothing(two: Counter) -> None:
    _rewrap(two)
    waiting = _propose(two)
    two.change(tables.approval, {"id": waiting}, proposed_by=two.actor("officer").id)
    with pytest.raises(NotFoundError):
        _decide(two, waiting, by="admin")
    assert ("approval", waiting) in two.alarms()
    assert _epoch(two)[0] == "deactivated"


def test_a_lookup_key_in_use_is_not_destroyed(two: Counter) -> None:
    with pytest.raises(ConflictError, match="the key is active"):
        _propose(two, kind="lookup", scope="member.phone")
    request = two.furnished.request(two.actor("admin"))
    two.vault.keys.rotate(request, kind="lookup", scope="member.phone")
    with pytest.raises(ConflictError, match="6 digests"):
        _propose(two, kind="lookup", scope="member.phone")


def test_the_proposer_takes_a_proposal_back(two: Counter) -> None:
    _rewrap(two)
    _decide(two, _propose(two), by="admin", approve=False)
    _decide(two, _propose(two, by="second"), by="admin")
    assert _epoch(two) == ("destroyed", b"")


def test_a_proposal_ends_with_whoever_made_it(two: Counter) -> None:
    """Or one remaining administrator would end a key alone."""
    _rewrap(two)
    waiting = _propose(two, by="second")
    staff.leave(two.vault.changes, two.furnished.request(two.actor("admin")), two.actor("second").id)
    assert two.row(tables.approval, id=waiting)["state"] == "refused"
    with pytest.raises(ConflictError, match="decided already"):
        _decide(two, waiting, by="admin")
    assert _epoch(two)[0] == "deactivated"


def test_the_header_of_a_data_key_counts_not_what_stands_beside_it(two: Counter) -> None:
    """Whoever holds the database can make the column say another epoch."""
    two.tamper(update(tables.data_key).values(epoch=2))
    assert _census(two)["wrapping//1"].data_keys == 6
    with pytest.raises(ConflictError, match="6 data keys"):
        _propose(two)


@pytest.mark.parametrize("scope", ["회원 전화", "a b", "x" * 150, "a/b/c"])
def test_refuses_a_scope_that_no_key_can_have(two: Counter, scope: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        _propose(two, kind="lookup", scope=scope)
    assert (refused.value.field, refused.value.rule) == ("scope", "shape")
