"""Bundles and their paths are those of c2sp.org/tlog-tiles, and in one form only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.audit.bundles import (
    BUNDLE_LIMIT,
    BUNDLE_WIDTH,
    MalformedBundleError,
    bundle_path,
    encode_bundle,
    parse_bundle,
    parse_bundle_path,
)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=BUNDLE_WIDTH))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert parse_bundle(data, len(entries)) == entries
    for width in (len(entries) - 1, len(entries) + 1):
        with pytest.raises(MalformedBundleError):
            parse_bundle(data, width)


def test_each_entry_follows_its_length() -> None:
    assert encode_bundle([b"ab", b"", b"c" * 258]) == b"\0\x02ab\0\0\x01\x02" + b"c" * 258


def test_the_largest_bundle_has_the_limit() -> None:
    assert len(encode_bundle([bytes(65_535)] * BUNDLE_WIDTH)) == BUNDLE_LIMIT


@pytest.mark.parametrize("entries", [[], [b"x"] * 257, [bytes(65_536)]])
def test_refuses_to_bundle_what_does_not_fit(entries: list[bytes]) -> None:
    with pytest.raises(MalformedBundleError):
        encode_bundle(entries)


def test_refuses_a_bundle_cut_anywhere() -> None:
    data = encode_bundle([b"abc", b"defg"])
    for length in range(len(data)):
        with pytest.raises(MalformedBundleError):
            parse_bundle(data[:length], 2)


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/entries/000"),
        (0, 1, "tile/entries/000.p/1"),
        (7, 255, "tile/entries/007.p/255"),
        (999, 256, "tile/entries/999"),
        (1000, 256, "tile/entries/x001/000"),
        (1234067, 256, "tile/entries/x001/x234/067"),
        (1234067, 8, "tile/entries/x001/x234/067.p/8"),
    ],
)
def test_the_path_of_a_bundle_is_that_of_the_specification(index: int, width: int, path: str) -> None:
    assert bundle_path(index, width) == path
    assert parse_bundle_path(path) == (index, width)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/entries/0",
        "tile/entries/1000",
        "tile/entries/x000/001",
        "tile/entries/001/000",
        "tile/entries/x001",
        "tile/entries/000.p/0",
        "tile/entries/000.p/01",
        "tile/entries/000.p/256",
        "tile/entries/000.p/999",
        "tile/entries/000.p",
        "tile/entries/000\n",
        "tile/entries/٠٠٠",
        "tile/0/000",
    ],
)
def test_refuses_any_other_path(path: str) -> None:
    with pytest.raises(MalformedBundleError):
        parse_bundle_path(path)
