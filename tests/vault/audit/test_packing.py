"""Columns and items have one form, and no other can be constructed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vault.audit.builders import items_of, noise
from vault.audit.packing import MAX_ITEMS, NO_SUBJECT, NO_TOKEN, Column, Items, MalformedEntryError

NAMES = st.sampled_from(["", "member.phone", "member.gender", "partner.phone"])


@given(st.lists(NAMES, max_size=60))
def test_a_column_gives_back_what_it_was_made_of(values: list[str]) -> None:
    column = Column.of(values)
    assert column.expand() == values
    assert column.length == len(values)


@given(st.lists(NAMES, max_size=60))
def test_a_coded_column_is_in_the_one_form(values: list[str]) -> None:
    column = Column.of(values)
    assert Column(column.names, column.runs) == column


def test_a_column_of_one_value_is_one_run() -> None:
    assert Column.of(["a"] * 1000) == Column(("a",), (0, 1000))


def test_a_column_names_each_value_once() -> None:
    assert Column.of(["b", "b", "a", "b"]) == Column(("b", "a"), (0, 2, 1, 1, 0, 1))


def test_an_empty_column_has_neither_names_nor_runs() -> None:
    assert Column.of([]) == Column((), ())


@pytest.mark.parametrize("name", ["two words", "한글", "a\n", "x" * 201])
def test_refuses_a_name_that_is_no_code(name: str) -> None:
    with pytest.raises(MalformedEntryError, match="column"):
        Column.of([name])


def test_items_give_back_what_they_were_packed_from() -> None:
    subjects = [noise("s", 0, 16), NO_SUBJECT]
    items = Items.pack(subjects, [2**63 - 1, NO_TOKEN], ["member.phone", ""], ["opened", "unknown_token"])
    assert [tuple(row) for row in items.rows()] == [
        (subjects[0], 2**63 - 1, "member.phone", "opened"),
        (NO_SUBJECT, 0, "", "unknown_token"),
    ]


def test_no_items_are_items_too() -> None:
    items = Items.pack([], [], [], [])
    assert items.n == 0
    assert list(items.rows()) == []


def test_parts_of_items_are_the_items() -> None:
    items = items_of(10, fields=("a", "b", "b"), outcomes=("opened", "failed"))
    parts = items.split(3)
    assert [part.n for part in parts] == [3, 3, 4]
    assert [row for part in parts for row in part.rows()] == list(items.rows())


@pytest.mark.parametrize(
    ("subjects", "tokens"),
    [
        ([bytes(15)], [1]),
        ([bytes(15), bytes(17)], [1, 2]),
        ([bytes(16)], []),
        ([bytes(16)], [1, 2]),
        ([bytes(16)], [-1]),
        ([bytes(16)], [2**63]),
        ([bytes(16)], [2**64]),
    ],
)
def test_refuses_identifiers_that_do_not_fit(subjects: list[bytes], tokens: list[int]) -> None:
    n = len(subjects)
    with pytest.raises(MalformedEntryError, match="items"):
        Items.pack(subjects, tokens, ["a"] * n, ["opened"] * n)


@pytest.mark.parametrize(
    ("fields", "outcomes"), [(["a"], ["x", "x"]), (["a", "a"], ["x"]), (["a", "a"], ["x", ""])]
)
def test_refuses_columns_that_do_not_agree(fields: list[str], outcomes: list[str]) -> None:
    with pytest.raises(MalformedEntryError, match="column"):
        Items.pack([bytes(16)] * 2, [1, 2], fields, outcomes)


def test_refuses_items_whose_bytes_do_not_fit_their_number() -> None:
    items = items_of(3)
    for changed in ({"n": 2}, {"subjects": items.subjects[:-1]}, {"tokens": items.tokens + b"\0"}):
        with pytest.raises(MalformedEntryError, match="items"):
            replace(items, **changed)


def test_refuses_more_items_than_a_column_is_meant_for() -> None:
    n = MAX_ITEMS + 1
    with pytest.raises(MalformedEntryError, match="items"):
        Items.pack([bytes(16)] * n, [1] * n, ["a"] * n, ["opened"] * n)
