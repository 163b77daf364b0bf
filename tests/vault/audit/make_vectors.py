"""Writes tests/vectors/log-entry.json and merkle.json: ``python -m tests.vault.audit.make_vectors``.

The files are evidence about the format, not about the code: a change of the
encoder that changes them is a change of the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.vault.audit.builders import entry_in_parts, entry_of, items_of, noise, whole
from vault.audit.entry import HEADER_LIMIT, NO_DECISION, Decision, Entry, encode
from vault.audit.packing import NO_SUBJECT, NO_TOKEN, Items
from vault.domain.actions import GRANTABLE, Action
from vault.domain.model import STRANGER, Actor, ActorKind, Origin, Outcome

VECTORS = Path(__file__).parents[2] / "vectors"


def valid() -> Iterator[tuple[str, list[bytes]]]:
    """Yield name and bytes of entries that a reader accepts."""
    for action in Action:
        yield f"action {action}", [whole(acting(action))]
    yield "one item", [whole(entry_of())]
    yield "no items of an act that has items", [whole(replace(entry_of(), items=items_of(0)))]
    mixed = items_of(
        7, fields=("member.phone", "member.phone", "member.gender"), outcomes=("opened", "failed")
    )
    yield "columns of several runs", [whole(replace(entry_of(), items=mixed))]
    yield "an item that led to nobody", [whole(replace(entry_of(), items=unknown_token()))]
    yield "a refusal that stands for forty", [whole(aggregated())]
    yield "every escape and no more", [whole(replace(entry_of(), actor=awkward()))]
    yield (
        "the first microsecond of a year",
        [whole(replace(entry_of(), time=datetime(2027, 1, 1, tzinfo=UTC)))],
    )
    yield (
        "the largest numbers",
        [whole(replace(entry_of(), decision=Decision("", (), 2**63 - 1), count=2**63 - 1))],
    )
    yield "a thousand subjects and the largest header", [whole(largest())]
    yield "an entry in parts", encode(entry_in_parts())


def acting(action: Action) -> Entry:
    """Return a plausible entry of ``action``."""
    if action in GRANTABLE:
        return replace(entry_of(), action=action)
    return replace(
        entry_of(),
        action=action,
        outcome=Outcome.DONE,
        purpose="",
        reveal=None,
        note="",
        decision=Decision("role", (), 7),
        target=(("about", action.value),),
        items=None,
    )


def unknown_token() -> Items:
    """Return items of which the second led to nobody."""
    subjects = [noise("subject", 0, 16), NO_SUBJECT]
    return Items.pack(subjects, [1 << 56, NO_TOKEN], ["member.phone", ""], ["opened", "unknown_token"])


def aggregated() -> Entry:
    """Return an entry that stands for forty refusals of strangers from one address."""
    return replace(
        entry_of(),
        actor=STRANGER,
        origin=Origin(request=entry_of().origin.request, address="2001:db8::1"),
        action=Action.SESSION_OPEN,
        outcome=Outcome.REFUSED,
        error="authentication_failed",
        purpose="",
        reveal=None,
        note="",
        decision=NO_DECISION,
        count=40,
        items=None,
    )


def awkward() -> Actor:
    """Return an actor whose name needs every kind of escape and some that are not allowed."""
    controls = "".join(map(chr, range(0x20)))
    return Actor(ActorKind.OPERATOR, "", f'{controls}"\\/\x7f\u0085\u2028한글é😀', "e\u0301", "")


def largest() -> Entry:
    """Return an entry whose header has exactly the limit and that has a thousand subjects."""
    entry = replace(entry_of(), items=items_of(1000))
    missing = HEADER_LIMIT - len(whole(replace(entry, items=None)))
    return replace(entry, actor=replace(entry.actor, employer=entry.actor.employer + "x" * missing))


def malformed() -> Iterator[tuple[str, str, bytes]]:
    """Yield name, rule and bytes of what a reader refuses."""
    good = whole(replace(entry_of(), items=items_of(4, fields=("a", "b"), outcomes=("opened",))))
    yield "too large", "size", good + b" " * 65_535
    yield "cut short", "json", good[:-1]
    yield "not UTF-8", "json", good.replace("김".encode(), b"\xff")
    yield "a byte order mark", "json", b"\xef\xbb\xbf" + good
    yield "a lone surrogate", "json", good.replace("김".encode(), rb"\ud800")
    yield "nested without end", "json", b"[" * 60_000
    yield "not an object", "type", b"[]"
    yield "a later version", "version", good.replace(b'"v":1', b'"v":2')
    yield "a version that is true", "version", good.replace(b'"v":1', b'"v":true')
    yield "no version", "version", good.replace(b'"v":1,', b"")
    for name, rule, old, new in _SURGERY:
        changed = re.sub(old, new.replace("\\", r"\\"), good.decode(), count=1)
        assert changed.encode() != good, name
        yield name, rule, changed.encode()
    yield "a header over the limit", "header", _with_header_of(HEADER_LIMIT + 1, good)


def _with_header_of(size: int, good: bytes) -> bytes:
    header = len(re.sub(rb'"items":.*', b'"items":null}', good))
    return good.replace("예시".encode(), "예시".encode() + b"x" * (size - header))


_SURGERY = (
    ("white space", "canonical", r",", ", "),
    ("an escape that is not needed", "canonical", "김", r"\uae40"),
    ("an escaped slash", "canonical", "203.0.113.7", r"203\u002e0.113.7"),
    ("a member twice", "canonical", '"count":1', '"count":1,"count":1'),
    ("a member twice, hidden", "canonical", '"purpose":"inquiry"', '"purpose":"other","purpose":"inquiry"'),
    ("a member twice in a part", "canonical", '"team"', '"team":"","team"'),
    ("an unknown member", "members", '"count"', '"extra":0,"count"'),
    ("a member missing", "members", '"note":"[0-9a-f]*",', ""),
    ("members in another order", "members", '"count":1,"items":(.*)}', '"items":null,"count":1}'),
    ("an unknown member of the actor", "members", '"kind"', '"device":"x","kind"'),
    ("an unknown member of the items", "members", '"n":4', '"n":4,"m":4'),
    ("an unknown member of a column", "members", '"runs"', '"sum":4,"runs"'),
    ("an unknown member of the decision", "members", '"rule"', '"by":"x","rule"'),
    ("a number as text", "type", '"count":1', '"count":"1"'),
    ("a fraction", "type", '"count":1', '"count":1.0'),
    ("an exponent", "type", '"count":1', '"count":1e0'),
    ("a number that is true", "type", '"count":1', '"count":true'),
    ("a number beyond 64 bits", "type", '"count":1', '"count":18446744073709551616'),
    ("text as null", "type", '"purpose":"inquiry"', '"purpose":null'),
    ("an actor that is text", "type", r'"actor":\{[^}]*\}', '"actor":"x"'),
    ("a name that is a number", "type", '"name":"[^"]*"', '"name":1'),
    ("roles that are text", "type", r'"roles":\["handler"\]', '"roles":"handler"'),
    ("a role that is a number", "type", r'"roles":\["handler"\]', '"roles":[1]'),
    ("a revision that is text", "type", '"revision":7', '"revision":"7"'),
    ("a rule that is a number", "type", '"rule":"grant"', '"rule":1'),
    ("a target that is a list", "type", r'"target":\{\}', '"target":[]'),
    ("a target that is a number", "type", r'"target":\{\}', '"target":{"staff":1}'),
    ("items that are a list", "type", '"items":.*', '"items":[]}'),
    ("an n that is text", "type", '"n":4', '"n":"4"'),
    ("subjects that are a list", "type", '"subjects":"[^"]*"', '"subjects":[]'),
    ("a run that is text", "type", r'"runs":\[0,', '"runs":["0",'),
    ("a part of three numbers", "part", r'"part":\[1,1\]', '"part":[1,1,1]'),
    ("a part beyond the last", "part", r'"part":\[1,1\]', '"part":[2,1]'),
    ("part zero", "part", r'"part":\[1,1\]', '"part":[0,1]'),
    ("too many parts", "part", r'"part":\[1,1\]', '"part":[1,1001]'),
    ("an id in upper case", "id", '"id":"0', '"id":"A'),
    ("a time in another zone", "time", r'123456Z"', '123456+09:00"'),
    ("a time to the millisecond", "time", r'123456Z"', '123Z"'),
    ("a time without zone", "time", r'123456Z"', '123456"'),
    ("a day that does not exist", "time", "2026-11-24", "2026-11-31"),
    ("a space for the T", "time", "T06:", " 06:"),
    ("a request id of another form", "request", '"req_', '"rqs_'),
    ("no address", "address", '"203.0.113.7"', '""'),
    ("an address with a space", "address", '"203.0.113.7"', '"203.0.113.7 x"'),
    ("an action without verb", "action", "token:detokenize", "token"),
    ("a note hash that is too short", "note", '"note":"[0-9a-f]', '"note":"'),
    ("an unknown kind of actor", "actor", '"kind":"staff"', '"kind":"root"'),
    ("a kind of actor that is a list", "actor", '"kind":"staff"', '"kind":[]'),
    ("an unknown outcome", "outcome", '"outcome":"released"', '"outcome":"maybe"'),
    ("an unknown reveal", "reveal", '"reveal":"masked"', '"reveal":"some"'),
    ("an error where nothing failed", "error", '"error":""', '"error":"x"'),
    ("a refusal without error", "error", '"outcome":"released"', '"outcome":"refused"'),
    ("a purpose in prose", "code", '"inquiry"', '"call back"'),
    ("a purpose over two lines", "code", '"inquiry"', r'"in\nquiry"'),
    ("an empty role", "code", r'\["handler"\]', '[""]'),
    ("a grant in prose", "code", '"grt_', '"the grt_'),
    ("a negative revision", "number", '"revision":7', '"revision":-1'),
    ("a revision of 64 bits", "number", '"revision":7', '"revision":9223372036854775808'),
    ("a count of zero", "number", '"count":1', '"count":0'),
    ("targets out of order", "target", r'"target":\{\}', '"target":{"staff":"x","grant":"y"}'),
    ("an empty target", "target", r'"target":\{\}', '"target":{"staff":""}'),
    ("a target in prose", "target", r'"target":\{\}', '"target":{"the staff":"x"}'),
    ("base64 with bits that carry nothing", "base64", '.==","tokens"', 'B==","tokens"'),
    ("base64 without padding", "base64", '==","tokens"', '","tokens"'),
    ("base64 of another alphabet", "base64", '"subjects":"..', '"subjects":"-_'),
    ("base64 with text that is not ASCII", "base64", '"subjects":".', '"subjects":"한'),
    ("more items than columns", "items", '"n":4', '"n":5'),
    ("a negative number of items", "items", '"n":4', '"n":-4'),
    ("a token id of 64 bits", "items", '"tokens":"A', '"tokens":"g'),
    ("run lengths that do not add up", "column", r'"runs":\[0,1,1,1,0,1,1,1\]', '"runs":[0,1,1,1,0,1,1,2]'),
    ("an index without length", "column", r'"runs":\[0,1,', '"runs":[0,1,0,'),
    ("half a run", "column", r'"runs":\[0,1,1,1,0,1,1,1\]', '"runs":[0,1,1,1,0,1,1]'),
    ("a run of nothing", "column", r'"runs":\[0,1,1,1,0,1,1,1\]', '"runs":[0,2,1,0,0,1,1,1]'),
    ("runs that should be one", "column", r'"runs":\[0,4\]', '"runs":[0,2,0,2]'),
    ("an index beyond the names", "column", r'"runs":\[0,1,1,1,0,1,1,1\]', '"runs":[0,1,2,1,0,1,1,1]'),
    ("a negative index", "column", r'"runs":\[0,1,1,1,0,1,1,1\]', '"runs":[0,1,-1,1,0,1,1,1]'),
    ("names not in order of appearance", "column", r'"runs":\[0,1,1,1,0,1,1,1\]', '"runs":[1,1,0,1,1,1,0,1]'),
    ("a name nobody uses", "column", r'\["opened"\]', '["opened","failed"]'),
    ("a name twice", "column", r'\["a","b"\]', '["a","a"]'),
    ("a field in prose", "column", r'\["a","b"\]', '["a","b c"]'),
    ("an empty outcome", "column", r'\["opened"\]', '[""]'),
)


def unwritable() -> Iterator[tuple[str, str]]:
    """Yield member of the actor and text that a writer refuses: it has no UTF-8 form."""
    for member in ("name", "team", "employer"):
        yield member, "김\ud83d"
    yield "name", "\udc00"


def sequences() -> Iterator[tuple[str, list[bytes], int | None]]:
    """Yield name, entries and where the first run begins that breaks section 7.3."""
    a, b, c = (_in_parts(0, part, 3) for part in (1, 2, 3))
    x, y = (_in_parts(1, part, 2) for part in (1, 2))
    one = whole(entry_of(2))
    yield "no entry", [], None
    yield "an entry of one part", [one], None
    yield "three parts in order", [one, a, b, c, one], None
    yield "two entries in parts, one after the other", [a, b, c, x, y], None
    yield "the last part missing", [a, b], 0
    yield "the last part missing, another entry after", [a, b, one], 0
    yield "the first part missing", [one, b, c], 1
    yield "a part in the middle missing", [a, c, one], 0
    yield "two parts in the other order", [a, c, b], 0
    yield "a part twice", [a, a, b, c], 0
    yield "another entry between parts", [a, one, b, c], 0
    yield "parts of two entries by turns", [a, x, b, y, c], 0
    for name, old, new in _UNLIKE:
        changed = b.replace(old.encode(), new.encode())
        assert changed != b, name
        yield f"parts that differ in {name}", [a, changed, c], 0


def _in_parts(number: int, part: int, parts: int) -> bytes:
    return whole(entry_of(number)).replace(b'"part":[1,1]', b'"part":[%d,%d]' % (part, parts))


_UNLIKE = (
    ("the number of parts", '"part":[2,3]', '"part":[2,4]'),
    ("id", '"id":"0', '"id":"1'),
    ("time", '123456Z"', '123457Z"'),
    ("request", '"req_7', '"req_8'),
    ("actor", '"team":"', '"team":"x'),
    ("address", "203.0.113.7", "203.0.113.8"),
    ("purpose", '"inquiry"', '"other"'),
    ("reveal", '"masked"', '"plain"'),
    ("revision", '"revision":7', '"revision":8'),
    ("count", '"count":1', '"count":2'),
)


SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 255, 256, 257, 300)

CT_LEAVES = (
    *("", "00", "10", "2021", "3031", "40414243"),
    *("5051525354555657", "606162636465666768696a6b6c6d6e6f"),
)
"""Leaves of the Certificate Transparency test log, in hexadecimal (certificate-transparency, Apache-2.0)."""

CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Published roots over the first 1, 2, ... 8 of them."""


