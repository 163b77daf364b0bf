"""Rows of one-time tokens and of tokens for an audience: written on a condition, alike on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.vault.storage.test_hot import BASE, data_key, hot_connection, subject, token
from tests.vault.storage.units import Units, counter, require_whole_log
from vault.storage.database import Database
from vault.storage.errors import OvertakenError, RolledBackError, StaleRevisionError
from vault.storage.hot import HotConnection, TokenRow, Writes

FIELD, SENDER, CENTRE = 7, 1, 2
ONE_TIME, AUDIENCE = 2, 3


@pytest.fixture
def hot(log_database: Database) -> Iterator[HotConnection]:
    """A connection as the lane holds it, and two subjects."""
    connection = hot_connection(log_database)
    people = Writes(subjects=[subject(1), subject(2)], data_keys=[data_key(1), data_key(2)])
    connection.commit(Units().make(), people, 1)
    yield connection
    connection.close()


def once(number: int, owner: int = 1) -> tuple[Any, ...]:
    return (*token(number, owner), ONE_TIME, None)


def stable(number: int, owner: int = 1, audience: int = SENDER) -> tuple[Any, ...]:
    return (*token(number, owner, digest=b"digest %d" % number), AUDIENCE, audience)


def read(hot: HotConnection, number: int) -> TokenRow:
    (row,) = hot.read_tokens([BASE + number])
    return row


def test_both_kinds_are_read_back_as_they_were_written(hot: HotConnection) -> None:
    rows = [token(10, 1), once(11), stable(12), stable(13, 2, CENTRE)]
    hot.commit(Units().make(), Writes(tokens=rows[:1], kinded=rows[1:]), 1)
    found = {row[0] - BASE: row[6:] for row in hot.read_tokens([BASE + number for number in range(10, 14)])}
    assert found == {
        10: (None, None, None),
        11: (ONE_TIME, None, None),
        12: (AUDIENCE, SENDER, None),
        13: (AUDIENCE, CENTRE, None),
    }
    triples = [(BASE + owner, FIELD, audience) for owner in (1, 2) for audience in (SENDER, CENTRE)]
    assert sorted(row[0] - BASE for row in hot.read_audience_tokens(triples)) == [12, 13]
    assert hot.read_audience_tokens([]) == []
    assert [row[0] - BASE for row in hot.read_subject_tokens([BASE + 1], [token(10, 1)[5]])] == [10]
    assert [row[5] for row in hot.read_matches([b"digest 12"])] == [SENDER]


def test_spent_token_keeps_its_row_and_the_time(hot: HotConnection, log_database: Database) -> None:
    units = Units()
    hot.commit(units.make(), Writes(kinded=[once(11), once(12), once(13)]), 1)
    hot.commit(units.make(), Writes(spent=[(BASE + 13, 5_001), (BASE + 11, 5_000)]), 1)
    assert [read(hot, number)[4:] for number in (11, 12, 13)] == [
        (None, 2_000, ONE_TIME, None, 5_000),
        (b"sealed 12", 2_000, ONE_TIME, None, None),
        (None, 2_000, ONE_TIME, None, 5_001),
    ]
    assert counter(log_database).revision == 1


@pytest.mark.parametrize("writes", ["spent", "revoked", "replaced"])
def test_what_was_spent_meanwhile_is_neither_spent_nor_changed(
    hot: HotConnection, log_database: Database, writes: str
) -> None:
    units = Units()
    hot.commit(units.make(), Writes(kinded=[once(11), once(12)]), 1)
    hot.commit(units.make(), Writes(spent=[(BASE + 11, 5_000)]), 1)
    late = {
        "spent": Writes(spent=[(BASE + 11, 6_000), (BASE + 12, 6_000)], tokens=[token(30, 1)]),
        "revoked": Writes(revoked=[BASE + 12, BASE + 11], tokens=[token(30, 1)]),
        "replaced": Writes(replaced=[(BASE + number, 1, b"d", b"e") for number in (11, 12)]),
    }[writes]
    before = counter(log_database)
    with pytest.raises(OvertakenError):
        hot.commit(Units().make(), late, 1)
    assert counter(log_database) == before
    assert read(hot, 11)[8] == 5_000
    assert read(hot, 12)[4] == b"sealed 12"
    assert hot.read_tokens([BASE + 30]) == []
    require_whole_log(log_database)
    hot.commit(units.make(), Writes(spent=[(BASE + 12, 6_000)]), 1)


def test_only_a_one_time_token_is_spent(hot: HotConnection) -> None:
    hot.commit(Units().make(), Writes(tokens=[token(10, 1)], kinded=[stable(12)]), 1)
    for number in (10, 12):
        with pytest.raises(OvertakenError):
            hot.commit(Units().make(), Writes(spent=[(BASE + number, 5_000)]), 1)
        assert read(hot, number)[4] is not None


def test_of_two_tokens_for_one_triple_the_second_is_refused(
    hot: HotConnection, log_database: Database
) -> None:
    units = Units()
    hot.commit(units.make(), Writes(kinded=[stable(12)]), 1)
    with pytest.raises(OvertakenError):
        hot.commit(Units().make(), Writes(kinded=[stable(13, 1, CENTRE), stable(14)]), 1)
    assert hot.read_tokens([BASE + 13, BASE + 14]) == []
    with pytest.raises(RolledBackError):
        hot.commit(Units().make(), Writes(kinded=[stable(12, 2)]), 1)
    hot.commit(units.make(), Writes(kinded=[stable(13, 1, CENTRE), stable(14, 2)]), 1)
    require_whole_log(log_database)


def test_a_revoked_token_makes_room_for_another(hot: HotConnection) -> None:
    units = Units()
    hot.commit(units.make(), Writes(kinded=[stable(12)]), 1)
    hot.commit(units.make(), Writes(revoked=[BASE + 12]), 1)
    assert hot.read_audience_tokens([(BASE + 1, FIELD, SENDER)]) == []
    hot.commit(units.make(), Writes(kinded=[stable(13)]), 2)
    assert read(hot, 12)[6:] == (AUDIENCE, None, None)


def test_of_replacements_for_one_token_the_last_counts(hot: HotConnection) -> None:
    units = Units()
    hot.commit(units.make(), Writes(kinded=[stable(12), stable(13, 2)]), 1)
    replaced = [
        (BASE + 13, 2, b"other", b"sealed anew"),
        (BASE + 12, 2, b"first", b"sealed first"),
        (BASE + 12, None, None, b"sealed last"),
    ]
    hot.commit(units.make(), Writes(replaced=replaced), 1)
    assert [read(hot, number)[4] for number in (12, 13)] == [b"sealed last", b"sealed anew"]
    assert [len(hot.read_matches([digest])) for digest in (b"digest 12", b"first", b"other")] == [0, 0, 1]


def test_a_stale_unit_spends_nothing(hot: HotConnection) -> None:
    units = Units()
    hot.commit(units.make(), Writes(kinded=[once(11), once(12)]), 1)
    hot.commit(units.make(), Writes(revoked=[BASE + 12]), 1)
    with pytest.raises(StaleRevisionError):
        hot.commit(Units().make(), Writes(spent=[(BASE + 11, 5_000)]), 1)
    assert read(hot, 11)[4] == b"sealed 11"


def test_audiences_get_ids_in_turn_and_each_one(hot: HotConnection) -> None:
    assert hot.read_audiences() == []
    for name in ("sender", "centre", "sender"):
        hot.add_audience(name)
    assert sorted(hot.read_audiences()) == [(1, "sender"), (2, "centre")]


def test_what_was_written_before_an_undo_is_dropped() -> None:
    writes = Writes(kinded=[once(11)])
    mark = writes.mark()
    writes.kinded.append(once(12))
    writes.replaced.append((1, None, None, b""))
    writes.spent.append((1, 1))
    assert not writes.only_notes
    writes.undo(mark)
    assert (writes.kinded, writes.replaced, writes.spent) == ([once(11)], [], [])
