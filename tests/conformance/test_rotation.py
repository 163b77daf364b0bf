"""Rotation, on both databases: a new epoch at once, old tokens open throughout, the re-wrap ends at zero."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

import pytest
from sqlalchemy import update

from tests.conformance.counter import Counter, phone
from tests.support.furnished import phones
from vault.access import staff
from vault.domain.errors import AccessDeniedError, ConflictError
from vault.domain.model import Role
from vault.rotation import epochs
from vault.rotation.epochs import START, KeyInfo, RewrapPortion
from vault.service.vault import Vault
from vault.storage import tables


@pytest.fixture
def three_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a portion three data keys."""
    monkeypatch.setattr(epochs, "PORTION", 3)


def _fill(counter: Counter, count: int) -> list[str]:
    return [answer["token"] for answer in counter.tokenize(*map(phone, phones(count)))["items"]]


def _epochs(counter: Counter) -> set[int]:
    return {row["epoch"] for row in counter.rows(tables.data_key, order_by="subject_id")}


def _rotate(counter: Counter, by: str = "admin") -> epochs.Rotated:
    return counter.vault.keys.rotate(counter.furnished.request(counter.actor(by)))


def _rewrap(counter: Counter, after: tuple[int, int] = START, *, at: Vault | None = None) -> RewrapPortion:
    request = counter.furnished.request(counter.actor("admin"))
    return (at or counter.vault).keys.rewrap(request, after)


def _wrapping(counter: Counter) -> dict[int, KeyInfo]:
    infos = counter.vault.keys.list(counter.furnished.request(counter.actor("admin")))
    return {info.version: info for info in infos if info.kind == "wrapping"}


def _all_open(counter: Counter, tokens: list[str], vault: Vault | None = None) -> None:
    opened = counter.detokenize(*tokens, at=vault)["items"]
    assert [answer["value"] for answer in opened] == list(phones(len(tokens)))


def test_a_rotation_serves_new_data_at_once_and_old_data_still(counter: Counter) -> None:
    tokens = _fill(counter, 4)
    rotated = _rotate(counter)
    assert (rotated.old, rotated.new) == (1, 2)
    assert dict(counter.last().entry.target) == {"from": "1", "to": "2"}
    assert counter.last().entry.action == "key:rotate"
    counter.token("010-9999-9999")
    assert _epochs(counter) == {1, 2}
    _all_open(counter, tokens)
    census = _wrapping(counter)
    assert (census[1].state, census[1].data_keys) == ("deactivated", 4)
    assert (census[2].state, census[2].data_keys) == ("active", 1)


def test_another_node_wraps_under_the_new_epoch_from_then_on(counter: Counter) -> None:
    node = counter.node()
    counter.tokenize(phone("010-1234-5678"), at=node)
    _rotate(counter)
    made = counter.tokenize(phone("010-1234-5679"), at=node)["items"][0]["token"]
    row = counter.row(tables.data_key, subject_id=counter.row_of(made)["subject_id"])
    assert row["epoch"] == 2


@pytest.mark.usefixtures("three_at_a_time")
def test_a_rewrap_goes_on_where_it_stopped_until_nothing_remains(counter: Counter) -> None:
    tokens = _fill(counter, 8)
    _rotate(counter)
    first = _rewrap(counter)
    assert (first.epoch, first.rewrapped, first.remaining, first.broken) == (2, 3, 5, ())
    _all_open(counter, tokens)
    # Whoever starts anew, with no memory of the first run, does what is left.
    second = _rewrap(counter)
    assert (second.rewrapped, second.remaining) == (3, 2)
    assert second.next is not None
    last = _rewrap(counter, second.next)
    assert (last.rewrapped, last.remaining, last.next) == (2, 0, None)
    assert _epochs(counter) == {2}
    entries = [logged.entry for logged in counter.log() if logged.entry.action == "key:rewrap"]
    assert [dict(entry.target)["remaining"] for entry in entries] == ["5", "2", "0"]
    _all_open(counter, tokens)
    _all_open(counter, tokens, counter.node())
    assert _wrapping(counter)[1].data_keys == 0
    counter.verify_log()


def test_a_rewrap_with_nothing_to_do_ends_at_once(counter: Counter) -> None:
    _fill(counter, 2)
    done = _rewrap(counter)
    assert (done.rewrapped, done.remaining, done.next) == (0, 0, None)


