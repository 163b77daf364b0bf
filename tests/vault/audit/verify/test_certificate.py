"""A certificate verifies offline, with the public key alone; a changed character anywhere is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vault.audit.builders import ORIGIN, export_of, log_key, log_of
from tests.vault.audit.make_certificate_vectors import TEXT, content, note
from tests.vault.audit.make_vectors import VECTORS
from vault.audit.certificate import open_certificate, sign_certificate
from vault.audit.merkle import leaf_hash
from vault.audit.note import MalformedNoteError, WrongOriginError, parse_vkey, vkey
from vault.audit.verify import CertificateRejectedError, verify_certificate

CONTENT: dict[str, Any] = json.loads((VECTORS / "certificate.json").read_text())
DOCUMENT = Path(__file__).parents[4] / "docs" / "formats" / "certificate.md"
KEY = vkey(log_key())
NEW = vkey(log_key(seed=b"log after a rotation"))
LEAF = TEXT.partition("leaf hash: ")[2][:64]


def standing_in(log: list[bytes], index: int) -> str:
    """Return the note of a certificate whose entry is the one at ``index`` of ``log``."""
    text = TEXT.replace("log index: 3", f"log index: {index}")
    return note(text.replace(LEAF, leaf_hash(log[index]).hex()))


def test_vectors_are_those_of_their_maker() -> None:
    assert content() == CONTENT


@pytest.mark.parametrize("vector", CONTENT["valid"], ids=lambda vector: vector["name"])
def test_genuine_certificate_verifies_and_is_written_back_alike(vector: dict[str, Any]) -> None:
    verified = verify_certificate(vector["note"], [KEY])
    assert vector["note"].startswith(verified.certificate.text() + "\n")
    assert verified.key == KEY.rpartition("+")[0]
    assert verified.log_size is None


@pytest.mark.parametrize("vector", CONTENT["malformed"], ids=lambda vector: vector["name"])
def test_what_breaks_a_rule_is_refused_by_it(vector: dict[str, Any]) -> None:
    with pytest.raises(CertificateRejectedError) as refused:
        verify_certificate(vector["note"], [KEY])
    assert refused.value.rule == vector["rule"]


def test_document_names_every_line_and_rule() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for line in TEXT.splitlines()[1:]:
        assert f"`{line.partition(':')[0]}`" in text
    for rule in ("bad_signature", "wrong_origin", "shape", "line", "export", "not_covered", "leaf"):
        assert f"`{rule}`" in text


def test_any_changed_character_is_refused() -> None:
    genuine = note(TEXT)
    for at, character in enumerate(genuine):
        for other in {"x", "0", " "} - {character}:
            with pytest.raises(CertificateRejectedError):
                verify_certificate(genuine[:at] + other + genuine[at + 1 :], [KEY])


def test_any_left_out_character_is_refused() -> None:
    genuine = note(TEXT)
    for at in range(len(genuine)):
        with pytest.raises(CertificateRejectedError):
            verify_certificate(genuine[:at] + genuine[at + 1 :], [KEY])


def test_key_in_the_file_proves_nothing() -> None:
    forger = log_key(seed=b"forger")
    with pytest.raises(CertificateRejectedError):
        verify_certificate(note(TEXT, forger) + vkey(forger) + "\n", [KEY])
    with pytest.raises(CertificateRejectedError, match="bad_signature"):
        verify_certificate(note(TEXT, forger), [KEY])


def test_old_and_new_key_may_be_given_together() -> None:
    assert verify_certificate(note(TEXT), [NEW, KEY]).key == KEY.rpartition("+")[0]
    with pytest.raises(CertificateRejectedError, match="bad_signature"):
        verify_certificate(note(TEXT), [NEW])


def test_what_is_no_key_is_said_to_be_none() -> None:
    with pytest.raises(MalformedNoteError, match="vkey"):
        verify_certificate(note(TEXT), ["nonsense"])


def test_writer_makes_what_a_reader_takes() -> None:
    certificate = open_certificate(note(TEXT), parse_vkey(KEY))
    assert sign_certificate(certificate, log_key()) == note(TEXT)
    assert (certificate.log, certificate.log_index, certificate.leaf.hex()) == (ORIGIN, 3, LEAF)


def test_writer_refuses_what_a_reader_would() -> None:
    certificate = open_certificate(note(TEXT), parse_vkey(KEY))
    certificate.lines["ground"] = "two\nlines"
    with pytest.raises(MalformedNoteError):
        sign_certificate(certificate, log_key())
    with pytest.raises(WrongOriginError):
        sign_certificate(certificate, log_key("other.example/log"))


# With an export


@pytest.mark.parametrize(("size", "index"), [(4, 3), (300, 0), (300, 255), (300, 256), (300, 299)])
def test_entry_stands_in_the_export(tmp_path: Path, size: int, index: int) -> None:
    log = log_of(size)
    export_of(tmp_path / "export", log, [len(log)])
    verified = verify_certificate(standing_in(log, index), [KEY], export=tmp_path / "export")
    assert verified.log_size == size


def test_export_with_another_entry_there_is_refused(tmp_path: Path) -> None:
    log = log_of(10)
    export_of(tmp_path / "export", log, [len(log)])
    assert verify_certificate(standing_in(log, 4), [KEY], export=tmp_path / "export").log_size == 10
    other = note(TEXT.replace("log index: 3", "log index: 5").replace(LEAF, leaf_hash(log[4]).hex()))
    with pytest.raises(CertificateRejectedError, match="leaf"):
        verify_certificate(other, [KEY], export=tmp_path / "export")


def test_export_that_ends_before_the_entry_is_refused(tmp_path: Path) -> None:
    log = log_of(10)
    export_of(tmp_path / "export", log[:4], [len(log[:4])])
    with pytest.raises(CertificateRejectedError, match="not_covered"):
        verify_certificate(standing_in(log, 4), [KEY], export=tmp_path / "export")


def test_export_that_does_not_verify_is_refused(tmp_path: Path) -> None:
    log = log_of(10)
    export_of(tmp_path / "export", log, [len(log)])
    (tmp_path / "export" / "checkpoint").unlink()
    with pytest.raises(CertificateRejectedError, match="export"):
        verify_certificate(standing_in(log, 4), [KEY], export=tmp_path / "export")


def test_export_may_be_signed_by_the_other_key(tmp_path: Path) -> None:
    log = log_of(10)
    export_of(tmp_path / "export", log, [len(log)])
    old = note(
        TEXT.replace("log index: 3", "log index: 4").replace(LEAF, leaf_hash(log[4]).hex()),
        log_key(seed=b"log before a rotation"),
    )
    keys = [vkey(log_key(seed=b"log before a rotation")), KEY]
    assert verify_certificate(old, keys, export=tmp_path / "export").log_size == 10
