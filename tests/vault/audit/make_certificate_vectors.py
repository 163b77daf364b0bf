"""Writes tests/vectors/certificate.json: ``python -m tests.vault.audit.make_certificate_vectors``.

Texts are put together here from docs/formats/certificate.md, without the
product's own encoder: only the signature is made by its key.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from keys.signing import SigningKey
from tests.vault.audit.builders import log_key
from tests.vault.audit.make_vectors import VECTORS
from vault.audit.note import vkey

TEXT = """\
vault.example/log/certificate
certificate: crt_66778899aabbccddeeff
act: erase
subject: sub_2vN8kQ0rT5xY7zB1cD3fG6hJ9m
ground: subject_request
proposed by: stf_00000000000000000001
approved by: stf_00000000000000000002
approval: apr_00000000000000000001
decided at: 2026-11-24T06:00:00.123456Z
data keys destroyed: 1
values destroyed: 3
digests destroyed: 2
references destroyed: 0
log index: 3
leaf hash: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
tombstone: 0
issued at: 2026-11-24T06:00:01.000000Z
copies dead by: 2027-11-24
copies hang on: wrapping//1 (active), to be replaced and destroyed by 2027-11-24
copies hang on: root//1 (active), to be replaced and destroyed by 2027-11-24
"""


def note(text: str, key: SigningKey | None = None) -> str:
    """Return ``text``, signed."""
    signer = key or log_key()
    return f"{text}\n— {signer.name} {b64encode(signer.key_id + signer.sign(text.encode())).decode()}\n"


def malformed() -> Iterator[tuple[str, str, str]]:
    """Yield name, rule and note."""
    for name, rule, old, new in _SURGERY:
        changed = re.sub(old, new, TEXT, count=1, flags=re.MULTILINE)
        assert changed != TEXT, name
        yield name, rule, note(changed)
    yield "another key", "bad_signature", note(TEXT, log_key(seed=b"another"))
    other = log_key("other.example/log", seed=b"another")
    yield "another vault", "bad_signature", note(TEXT.replace("vault.example", "other.example"), other)
    yield "the name of another log under this key", "wrong_origin", note(TEXT.replace("vault.", "other."))
    yield (
        "a text changed after it was signed",
        "bad_signature",
        note(TEXT).replace("values destroyed: 3", "values destroyed: 4"),
    )
    yield "a signature cut off", "shape", note(TEXT).partition("\n\n")[0] + "\n"
    yield "a carriage return", "control", note(TEXT).replace("\n", "\r\n")
    yield "a space at the end", "signature_line", note(TEXT).removesuffix("\n") + " \n"


_SURGERY = (
    ("a checkpoint", "shape", r"(?s)/certificate\n.*", "\n812\nAAAA\n"),
    ("another kind of note", "shape", "/certificate$", "/tombstones"),
    ("a line missing", "shape", r"^ground: .*\n", ""),
    ("a line twice", "shape", r"^(ground: .*\n)", r"\1\1"),
    ("two lines in the other order", "shape", r"^(act: .*\n)(subject: .*\n)", r"\2\1"),
    ("an unknown line", "shape", r"^act:", "deed:"),
    ("a line in upper case", "shape", r"^act:", "Act:"),
    ("a line after the last", "shape", r"\Z", "seen by: nobody\n"),
    ("no space after the colon", "shape", r"^act: ", "act:"),
    ("another act", "line", "act: erase", "act: lift"),
    ("an id of another kind", "line", "crt_", "apr_"),
    ("a number with a zero before it", "line", "destroyed: 3", "destroyed: 03"),
    ("a negative number", "line", "destroyed: 3", "destroyed: -3"),
    ("a leaf hash that is too short", "line", "ddeeff$", "ddee"),
    (
        "a leaf hash in upper case",
        "line",
        "leaf hash: 00112233445566778899aabb",
        "leaf hash: 00112233445566778899AABB",
    ),
    ("a time to the second", "line", r"06:00:00\.123456Z", "06:00:00Z"),
    ("an empty value", "line", r"^ground: .*", "ground: "),
    ("a value in prose", "line", r"^ground: .*", "ground: because she asked"),
    ("two spaces", "line", r"to be replaced", "to be  replaced"),
    ("text that is not ASCII", "line", r"copies dead by: .*", "copies dead by: 내년"),
)


def content() -> dict[str, Any]:
    """Return the file's content."""
    return {
        "format": "docs/formats/certificate.md",
        "key": vkey(log_key()),
        "valid": [
            {"name": "an erasure", "note": note(TEXT)},
            {"name": "without a key to hang on", "note": note(re.sub(r"copies hang on.*\n", "", TEXT))},
            {
                "name": "without a date",
                "note": note(TEXT.replace("by: 2027-11-24", "by: no date: set a cryptoperiod")),
            },
            {"name": "signed by a witness too", "note": note(TEXT) + _second(TEXT)},
        ],
        "malformed": [{"name": name, "rule": rule, "note": text} for name, rule, text in malformed()],
    }


def _second(text: str) -> str:
    return note(text, log_key("witness.example", seed=b"witness")).rpartition("\n\n")[2]


if __name__ == "__main__":
    written = json.dumps(content(), ensure_ascii=True, indent=1)
    (VECTORS / "certificate.json").write_text(written + "\n", encoding="ascii")