def merkle() -> list[dict[str, Any]]:
    """Return roots over leaves of known bytes: leaf ``i`` is the decimal text of ``i``."""
    return [{"size": size, "root": naive_root([b"%d" % i for i in range(size)]).hex()} for size in SIZES]


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def _write(name: str, content: dict[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=True, indent=1)
    (VECTORS / name).write_text(text + "\n", encoding="ascii")


def main() -> None:
    """Write both files."""
    _write(
        "log-entry.json",
        {
            "format": "docs/formats/log-entry.md",
            "valid": [
                {
                    "name": name,
                    "parts": [part.decode() for part in parts],
                    "leaf_hashes": [sha256(b"\x00" + part).hexdigest() for part in parts],
                }
                for name, parts in valid()
            ],
            "malformed": [{"name": name, "rule": rule, **_stated(data)} for name, rule, data in malformed()],
            "unwritable": [
                {
                    "section": "8",
                    "member": member,
                    "value": value,
                    "error": "MalformedEntryError",
                    "rule": "text",
                }
                for member, value in unwritable()
            ],
            "sequences": [
                {
                    "section": "7.3",
                    "name": name,
                    "entries": [entry.decode() for entry in entries],
                    "finding": "part_sequence",
                    "first": first,
                }
                for name, entries, first in sequences()
            ],
        },
    )
    _write(
        "merkle.json",
        {
            "format": "docs/formats/log-entry.md section 9.2; leaf i is the decimal text of i",
            "certificate_transparency": {"leaves": CT_LEAVES, "roots": CT_ROOTS},
            "roots": merkle(),
        },
    )


def _stated(data: bytes) -> dict[str, Any]:
    tail = len(data) - len(data.rstrip(b"[ "))
    if tail > 1_000:
        return {"text": data[:-tail].decode(), "tail": [data[-1:].decode(), tail]}
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"hex": data.hex()}


if __name__ == "__main__":
    main()