def test_a_rewrap_raises_no_revision(counter: Counter) -> None:
    _fill(counter, 2)
    _rotate(counter)
    revision = counter.vault.status().revision
    _rewrap(counter)
    assert counter.vault.status().revision == revision


@pytest.mark.usefixtures("three_at_a_time")
def test_two_nodes_rewrap_while_a_third_reads(counter: Counter) -> None:
    tokens = _fill(counter, 60)
    _rotate(counter)
    nodes = [counter.node(), counter.node()]
    faults: list[BaseException] = []

    def work(vault: Vault) -> None:
        cursor: tuple[int, int] | None = START
        try:
            while cursor is not None:
                # The reader raises the revision all the time; a portion that is overtaken is asked for again.
                with suppress(ConflictError):
                    cursor = _rewrap(counter, cursor, at=vault).next
        except BaseException as error:  # noqa: BLE001 - handed to the test
            faults.append(error)

    threads = [Thread(target=work, args=(vault,)) for vault in nodes]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counter.tamper()
        _all_open(counter, tokens)
    for thread in threads:
        thread.join()
    assert faults == []
    assert _epochs(counter) == {2}
    assert counter.count(tables.data_key) == 60
    _all_open(counter, tokens, counter.node())
    assert counter.alarms() == []
    counter.verify_log()


@pytest.mark.usefixtures("three_at_a_time")
def test_a_broken_key_alarms_and_does_not_stop_the_others(counter: Counter) -> None:
    tokens = _fill(counter, 7)
    broken = sorted(row["subject_id"] for row in counter.rows(tables.data_key, order_by="subject_id"))[1]
    wrapped = counter.row(tables.data_key, subject_id=broken)["wrapped"]
    counter.change(tables.data_key, {"subject_id": broken}, wrapped=bytes([*wrapped[:-1], wrapped[-1] ^ 1]))
    _rotate(counter)
    portions = [_rewrap(counter)]
    while portions[-1].next is not None:
        portions.append(_rewrap(counter, portions[-1].next))
    assert [portion.broken for portion in portions] == [(broken,), (), ()]
    assert portions[-1].remaining == 1
    assert counter.alarms() == [("data_key", str(broken))]
    values = counter.detokenize(*tokens)["items"]
    assert sum("value" in answer for answer in values) == 6


def test_a_key_under_an_epoch_that_is_none_is_broken(counter: Counter) -> None:
    _fill(counter, 1)
    counter.tamper(update(tables.data_key).values(epoch=77))
    assert len(_rewrap(counter).broken) == 1


def test_rotations_from_two_nodes_at_once_make_two_epochs(counter: Counter) -> None:
    tokens = _fill(counter, 3)
    node = counter.node()
    made: list[int] = []

    def rotate(vault: Vault) -> None:
        made.append(vault.keys.rotate(counter.furnished.request(counter.actor("admin"))).new)

    threads = [Thread(target=rotate, args=(vault,)) for vault in (counter.vault, node)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [2, 3]
    assert [info.state for info in _wrapping(counter).values()] == ["deactivated", "deactivated", "active"]
    assert _rewrap(counter).remaining == 0
    _all_open(counter, tokens)


@pytest.mark.parametrize("who", ["officer", "chief", "minji", "shop"])
def test_only_administrators_rotate_rewrap_and_list(counter: Counter, who: str) -> None:
    request = counter.furnished.request(counter.actor(who))
    keys = counter.vault.keys
    for act in (keys.rotate, keys.rewrap, keys.list):
        with pytest.raises(AccessDeniedError):
            act(request)
    assert [logged.entry.error for logged in counter.log()[-3:]] == ["access_denied"] * 3
    assert {row["version"] for row in counter.rows(tables.key, order_by="version")} == {1}


@pytest.mark.usefixtures("three_at_a_time")
def test_a_rewrap_stops_when_its_actor_leaves(counter: Counter) -> None:
    office = counter.furnished
    _fill(counter, 7)
    office.hire(counter.actor("admin"), "second", Role.ADMINISTRATOR)
    office.approve_all(counter.actor("officer"))
    second = office.login("second")
    _rotate(counter)
    portion = counter.vault.keys.rewrap(office.request(second))
    staff.leave(counter.vault.changes, office.request(counter.actor("admin")), second.id)
    assert portion.next is not None
    with pytest.raises(AccessDeniedError):
        counter.vault.keys.rewrap(office.request(second), portion.next)
    assert _rewrap(counter).rewrapped == 3
