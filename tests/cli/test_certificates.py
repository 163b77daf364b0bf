"""Certificates by commands: list, take one along, and verify it with nothing but a public key."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from cli.remote import profiles
from tests.cli.conftest import Command
from tests.cli.stub import Canned, StubServer
from tests.vault.audit.builders import export_of, log_key, log_of
from tests.vault.audit.make_certificate_vectors import TEXT, note
from vault.audit.merkle import leaf_hash
from vault.audit.note import vkey

KEY = vkey(log_key())
ID = "crt_66778899aabbccddeeff"
SUMMARY = {
    "id": ID,
    "tombstone": 0,
    "subject": "sub_x",
    "ground": "subject_request",
    "log_index": 812,
    "decided_at": "2026-12-01T09:00:00+00:00",
    "verifies": True,
    "signed": True,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A certificate as ``show --out`` writes it."""
    path = tmp_path / "certificate.txt"
    path.write_text(note(TEXT), encoding="utf-8", newline="")
    return path


def served(command: Command, answer: dict[str, Any], *arguments: object) -> Any:
    with StubServer(Canned(200, answer)) as stub:
        profiles.save("default", profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", ""))
        return command("certificate", *arguments), stub.seen[0] if stub.seen else None


def test_list_shows_a_page_and_where_it_goes_on(command: Command) -> None:
    waiting = {**SUMMARY, "id": "crt_1", "signed": False}
    nothing = dict.fromkeys(("subject", "ground", "log_index", "decided_at"))
    altered = {**SUMMARY, **nothing, "id": "crt_2", "verifies": False, "signed": False}
    ran, _ = served(command, {"items": [SUMMARY, waiting, altered], "next": 7}, "list")
    assert ran.code == 0
    assert ID in ran.out
    assert "not yet" in ran.out
    assert "does not verify" in ran.out
    assert "--before 7" in ran.err


def test_list_goes_on_and_speaks_json(command: Command) -> None:
    ran, seen = served(command, {"items": [], "next": None}, "list", "--before", 7, "--json")
    assert ran.json == {"items": [], "next": None}
    assert seen.path == "/v1/certificates?before=7"
    assert "no certificate" in served(command, {"items": [], "next": None}, "list")[0].err


def test_show_prints_the_signed_text(command: Command) -> None:
    ran, seen = served(command, {**SUMMARY, "note": note(TEXT)}, "show", ID)
    assert (ran.code, ran.out) == (0, note(TEXT))
    assert seen.path == f"/v1/certificates/{ID}"


def test_show_writes_a_file_that_verifies(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    ran, _ = served(command, {**SUMMARY, "note": note(TEXT)}, "show", ID, "--out", path)
    assert ran.code == 0
    assert path.read_bytes().decode() == note(TEXT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert command("certificate", "verify", path, "--key", KEY).code == 0
    again, _ = served(command, {**SUMMARY, "note": note(TEXT)}, "show", ID, "--out", path, "--json")
    assert (again.code, again.json["error"]["rule"]) == (2, "exists")


def test_show_says_where_a_file_cannot_be_written(command: Command, tmp_path: Path) -> None:
    ran, _ = served(command, {**SUMMARY, "note": note(TEXT)}, "show", ID, "--out", tmp_path / "no" / "x")
    assert (ran.code, "cannot be written" in ran.err) == (2, True)


def test_show_of_one_that_is_not_signed_yet_says_so(command: Command) -> None:
    ran, _ = served(command, {**SUMMARY, "note": None}, "show", ID)
    assert (ran.code, "not signed yet" in ran.err) == (5, True)


def test_verify_says_every_line_and_who_signed(command: Command, file: Path) -> None:
    ran = command("certificate", "verify", file, "--key", KEY)
    assert ran.code == 0
    assert KEY.rpartition("+")[0] in ran.out
    for line in TEXT.splitlines()[1:]:
        assert f"  {line}\n" in ran.out
    assert "Not checked: that the entry is in the log" in ran.out


def test_verify_speaks_json(command: Command, file: Path) -> None:
    told = command("certificate", "verify", file, "--key", KEY, "--json").json
    assert (told["verified"], told["log_size"]) == (True, None)
    assert told["certificate"]["values_destroyed"] == "3"
    assert len(told["certificate"]["copies_hang_on"]) == 2


def test_verify_ends_with_6_when_it_does_not(command: Command, file: Path) -> None:
    genuine = file.read_bytes()
    for changed in (
        genuine.replace(b"destroyed: 3", b"destroyed: 0"),
        genuine.replace(b"\n", b"\r\n"),
        genuine.replace(b"\n", b"\r", 1),
        genuine + b" ",
        genuine[:-1],
        b"",
    ):
        file.write_bytes(changed)
        ran = command("certificate", "verify", file, "--key", KEY)
        assert (ran.code, "DOES NOT VERIFY" in ran.out) == (6, True)
    told = command("certificate", "verify", file, "--key", KEY, "--json")
    assert (told.code, told.json["verified"]) == (6, False)


def test_verify_takes_keys_from_files_and_several(command: Command, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "log.vkey"
    other.write_text(vkey(log_key(seed=b"other")) + "\n")
    both = ("--key-file", other, "--key", KEY)
    assert command("certificate", "verify", file, *both).code == 0
    assert command("certificate", "verify", file, "--key-file", other).code == 6


def test_verify_looks_for_the_entry_in_an_export(command: Command, file: Path, tmp_path: Path) -> None:
    log = log_of(10)
    export_of(tmp_path / "export", log, [10])
    text = TEXT.replace(TEXT.partition("leaf hash: ")[2][:64], leaf_hash(log[3]).hex())
    file.write_text(note(text), encoding="utf-8", newline="")
    ran = command("certificate", "verify", file, "--key", KEY, "--export", tmp_path / "export")
    assert (ran.code, "10 entries and this one is in it" in ran.out) == (0, True)
    file.write_text(note(TEXT), encoding="utf-8", newline="")
    ran = command("certificate", "verify", file, "--key", KEY, "--export", tmp_path / "export")
    assert (ran.code, "DOES NOT VERIFY: leaf" in ran.out) == (6, True)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ((), "required"),
        (("--key", "nonsense"), "vkey"),
        (("--key-file", "/nowhere"), "unreadable"),
        (("--key", KEY, "--export", "/nowhere"), "missing"),
    ],
)
def test_verify_says_what_is_wrong_with_what_it_was_given(
    command: Command, file: Path, options: tuple[str, ...], rule: str
) -> None:
    ran = command("certificate", "verify", file, *options, "--json")
    assert (ran.code, ran.json["error"]["rule"]) == (2, rule)


def test_verify_of_what_is_no_text_says_so(command: Command, file: Path, tmp_path: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    assert command("certificate", "verify", file, "--key", KEY).code == 2
    assert command("certificate", "verify", tmp_path / "none", "--key", KEY).code == 2


def test_export_that_cannot_be_read_is_said_to_be(
    command: Command, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vault.audit.verify.export.read_plain", unreadable)
    ran = command("certificate", "verify", file, "--key", KEY, "--export", tmp_path, "--json")
    assert (ran.code, ran.json["error"]["rule"]) == (2, "unreadable")
