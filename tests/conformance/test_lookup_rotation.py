"""A lookup key rotates with no downtime, on both databases: found before, during and after; then it ends."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.conformance.counter import Counter, phone
from tests.support.furnished import phones
from vault.domain.errors import AccessDeniedError, ConflictError, InvalidInputError, NotFoundError
from vault.domain.model import Role
from vault.rotation.jobs import JobView
from vault.storage import tables

PHONE = "member.phone"
REFERENCES = "ref/member"


def _rotate(counter: Counter, scope: str = PHONE, *, kind: str = "lookup") -> tuple[int, int]:
    request = counter.furnished.request(counter.actor("admin"))
    rotated = counter.vault.keys.rotate(request, kind=kind, scope=scope).value
    return rotated.old, rotated.new


def _start(counter: Counter, scope: str = PHONE) -> JobView:
    return counter.vault.keys.redigest(counter.furnished.request(counter.actor("admin")), scope).value


def _redigest(counter: Counter, scope: str = PHONE) -> JobView:
    _start(counter, scope)
    while counter.vault.worker.portion(size=3) is not None:
        pass
    request = counter.furnished.request(counter.actor("admin"))
    (job,) = [job for job in counter.vault.keys.jobs(request).value if job.kind == "redigest"]
    return job


def _digests(counter: Counter, scope: str = PHONE) -> dict[int, int]:
    request = counter.furnished.request(counter.actor("admin"))
    found = counter.vault.keys.census(request).value
    return {
        hanging.version: hanging.digests or 0
        for hanging in found
        if (hanging.kind, hanging.scope) == ("lookup", scope)
    }


def _found(counter: Counter, value: str) -> list[str]:
    return [found["token"] for found in counter.search(PHONE, value)]


def _destroy(counter: Counter, scope: str) -> None:
    office = counter.furnished
    office.hire(counter.actor("admin"), "second", Role.ADMINISTRATOR)
    office.approve_all(counter.actor("officer"))
    request = office.request(counter.actor("admin"))
    waiting = counter.vault.keys.destroy(
        request, kind="lookup", scope=scope, version=1, reason="replaced"
    ).value.approval_id
    counter.vault.approvals.decide(office.request(office.login("second")), waiting, approve=True)


def test_values_are_found_before_during_and_after(counter: Counter) -> None:
    numbers = list(phones(8))
    tokens = {number: counter.token(number) for number in numbers}
    assert _rotate(counter) == (1, 2)
    tokens["010-9999-0001"] = counter.token("010-9999-0001")
    assert _digests(counter) == {1: 8, 2: 1}
    assert [_found(counter, number) for number in tokens] == [[token] for token in tokens.values()]
    _start(counter)
    counter.vault.worker.portion(size=3)
    assert _digests(counter) == {1: 5, 2: 4}
    assert [_found(counter, number) for number in tokens] == [[token] for token in tokens.values()]
    done = _redigest(counter)
    assert (done.state, done.done, done.total, done.failed) == ("done", 8, 8, 0)
    assert _digests(counter) == {1: 0, 2: 9}
    _destroy(counter, PHONE)
    for vault in (counter.vault, counter.node()):
        for number, token in tokens.items():
            assert [found["token"] for found in counter.search(PHONE, number, at=vault)] == [token]
    assert counter.alarms() == []
    counter.verify_log()


def test_each_portion_is_logged_without_a_value_or_a_digest(counter: Counter) -> None:
    counter.token("010-1234-5678")
    _rotate(counter)
    _redigest(counter)
    entries = [logged.entry for logged in counter.log() if logged.entry.action == "key:redigest"]
    started, moved = (dict(entry.target) for entry in entries)
    assert (started["scope"], started["digests"]) == (PHONE, "1")
    assert {key: moved[key] for key in ("target", "moved", "state")} == {
        "target": PHONE,
        "moved": "1",
        "state": "done",
    }
    rotated = [logged.entry for logged in counter.log() if logged.entry.action == "key:rotate"]
    assert dict(rotated[-1].target) == {"kind": "lookup", "scope": PHONE, "from": "1", "to": "2"}


def test_external_references_are_found_by_both_keys_and_never_doubled(counter: Counter) -> None:
    first = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    assert _rotate(counter, REFERENCES) == (1, 2)
    again = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    assert (again["subject"], again.get("existing")) == (first["subject"], True)
    counter.tokenize(phone("010-1234-5679", external_ref="user-2"))
    assert _digests(counter, REFERENCES) == {1: 1, 2: 1}
    done = _redigest(counter, REFERENCES)
    assert (done.state, done.done) == ("done", 1)
    assert _digests(counter, REFERENCES) == {1: 0, 2: 2}
    _destroy(counter, REFERENCES)
    after = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    assert after["subject"] == first["subject"]
    assert counter.count(tables.subject) == 2
    assert counter.alarms() == []


def test_a_token_revoked_meanwhile_gets_no_digest_back(counter: Counter) -> None:
    kept, gone = counter.token("010-1234-5678"), counter.token("010-1234-5679")
    _rotate(counter)
    counter.revoke(gone)
    assert _redigest(counter).done == 1
    assert counter.row_of(gone)["digest"] is None
    assert _found(counter, "010-1234-5678") == [kept]


def test_a_one_time_token_gets_no_digest_and_an_audience_keeps_its_latest(counter: Counter) -> None:
    spared = counter.token("010-1234-5678", kind="one_time")
    items = [phone(f"010-1234-567{at}", external_ref="user-1", audience="call_centre") for at in (8, 9)]
    stable = counter.tokenize(items[0])["items"][0]["token"]
    _rotate(counter)
    counter.tokenize(items[1])
    assert counter.row_of(stable)["digest_version"] == 2
    assert _redigest(counter).done == 0
    assert counter.row_of(spared)["digest"] is None
    assert (_found(counter, "010-1234-5678"), _found(counter, "010-1234-5679")) == ([], [stable])


def test_a_value_that_does_not_open_keeps_its_digest_and_alarms(counter: Counter) -> None:
    broken, whole = counter.token("010-1234-5678"), counter.token("010-1234-5679")
    row = counter.row_of(broken)
    envelope = bytes(row["envelope"])
    counter.change(tables.token, {"id": row["id"]}, envelope=bytes([*envelope[:-1], envelope[-1] ^ 1]))
    _rotate(counter)
    done = _redigest(counter)
    assert (done.state, done.done, done.failed) == ("done", 1, 1)
    assert counter.row_of(broken)["digest_version"] == 1
    assert counter.row_of(whole)["digest_version"] == 2
    assert ("token", str(row["id"])) in counter.alarms()


def test_a_value_under_a_state_that_was_edited_stays_behind_and_is_counted(counter: Counter) -> None:
    """A restriction that was made in order is no such case: ``test_restriction.py``."""
    counter.token("010-1234-5678")
    _rotate(counter)
    counter.tamper(update(tables.subject).values(state=1))
    assert _redigest(counter).failed == 1


def test_one_scope_at_a_time(counter: Counter) -> None:
    counter.token("010-1234-5678")
    _rotate(counter)
    _rotate(counter, REFERENCES)
    started = _start(counter)
    assert _start(counter).id == started.id
    with pytest.raises(ConflictError, match="wait"):
        _start(counter, REFERENCES)


@pytest.mark.parametrize("scope", ["nonsense", "ref/nonsense", "member.gender"])
def test_a_planted_job_of_no_scope_keeps_nobody_from_working(counter: Counter, scope: str) -> None:
    counter.tokenize(*map(phone, phones(4)))
    _rotate(counter)
    planted = _start(counter)
    counter.change(tables.job, {"id": planted.id}, target=scope)
    admin = counter.furnished.request(counter.actor("admin"))
    counter.vault.keys.rotate(admin)
    counter.vault.keys.rewrap(admin)
    while counter.vault.worker.portion(size=2) is not None:
        pass
    states = {job.kind: job.state for job in counter.vault.keys.jobs(admin).value}
    assert states == {"rewrap": "done", "redigest": "running"}
    # Whoever starts a job of that kind ends the row, which no node would ever take.
    started = _start(counter)
    assert started.id != planted.id
    while counter.vault.worker.portion(size=2) is not None:
        pass
    assert counter.row(tables.job, id=started.id)["state"] == "done"
    assert counter.row(tables.job, id=planted.id)["state"] == "done"
    assert ("job", planted.id) in counter.alarms()


@pytest.mark.parametrize("scope", ["member.gender", "member.nothing", "ref/nobody", ""])
def test_refuses_a_scope_without_a_lookup_key(counter: Counter, scope: str) -> None:
    with pytest.raises(NotFoundError):
        _start(counter, scope)
    with pytest.raises(NotFoundError if scope else InvalidInputError):
        _rotate(counter, scope)


def test_a_rotation_without_the_scope_it_needs_names_those_there_are(counter: Counter) -> None:
    with pytest.raises(
        InvalidInputError, match=f"scope: a lookup key is of one of .*{PHONE}.*{REFERENCES}"
    ) as bad:
        _rotate(counter, "")
    assert (bad.value.field, bad.value.rule) == ("scope", "required")


@pytest.mark.parametrize("kind", ["token", "authority", "log_mac", "session", "log_signing", "staff_data"])
def test_every_kind_rotates_and_none_of_another_scope(counter: Counter, kind: str) -> None:
    assert _rotate(counter, "", kind=kind) == (1, 2)
    with pytest.raises(NotFoundError if kind == "log_signing" else InvalidInputError, match=r"such|has none"):
        _rotate(counter, "member.phone", kind=kind)


@pytest.mark.parametrize("who", ["officer", "chief", "minji", "shop"])
def test_only_administrators_redigest(counter: Counter, who: str) -> None:
    with pytest.raises(AccessDeniedError):
        counter.vault.keys.redigest(counter.furnished.request(counter.actor(who)), PHONE)
