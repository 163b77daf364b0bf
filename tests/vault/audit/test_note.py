"""Notes and checkpoints: the published examples open, and nothing but their one form does."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

import pytest

from tests.vault.audit.builders import ORIGIN, log_key
from vault.audit.note import (
    Checkpoint,
    MalformedNoteError,
    UnsignedNoteError,
    WrongOriginError,
    checkpoint_unverified,
    open_checkpoint,
    open_note,
    parse_vkey,
    sign_checkpoint,
    sign_note,
    vkey,
)

# The example of Go's golang.org/x/mod/sumdb/note package (BSD-3-Clause).
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_NOTE = (
    GO_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZ"
    + "InNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

KEY = log_key()
TRUSTED = parse_vkey(vkey(KEY))
CHECKPOINT = Checkpoint(ORIGIN, 812, sha256(b"root").digest())
NOTE = sign_checkpoint(CHECKPOINT, KEY)
ROOT_LINE = b64encode(CHECKPOINT.root).decode()
SIGNATURE_LINE = NOTE.split("\n")[4]


def signed(text: str) -> str:
    return sign_note(text, KEY)


def rule_of(note: str) -> str:
    with pytest.raises(MalformedNoteError) as caught:
        open_checkpoint(note, TRUSTED)
    return caught.value.rule


def test_opens_the_published_example() -> None:
    assert open_note(GO_NOTE, parse_vkey(GO_VKEY)) == GO_TEXT


def test_a_checkpoint_is_read_back_as_it_was_signed() -> None:
    assert open_checkpoint(NOTE, TRUSTED) == CHECKPOINT
    assert checkpoint_unverified(NOTE) == CHECKPOINT


def test_a_checkpoint_is_the_text_of_the_specification() -> None:
    text = f"{ORIGIN}\n812\n{ROOT_LINE}\n"
    signature = b64encode(KEY.key_id + KEY.sign(text.encode())).decode()
    assert f"{text}\n— {ORIGIN} {signature}\n" == NOTE


@pytest.mark.parametrize("size", [0, 1, 2**63 - 1])
def test_a_checkpoint_holds_any_size_there_can_be(size: int) -> None:
    checkpoint = replace(CHECKPOINT, size=size)
    assert open_checkpoint(sign_checkpoint(checkpoint, KEY), TRUSTED) == checkpoint


def test_signatures_of_others_are_ignored() -> None:
    witness = sign_note(CHECKPOINT.text(), log_key("witness.example", b"witness")).split("\n")[4]
    stranger = sign_note(CHECKPOINT.text(), log_key(seed=b"same name, another key")).split("\n")[4]
    assert open_checkpoint(f"{NOTE}{witness}\n{stranger}\n", TRUSTED) == CHECKPOINT


@pytest.mark.parametrize("seed", [b"another key"])
def test_refuses_a_note_signed_by_another_key_only(seed: bytes) -> None:
    with pytest.raises(UnsignedNoteError):
        open_checkpoint(sign_checkpoint(CHECKPOINT, log_key(seed=seed)), TRUSTED)


def test_refuses_another_key_under_the_trusted_name_and_id() -> None:
    forged = TRUSTED.key_id + log_key(seed=b"another key").sign(CHECKPOINT.text().encode())
    with pytest.raises(UnsignedNoteError):
        open_note(f"{CHECKPOINT.text()}\n— {ORIGIN} {b64encode(forged).decode()}\n", TRUSTED)


def test_refuses_the_trusted_signature_twice() -> None:
    with pytest.raises(UnsignedNoteError):
        open_note(f"{NOTE}{SIGNATURE_LINE}\n", TRUSTED)


@pytest.mark.parametrize(("old", "new"), [("812", "813"), ("vault", "fault"), (ROOT_LINE[:2], "AA")])
def test_refuses_a_text_that_was_not_signed(old: str, new: str) -> None:
    with pytest.raises(UnsignedNoteError):
        open_checkpoint(NOTE.replace(old, new, 1), TRUSTED)


def test_refuses_a_checkpoint_of_another_log() -> None:
    with pytest.raises(WrongOriginError):
        open_checkpoint(signed(replace(CHECKPOINT, origin="other.example/log").text()), TRUSTED)


def test_refuses_to_sign_for_another_log() -> None:
    with pytest.raises(WrongOriginError):
        sign_checkpoint(replace(CHECKPOINT, origin="other.example/log"), KEY)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"{ORIGIN}\n812\n", "shape"),
        (f"{ORIGIN}\n812\n{ROOT_LINE}\nextension\n", "shape"),
        (f"\n812\n{ROOT_LINE}\n", "origin"),
        (f"{ORIGIN} x\n812\n{ROOT_LINE}\n", "origin"),
        (f"{ORIGIN}+x\n812\n{ROOT_LINE}\n", "origin"),
        (f"{ORIGIN}\u2003x\n812\n{ROOT_LINE}\n", "origin"),
        (f"{ORIGIN}\n0812\n{ROOT_LINE}\n", "tree_size"),
        (f"{ORIGIN}\n+812\n{ROOT_LINE}\n", "tree_size"),
        (f"{ORIGIN}\n-1\n{ROOT_LINE}\n", "tree_size"),
        (f"{ORIGIN}\n８１２\n{ROOT_LINE}\n", "tree_size"),
        (f"{ORIGIN}\n\n{ROOT_LINE}\n", "tree_size"),
        (f"{ORIGIN}\n{2**63}\n{ROOT_LINE}\n", "tree_size"),
        (f"{ORIGIN}\n812\n{ROOT_LINE[:-2]}9=\n", "root"),
        (f"{ORIGIN}\n812\n{ROOT_LINE[:-1]}\n", "root"),
        (f"{ORIGIN}\n812\n{b64encode(bytes(31)).decode()}\n", "root"),
        (f"{ORIGIN}\n812\nroot 한\n", "root"),
    ],
)
def test_refuses_a_signed_text_that_is_no_checkpoint(text: str, rule: str) -> None:
    assert rule_of(signed(text)) == rule


@pytest.mark.parametrize(
    ("note", "rule"),
    [
        ("", "shape"),
        (CHECKPOINT.text(), "shape"),
        (NOTE[:-1], "shape"),
        (NOTE.replace("\n\n", "\n"), "shape"),
        (f"{CHECKPOINT.text()}\n", "shape"),
        (f"{CHECKPOINT.text()}\n\n", "shape"),
        (NOTE.replace("— ", "- "), "signature_line"),
        (NOTE.replace("— ", "—  "), "signature_line"),
        (NOTE + "anything\n", "signature_line"),
        (f"{NOTE}— name {b64encode(b'1234').decode()}\n", "signature_line"),
        (f"{NOTE}— name AAAAAAB=\n", "signature_line"),
        (f"{NOTE}— name AAAAA=\n", "signature_line"),
        (NOTE + f"— name {b64encode(b'12345').decode()}\n" * 16, "signature_line"),
        (NOTE.replace("812", "812\r"), "control"),
        (NOTE.replace("812", "812\0"), "control"),
        (NOTE.replace("812", "8\ud80012"), "utf8"),
        ("x" * 100_001, "size"),
    ],
)
def test_refuses_what_is_no_note(note: str, rule: str) -> None:
    assert rule_of(note) == rule


def test_sixteen_signatures_are_accepted() -> None:
    others = f"— name {b64encode(b'12345').decode()}\n" * 15
    assert open_checkpoint(NOTE + others, TRUSTED) == CHECKPOINT


def test_a_vkey_is_read_back_as_the_key_it_names() -> None:
    algorithm_and_key = b64encode(b"\x01" + KEY.public).decode()
    assert vkey(KEY) == f"{ORIGIN}+{KEY.key_id.hex()}+{algorithm_and_key}"
    assert (TRUSTED.name, TRUSTED.key_id, TRUSTED.key.public) == (ORIGIN, KEY.key_id, KEY.public)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GO_VKEY + "\n",
        GO_VKEY.replace("c74f20a3", "C74F20A3"),
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("Peter", "Pete"),
        GO_VKEY.replace("+ARpc", "+AhpC"),
        GO_VKEY[:-4],
        GO_VKEY[:-1] + "=",
        GO_VKEY.replace("PeterNeumann", "Peter Neumann"),
        GO_VKEY.replace("PeterNeumann", "\ud800"),
    ],
)
def test_refuses_a_vkey_in_any_other_form(text: str) -> None:
    with pytest.raises(MalformedNoteError) as caught:
        parse_vkey(text)
    assert caught.value.rule == "vkey"
