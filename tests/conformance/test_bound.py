"""The day by which old copies are dead follows from every key they hang on, and says when there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from sqlalchemy import update

from tests.conformance.counter import Counter
from vault.access.identities import DAY_US
from vault.access.standing import Standing
from vault.assembly import Sealing, change_root_key
from vault.lifecycle.bound import Bound, Part, read_bound
from vault.rotation import epochs
from vault.rotation.epochs import KeyInfo
from vault.rotation.retirement import Facts, Remaining, Root, read_facts, remaining
from vault.storage import tables
from vault.storage.database import Connection

PERIODS = {"wrapping": 365, "lookup": 730, "root": 365}


def bound(counter: Counter, periods: Mapping[str, int] = PERIODS) -> Bound:
    with counter.vault.changes.database.reading() as connection:
        return read_bound(connection, periods)


def part(counter: Counter, name: str) -> Part:
    return next(part for part in bound(counter).parts if part.name == name)


def made_at(counter: Counter) -> int:
    (row,) = counter.rows(tables.root_key, order_by="version")[:1]
    return int(row["created_at"])


def test_every_wrapping_and_lookup_key_and_the_root_key_are_parts(counter: Counter) -> None:
    kinds = {name.partition("/")[0] for name in (part.name for part in bound(counter).parts)}
    assert kinds == {"wrapping", "lookup", "root"}
    names = [part.name for part in bound(counter).parts]
    assert names[-1] == "root//3"
    assert len(names) == len(set(names))
    assert "root//1" in names


def test_it_is_the_latest_of_the_days(counter: Counter) -> None:
    start = made_at(counter)
    assert bound(counter, {**PERIODS, "lookup": 729}).at_us == start + 730 * DAY_US
    assert bound(counter, {**PERIODS, "lookup": 1_000, "root": 1_001}).at_us == start + 1_001 * DAY_US
    assert bound(counter, {**PERIODS, "wrapping": 900}).at_us == start + 3 * 365 * DAY_US
    assert bound(counter, {**PERIODS, "root": 901}).at_us == start + 901 * DAY_US


def test_root_keys_to_come_count_until_the_last_other_key_is_gone(counter: Counter) -> None:
    """The root key is changed on day 100; then every key is replaced, and ends, exactly on its day."""
    office, start = counter.furnished, made_at(counter)
    office.clock.pass_time(days=100)
    change_root_key(office.settings, Sealing(), clock=office.clock)
    counter.change(tables.root_key, {"version": 1}, ended_at=counter.vault.now_us())
    found = bound(counter)
    over_us = found.at_us
    assert over_us is not None
    moment = made = counter.rows(tables.root_key, order_by="version")[-1]["created_at"]
    last = found.parts[-1]
    assert (last.name, last.state, last.at_us) == ("root//3", "to come", made + 730 * DAY_US)
    assert over_us == last.at_us
    assert last.told(0).startswith("root//3 (to come), will seal what is left then, gone by 20")
    with counter.vault.changes.database.reading() as connection:
        facts = read_facts(connection)
    keys = [replace(key, ended_us=start + PERIODS[key.kind] * DAY_US) for key in facts.keys]
    (template,) = (root for root in facts.roots if root.replaced_us is None)
    roots = [root for root in facts.roots if root.replaced_us is not None]
    for ahead in range(4):
        begun, over = (made + (ahead + more) * 365 * DAY_US for more in (0, 1))
        copies = tuple(replace(copy, ended_at=over, created_at=begun) for copy in template.copies)
        roots.append(Root(template.version + ahead, begun, over, copies))
    later = Facts(tuple(keys), tuple(roots))
    before = remaining(later, moment, over_us - 1)
    assert (before.keys, [root.version for root in before.roots]) == ((), [3])
    assert remaining(later, moment, over_us) == Remaining((), ())


@pytest.mark.parametrize("kind", ["wrapping", "lookup", "root"])
def test_without_a_cryptoperiod_there_is_no_day(counter: Counter, kind: str) -> None:
    periods = {name: days for name, days in PERIODS.items() if name != kind}
    found = bound(counter, periods)
    assert found.at_us is None
    assert found.told(counter.vault.now_us()) == "no date: set a cryptoperiod"
    assert any(one.told(0).endswith("no date: set a cryptoperiod") for one in found.parts)


def test_key_that_was_replaced_is_due_to_be_destroyed_since_then(counter: Counter) -> None:
    clock = counter.furnished.clock
    clock.pass_time(minutes=5)
    request = counter.furnished.request(counter.actor("admin"))
    at_us = request.now_us
    counter.vault.keys.rotate(request)
    old, new = part(counter, "wrapping//1"), part(counter, "wrapping//2")
    assert (old.state, old.at_us) == ("deactivated", at_us)
    assert (new.state, new.at_us) == ("active", at_us + 365 * DAY_US)
    assert "to be destroyed, due since" in old.told(at_us)


def test_destroyed_key_is_no_part_any_more(counter: Counter) -> None:
    counter.furnished.clock.pass_time(minutes=5)
    counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
    column = tables.key.c
    counter.tamper(
        update(tables.key)
        .where(column.kind == "wrapping", column.version == 1)
        .values(state="destroyed", wrapped=b"")
    )
    assert [one.name for one in bound(counter).parts if one.name.startswith("wrapping")] == ["wrapping//2"]


def test_root_key_that_was_replaced_counts_until_its_copies_have_ended(counter: Counter) -> None:
    office = counter.furnished
    change_root_key(office.settings, Sealing(), clock=office.clock)
    assert part(counter, "root//2").state == "active"
    left = part(counter, "root//1")
    made = {row["version"]: row["created_at"] for row in counter.rows(tables.root_key, order_by="version")}
    assert (left.state, left.at_us) == ("retired", made[2])
    assert "to be destroyed, due since" in left.told(made[2])
    counter.change(tables.root_key, {"version": 1, "slot": "live"}, ended_at=made[2])
    assert part(counter, "root//1").state == "retired"
    counter.change(tables.root_key, {"version": 1}, ended_at=made[2] + 7 * DAY_US)
    gone = part(counter, "root//1")
    assert (gone.state, gone.at_us) == ("ended", made[2] + 7 * DAY_US)
    assert "gone on" in gone.told(made[2])


def test_days_that_have_passed_are_said_to_be_overdue(counter: Counter) -> None:
    found = bound(counter)
    late = (found.at_us or 0) + 1
    assert found.told(late).startswith("overdue since 20")
    assert all(one.told(late).endswith(", overdue") for one in found.parts)
    assert not any(one.told(0).endswith(", overdue") for one in found.parts)


def test_nothing_to_go_by_is_no_day() -> None:
    assert Bound(()).at_us is None


def test_keys_list_shows_it_with_its_parts(counter: Counter) -> None:
    listing = counter.vault.keys.list(counter.furnished.request(counter.actor("admin")))
    assert listing.bound == bound(counter)
    assert len(listing.keys) >= len(listing.bound.parts) - 1


def test_keys_list_takes_both_from_one_state_of_the_database(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation that comes between the two looks is in neither."""
    first = epochs.list_keys

    def then_rotate(connection: Connection, standing: Standing, now_us: int) -> list[KeyInfo]:
        infos = first(connection, standing, now_us)
        counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
        return infos

    monkeypatch.setattr(epochs, "list_keys", then_rotate)
    listing = counter.vault.keys.list(counter.furnished.request(counter.actor("admin")))
    shown = [info.version for info in listing.keys if info.kind == "wrapping"]
    parts = [one.name for one in listing.bound.parts if one.name.startswith("wrapping")]
    assert (shown, parts) == ([1], ["wrapping//1"])
    assert part(counter, "wrapping//2").state == "active"
