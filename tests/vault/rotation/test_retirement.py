"""Which keys and root keys still open a copy of the database of some moment, from their dates alone."""

from __future__ import annotations

import pytest

from vault.rotation.retirement import Facts, Key, Root, Step, remaining, remaining_before, step_due
from vault.storage.roots import RootRow

NOW = 1_000


def epoch(version: int, created: int, ended: int | None = None, *, state: str = "deactivated") -> Key:
    return Key("wrapping", "", version, "destroyed" if ended else state, created, ended)


def lookup(version: int, created: int, ended: int | None = None, *, state: str = "deactivated") -> Key:
    return Key("lookup", "member.phone", version, "destroyed" if ended else state, created, ended)


def root(version: int, created: int, replaced: int | None = None, *, ended: int | None = None) -> Root:
    state = "active" if replaced is None else "retired"
    copies = tuple(
        RootRow(version, slot, "file", state, b"", created, ended_at=ended) for slot in ("live", "recovery")
    )
    return Root(version, created, replaced, copies)


def numbers(facts: Facts, moment: int) -> tuple[list[int], list[int]]:
    rest = remaining(facts, moment, NOW)
    return [key.version for key in rest.keys], [found.version for found in rest.roots]


NEW = Facts((epoch(1, 10, state="active"), lookup(1, 10, state="active")), (root(1, 10),))
ROTATED = Facts(
    (epoch(1, 10), epoch(2, 100, state="active"), lookup(1, 10, state="active")),
    (root(1, 10),),
)
OUT_OF_USE = Facts((epoch(1, 10), epoch(2, 100, state="active"), lookup(1, 10)), (root(1, 10),))
DESTROYED = Facts((epoch(1, 10, 300), epoch(2, 100, state="active")), (root(1, 10),))
ROOTED = Facts(DESTROYED.keys, (root(2, 400), root(1, 10, 400)))
OVER = Facts(DESTROYED.keys, (root(2, 400), root(1, 10, 400, ended=500)))
WAITING = Facts(DESTROYED.keys, (root(2, 400), root(1, 10, 400, ended=NOW + 1)))


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        (NEW, Step.DONE),
        (ROTATED, Step.ROTATE),
        (OUT_OF_USE, Step.DESTROY),
        (DESTROYED, Step.ROOT),
        (ROOTED, Step.COPIES),
        (WAITING, Step.WAIT),
        (OVER, Step.DONE),
    ],
)
def test_step_follows_from_the_dates(facts: Facts, step: Step) -> None:
    assert step_due(facts, NOW) is step


def test_copy_from_before_there_was_a_vault_opens_by_nothing() -> None:
    assert numbers(OVER, 10) == ([], [])


def test_copy_opens_by_what_was_there_and_has_not_ended() -> None:
    assert numbers(OUT_OF_USE, 50) == ([1, 1], [1])
    assert numbers(ROOTED, 50) == ([], [1])
    assert numbers(ROOTED, 200) == ([2], [2, 1])
    assert numbers(OVER, 50) == ([], [])


def test_copy_of_a_moment_holds_nothing_that_was_destroyed_before() -> None:
    assert numbers(ROOTED, 350) == ([2], [2, 1])
    facts = Facts((epoch(1, 10, 300), epoch(2, 100, 600), epoch(3, 500, state="active")), ROOTED.roots)
    assert numbers(facts, 350) == ([], [2, 1])
    assert numbers(facts, 50) == ([], [1])


def test_root_key_that_sealed_a_key_before_its_end_has_to_end_as_well() -> None:
    # Root key 2 came while epoch 1 was still there: some other copy has epoch 1 under it.
    early = Facts(DESTROYED.keys, (root(2, 200), root(1, 10, 200, ended=500)))
    assert numbers(early, 50) == ([], [2])
    assert step_due(early, NOW) is Step.ROOT
    at_once = Facts(DESTROYED.keys, (root(2, 300), root(1, 10, 300, ended=500)))
    assert step_due(at_once, NOW) is Step.ROOT


def test_root_key_replaced_before_the_procedure_began_has_to_end_as_well() -> None:
    # A copy from before 50 is under root key 1, and the procedure is about every copy from before 100.
    facts = Facts(DESTROYED.keys, (root(3, 400), root(2, 50, 400, ended=500), root(1, 10, 50)))
    assert [found.version for found in remaining_before(facts, 100, NOW).roots] == [1]
    assert numbers(facts, 100) == ([], [])
    assert step_due(facts, NOW) is Step.COPIES


def test_new_root_key_of_a_vault_that_was_never_rotated_begins_nothing() -> None:
    assert step_due(Facts(NEW.keys, (root(2, 50), root(1, 10, 50))), NOW) is Step.DONE
