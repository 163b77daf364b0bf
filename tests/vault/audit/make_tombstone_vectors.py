"""Writes tests/vectors/tombstones.json: ``python -m tests.vault.audit.make_tombstone_vectors``.

Lines and heads are put together here from the text of docs/formats/tombstones.md,
without the product's own encoder: only the signature is made by its key.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from keys.signing import SigningKey
from tests.vault.audit.builders import log_key
from tests.vault.audit.make_vectors import VECTORS
from vault.audit.note import vkey

OLD = log_key()
NEW = log_key(seed=b"log after a rotation")
RESTORED = log_key("vault.example/log/r2", seed=b"log after a restore")
OTHER = log_key("other.example/log", seed=b"another vault")

ACTS = (
    (OLD, "7 restrict 72057594037927937 2026-11-24T06:00:00.123456Z"),
    (OLD, "812 erase 72057594037927937 2026-11-24T06:00:01.000000Z"),
    (NEW, "813 restrict 9223372036854775807 2026-11-24T06:00:01.000000Z"),
    (NEW, "9007199254740993 lift 9223372036854775807 2026-12-31T23:59:59.999999Z"),
    (RESTORED, "600 erase 1 2027-02-28T00:00:00.000001Z"),
)


def signed(key: SigningKey, chain: bytes, seq: int, rest: str, label: str = "piivault/tombstone/v1") -> bytes:
    """Return one line, word for word after sections 2 and 3."""
    parts = (label.encode(), key.name.encode(), chain, seq.to_bytes(8, "big"), rest.encode())
    context = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    signature = b64encode(key.key_id + key.sign(context)).decode()
    return f"{seq} {rest} {signature}\n".encode()


def file_of(acts: tuple[tuple[SigningKey, str], ...] = ACTS) -> list[bytes]:
    """Return the lines of a file."""
    lines: list[bytes] = []
    for seq, (key, rest) in enumerate(acts):
        lines.append(signed(key, chain_of(lines), seq, rest))
    return lines


def chain_of(lines: list[bytes]) -> bytes:
    """Return the chain after ``lines``."""
    return sha256(lines[-1]).digest() if lines else bytes(32)


def head_of(lines: list[bytes], through: int, key: SigningKey = RESTORED, **said: str) -> str:
    """Return the head of a file of ``lines``, with single lines of its text said otherwise."""
    origin = said.get("origin", f"{key.name}/tombstones")
    count = said.get("count", str(len(lines)))
    chain = said.get("chain", b64encode(chain_of(lines)).decode())
    text = f"{origin}\n{count}\n{chain}\n{said.get('last', f'through {through}')}\n"
    return f"{text}\n— {key.name} {b64encode(key.key_id + key.sign(text.encode())).decode()}\n"


def valid() -> Iterator[tuple[str, list[bytes], str | None, int]]:
    """Yield name, lines, head and the size through which it is complete."""
    lines = file_of()
    yield "no file", [], None, 0
    yield "nobody yet", [], head_of([], 12), 12
    yield "several keys, and a log that began anew", lines, head_of(lines, 601), 601
    yield "complete beyond its last line", lines, head_of(lines, 9_000), 9_000
    yield "no head", lines, None, 0
    anew = file_of((ACTS[1], (NEW, ACTS[4][1]), (NEW, ACTS[2][1])))
    yield "lines of two logs, written anew under one key", anew, head_of(anew, 900), 900
    yield "more lines than the head counts", lines, head_of(lines[:3], 814, NEW), 814
    retired = file_of(((OTHER, ACTS[0][1]), *ACTS[1:]))
    yield "a line of a key that a later line vouches for", retired, None, 0
    yield (
        "lines of a key that the head vouches for",
        file_of(((OTHER, ACTS[0][1]),)),
        head_of(file_of(((OTHER, ACTS[0][1]),)), 8),
        8,
    )
    yield "a line that was being written", [*lines, lines[0][:40]], head_of(lines, 601), 601


def malformed() -> Iterator[tuple[str, str, int | str, list[bytes], str | None]]:
    """Yield name, rule, line, lines and head."""
    lines = file_of()
    head = head_of(lines, 601)
    for name, rule, at, edit in _EDITS:
        edited = edit(list(lines))
        assert edited != lines, name
        yield name, rule, at, edited, None
    for name, rest in _FORMS:
        edited = [*lines[:1], signed(OLD, chain_of(lines[:1]), 1, rest)]
        yield name, "form", 1, edited, None
    yield (
        "another label",
        "signature",
        0,
        [signed(OLD, bytes(32), 0, ACTS[0][1], "piivault/tombstone/v2")],
        None,
    )
    yield "a line of another vault at the end", "key", 0, file_of(((OTHER, ACTS[0][1]),)), None
    added = [*lines, signed(OTHER, chain_of(lines), 5, "900 erase 1 2026-11-24T06:00:01.000000Z")]
    yield "a line of another vault after those the head counts", "key", 5, added, head
    exchanged = [*lines[:4], signed(OTHER, chain_of(lines[:4]), 4, ACTS[4][1])]
    yield "a line of another vault that the head does not count", "key", 4, exchanged, head
    yield "the last line cut off", "cut", 4, lines[:-1], head
    yield "everything cut off", "cut", 0, [], head
    yield "the last line cut short", "cut", 4, [*lines[:-1], lines[-1][:-1]], head
    fewer = file_of((ACTS[0], *ACTS[2:]))
    yield (
        "a genuine line left out, the rest signed anew",
        "chain",
        4,
        [*fewer, lines[4]],
        head_of(lines[:4], 600),
    )
    yield (
        "no lines by another chain",
        "chain",
        0,
        [],
        head_of([], 12, chain=b64encode(bytes(31) + b"1").decode()),
    )
    for name, text in _heads(lines):
        yield name, "head", "head", lines, text


def _heads(lines: list[bytes]) -> Iterator[tuple[str, str]]:
    good = head_of(lines, 601)
    yield "a head changed", good.replace("through 601", "through 602")
    yield "a head of another key", head_of(lines, 601, OTHER)
    yield "a head of another log", head_of(lines, 601, origin="other.example/log/tombstones")
    yield "a checkpoint for a head", head_of(lines, 601, origin=RESTORED.name)
    yield "a count with a zero before it", head_of(lines, 601, count="05")
    yield "a count of 64 bits", head_of(lines, 601, count=str(2**63))
    yield "a size of 64 bits", head_of(lines, 2**63)
    yield "a size without its word", head_of(lines, 601, last="601")
    yield "a line too many", head_of(lines, 601, last="through 601\nmore")
    yield "base64 with bits that carry nothing", head_of(lines, 601, chain="A" * 42 + "B=")
    yield "no note", "nonsense\n"


def _swap(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


def _replace(at: int, old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    def edit(lines: list[bytes]) -> list[bytes]:
        return [*lines[:at], lines[at].replace(old, new), *lines[at + 1 :]]

    return edit


def _foreign(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], signed(OTHER, chain_of(lines[:2]), 2, ACTS[2][1])]


def _rewritten(lines: list[bytes]) -> list[bytes]:
    """Somebody with the key signs one line anew; the lines after it hang on the one that was there."""
    return [lines[0], signed(OLD, chain_of(lines[:1]), 1, ACTS[1][1].replace("erase", "lift")), *lines[2:]]


def _loose(line: bytes) -> bytes:
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return line[:-3] + letters[letters.index(line[-3:-2]) + 1 :][:1] + b"=\n"


_EDITS: tuple[tuple[str, str, int, Callable[[list[bytes]], list[bytes]]], ...] = (
    ("the first line left out", "sequence", 0, lambda lines: lines[1:]),
    ("a line left out", "sequence", 1, lambda lines: [lines[0], *lines[2:]]),
    ("a line twice", "sequence", 2, lambda lines: [*lines[:2], *lines[1:]]),
    ("two lines in the other order", "sequence", 0, _swap),
    ("an act changed", "signature", 1, _replace(1, b" erase ", b" lift ")),
    ("a subject changed", "signature", 1, _replace(1, b"72057594037927937", b"72057594037927938")),
    ("an index changed", "signature", 0, _replace(0, b" 7 ", b" 8 ")),
    ("a time changed", "signature", 0, _replace(0, b".123456Z", b".123457Z")),
    ("a line changed, and its place kept by the next", "signature", 2, _rewritten),
    ("a sequence changed", "sequence", 0, _replace(0, b"0 7 ", b"1 7 ")),
    ("a line of another vault", "key", 2, _foreign),
    ("a line moved in by number", "signature", 1, lambda lines: [lines[0], b"1" + lines[0][1:], *lines[2:]]),
    ("an empty line", "form", 1, lambda lines: [lines[0], b"\n", *lines[1:]]),
    ("a line that is too long", "form", 1, lambda lines: [lines[0], lines[1][:-1] + b" " * 400 + b"\n"]),
    ("a line of zeros", "form", 1, lambda lines: [lines[0], bytes(len(lines[1]) - 1) + b"\n"]),
    ("a line that is not ASCII", "form", 1, _replace(1, b"erase", "삭제".encode())),
    ("two spaces", "form", 1, _replace(1, b"812 ", b"812  ")),
    ("a carriage return", "form", 1, _replace(1, b"\n", b"\r\n")),
    ("a signature without padding", "form", 1, _replace(1, b"=\n", b"\n")),
    ("base64 with bits that carry nothing", "form", 1, lambda lines: [lines[0], _loose(lines[1])]),
)

_FORMS = (
    ("a zero before an index", "0812 erase 1 2026-11-24T06:00:01.000000Z"),
    ("a sign", "+812 erase 1 2026-11-24T06:00:01.000000Z"),
    ("an index of 64 bits", f"{2**63} erase 1 2026-11-24T06:00:01.000000Z"),
    ("an unknown act", "812 forget 1 2026-11-24T06:00:01.000000Z"),
    ("an act in upper case", "812 Erase 1 2026-11-24T06:00:01.000000Z"),
    ("subject zero", "812 erase 0 2026-11-24T06:00:01.000000Z"),
    ("a subject of 64 bits", f"812 erase {2**63} 2026-11-24T06:00:01.000000Z"),
    ("a time in another zone", "812 erase 1 2026-11-24T06:00:01.000000+09:00"),
    ("a time to the second", "812 erase 1 2026-11-24T06:00:01Z"),
    ("a day that does not exist", "812 erase 1 2026-11-31T06:00:01.000000Z"),
    ("an hour that does not exist", "812 erase 1 2026-11-24T24:00:00.000000Z"),
    ("a word too many", "812 erase 1 2026-11-24T06:00:01.000000Z x"),
)


def content() -> dict[str, Any]:
    """Return the file's content."""
    return {
        "format": "docs/formats/tombstones.md",
        "keys": [vkey(key) for key in (OLD, NEW, RESTORED)],
        "valid": [
            {"name": name, "file": b"".join(lines).decode(), "head": head, "through": through}
            for name, lines, head, through in valid()
        ],
        "malformed": [
            {"name": name, "rule": rule, "line": at, "file": b"".join(lines).decode(), "head": head}
            for name, rule, at, lines, head in malformed()
        ],
    }


if __name__ == "__main__":
    text = json.dumps(content(), ensure_ascii=True, indent=1)
    (VECTORS / "tombstones.json").write_text(text + "\n", encoding="ascii")
