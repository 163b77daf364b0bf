"""Entry bundles and their paths. Format: docs/formats/export.md section 4.

Source: c2sp.org/tlog-tiles. A bundle is 256 consecutive entries; only the last
of a log may be shorter, and its path says by how much.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

BUNDLE_WIDTH: Final = 256
"""Entries in a full bundle."""

ENTRIES_PATH: Final = "tile/entries"

_LENGTH_SIZE = 2
_ENTRY_LIMIT = 65_535

BUNDLE_LIMIT: Final = BUNDLE_WIDTH * (_LENGTH_SIZE + _ENTRY_LIMIT)
"""Most bytes a bundle can have."""

_PATH = re.compile(
    rf"{ENTRIES_PATH}/((?:x[0-9]{{3}}/)*[0-9]{{3}})(?:\.p/([1-9][0-9]?|1[0-9]{{2}}|2[0-4][0-9]|25[0-5]))?"
).fullmatch


class MalformedBundleError(ValueError):
    """Bytes are not a bundle of the stated width, entries do not fit one, or a path is not that of one."""


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return 1 to 256 entries as a bundle.

    Raises:
        MalformedBundleError: no entries, too many, or one over 65,535 bytes.

    """
    if not 1 <= len(entries) <= BUNDLE_WIDTH or max(map(len, entries)) > _ENTRY_LIMIT:
        raise MalformedBundleError("a bundle holds 1 to 256 entries of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(_LENGTH_SIZE, "big") + entry for entry in entries)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """Return the entries of a bundle that has ``width`` of them.

    Raises:
        MalformedBundleError: fewer or more entries, or bytes left over.

    """
    entries = []
    at = 0
    for _ in range(width):
        start = at + _LENGTH_SIZE
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise MalformedBundleError("fewer entries than stated")
        entries.append(data[start:at])
    if at != len(data):
        raise MalformedBundleError("more bytes than entries")
    return entries


def bundle_path(index: int, width: int = BUNDLE_WIDTH) -> str:
    """Return the path of bundle ``index``, relative to the export, with ``/``."""
    groups = f"{index:,}".split(",")
    groups[0] = groups[0].zfill(3)
    *higher, last = groups
    path = "/".join([ENTRIES_PATH, *(f"x{group}" for group in higher), last])
    return path if width == BUNDLE_WIDTH else f"{path}.p/{width}"


def parse_bundle_path(path: str) -> tuple[int, int]:
    """Return index and width of the bundle at ``path``.

    Raises:
        MalformedBundleError: not exactly a path that ``bundle_path`` gives.

    """
    match = _PATH(path)
    if match is None:
        raise MalformedBundleError("not the path of a bundle")
    index = int(match[1].replace("x", "").replace("/", ""))
    width = int(match[2] or BUNDLE_WIDTH)
    if bundle_path(index, width) != path:
        raise MalformedBundleError("not the path of a bundle")
    return index, width
