"""Somebody changes the log. Whatever they change, and whatever they sign, it is found."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vault.audit.builders import checkpoint_note, export_of, log_key, log_of
from tests.vault.audit.verify.test_verify import findings, framed, rejected
from vault.audit.bundles import encode_bundle, parse_bundle
from vault.audit.folder import write_export
from vault.audit.note import checkpoint_unverified, sign_note, vkey
from vault.audit.verify import Finding, verify_export

LOG = log_of(600)
SIZES = (100, 256, 300, 600)
GENUINE = [checkpoint_note(LOG, size) for size in SIZES]
VKEY = vkey(log_key())
OTHER_KEY = log_key(seed=b"the adversary's own")


def rewrite(folder: Path, log: list[bytes]) -> None:
    """Replace the entries of an export, leaving its checkpoints."""
    shutil.rmtree(folder / "tile")
    spare = folder.with_name("spare")
    write_export(spare, log, [checkpoint_note(log, len(log), OTHER_KEY)])
    (spare / "tile").rename(folder / "tile")
    shutil.rmtree(spare)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export = tmp_path / "export"
    write_export(export, LOG, GENUINE)
    return export


def test_any_byte_of_the_evidence_that_changes_is_found(tmp_path: Path) -> None:
    export_of(tmp_path, LOG[:2], [1, 2])
    verify_export(tmp_path, VKEY)
    for path in (tmp_path / "checkpoint", tmp_path / "checkpoints", tmp_path / "tile/entries/000.p/2"):
        genuine = path.read_bytes()
        for at in range(len(genuine)):
            changed = bytearray(genuine)
            changed[at] ^= 1 << at % 8
            path.write_bytes(changed)
            assert findings(tmp_path), (path.name, at)
        path.write_bytes(genuine)
    assert verify_export(tmp_path, VKEY).entries == 2


def edit(log: list[bytes]) -> None:
    """Put somebody else's name under an act, in bytes that are a valid entry."""
    log[150] = log[150].replace("김민지".encode(), "김민수".encode())


def delete(log: list[bytes]) -> None:
    del log[150]


def insert(log: list[bytes]) -> None:
    log.insert(150, log_of(601)[600])


def repeat(log: list[bytes]) -> None:
    log.insert(150, log[150])


def swap(log: list[bytes]) -> None:
    log[150], log[151] = log[151], log[150]


def move(log: list[bytes]) -> None:
    log.append(log.pop(150))


@pytest.mark.parametrize("change", [edit, delete, insert, repeat, swap, move])
def test_a_changed_history_disagrees_from_the_checkpoint_before_it(
    folder: Path, change: Callable[[list[bytes]], None]
) -> None:
    log = LOG.copy()
    change(log)
    rewrite(folder, (log + LOG[-1:])[:600])
    assert rejected(folder).findings == (Finding("root_mismatch", 100, "size 256"),)


def test_a_change_after_the_last_but_one_checkpoint_is_placed_there(folder: Path) -> None:
    rewrite(folder, LOG[:599] + LOG[:1])
    assert rejected(folder).findings == (Finding("root_mismatch", 300, "size 600"),)


def test_a_change_before_the_first_checkpoint_is_placed_at_the_start(folder: Path) -> None:
    rewrite(folder, LOG[1:2] + LOG[1:])
    assert rejected(folder).findings == (Finding("root_mismatch", 0, "size 100"),)


def test_two_bundles_that_change_places_are_found(folder: Path) -> None:
    first, second = folder / "tile/entries/000", folder / "tile/entries/001"
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    assert rejected(folder).findings == (Finding("root_mismatch", 0, "size 100"),)


def test_entries_that_move_between_bundles_are_found(folder: Path) -> None:
    paths = folder / "tile/entries/000", folder / "tile/entries/001"
    first, second = (parse_bundle(path.read_bytes(), 256) for path in paths)
    first[255], second[0] = second[0], first[255]
    for path, entries in zip(paths, (first, second), strict=True):
        path.write_bytes(encode_bundle(entries))
    assert rejected(folder).findings == (Finding("root_mismatch", 100, "size 256"),)


def test_a_boundary_that_moves_between_two_entries_is_found(folder: Path) -> None:
    path = folder / "tile/entries/000"
    entries = parse_bundle(path.read_bytes(), 256)
    entries[10], entries[11] = entries[10] + entries[11][:1], entries[11][1:]
    path.write_bytes(encode_bundle(entries))
    assert findings(folder) == {
        Finding("malformed_entry", 10, "json"),
        Finding("malformed_entry", 11, "json"),
        Finding("root_mismatch", 0, "size 100"),
    }


def test_a_truncated_log_misses_a_bundle(folder: Path) -> None:
    rewrite(folder, LOG[:500])
    assert findings(folder) == {
        Finding("missing_bundle", 256),
        Finding("unexpected_file", detail="tile/entries/001.p/244"),
    }


def test_a_log_truncated_with_its_checkpoints_is_found_by_a_checkpoint_kept_outside(tmp_path: Path) -> None:
    write_export(tmp_path, LOG, GENUINE[:3])
    assert verify_export(tmp_path, VKEY).size == 300
    assert rejected(tmp_path, known=(GENUINE[3],)).findings == (
        Finding("shorter_than_known", 300, "size 600"),
    )


def test_a_history_rewritten_and_signed_again_is_found_by_a_checkpoint_kept_outside(tmp_path: Path) -> None:
    forged = LOG.copy()
    edit(forged)
    export_of(tmp_path, forged, SIZES)
    assert verify_export(tmp_path, VKEY).size == 600
    known = tuple(reversed(GENUINE))
    assert findings(tmp_path, known=known) == {
        Finding("inconsistent_with_known", 100, f"size {size}") for size in (256, 300, 600)
    }


def test_a_history_rewritten_under_its_old_checkpoints_disagrees_with_them(tmp_path: Path) -> None:
    forged = LOG.copy()
    edit(forged)
    write_export(tmp_path, forged, [*GENUINE[:3], checkpoint_note(forged, 600)])
    assert rejected(tmp_path).findings == (Finding("root_mismatch", 100, "size 256"),)


def test_a_log_signed_by_another_key_is_not_signed(tmp_path: Path) -> None:
    export_of(tmp_path, LOG, [300, 600], OTHER_KEY)
    assert findings(tmp_path) == {
        Finding("bad_signature", detail="checkpoint"),
        Finding("bad_signature", detail="checkpoints[0]"),
        Finding("bad_signature", detail="checkpoints[1]"),
    }


def test_a_key_inside_the_export_proves_nothing(tmp_path: Path) -> None:
    export_of(tmp_path, LOG, [600], OTHER_KEY)
    (tmp_path / "vkey").write_text(vkey(OTHER_KEY))
    assert {"bad_signature", "unexpected_file"} == {finding.rule for finding in findings(tmp_path)}


def test_the_checkpoint_of_another_log_of_the_same_key_has_the_wrong_origin(tmp_path: Path) -> None:
    forged = sign_note(
        replace(checkpoint_unverified(GENUINE[3]), origin="other.example/log").text(), log_key()
    )
    write_export(tmp_path, LOG, [forged])
    assert findings(tmp_path) == {
        Finding("wrong_origin", detail="checkpoint"),
        Finding("wrong_origin", detail="checkpoints[0]"),
    }


def test_a_checkpoint_put_back_is_not_the_latest(folder: Path) -> None:
    (folder / "checkpoint").write_text(GENUINE[2])
    assert {finding.rule for finding in findings(folder)} == {
        *("missing_bundle", "unexpected_file", "checkpoint_mismatch"),
    }


def test_a_stored_checkpoint_that_is_taken_away_is_missed_only_by_who_kept_it(folder: Path) -> None:
    (folder / "checkpoints").write_bytes(framed(GENUINE[0], GENUINE[3]))
    assert verify_export(folder, VKEY, known_checkpoints=GENUINE).checkpoints == 2


def test_a_known_checkpoint_that_is_forged_is_said_to_be_invalid(folder: Path) -> None:
    forged = checkpoint_note(LOG, 300, OTHER_KEY)
    elsewhere = checkpoint_note(LOG, 300, log_key("other.example/log"))
    assert findings(folder, known=(GENUINE[0], forged, elsewhere, "x")) == {
        Finding("known_invalid", detail="known[1]: bad_signature"),
        Finding("known_invalid", detail="known[2]: bad_signature"),
        Finding("known_invalid", detail="known[3]: shape"),
    }


def test_no_random_damage_passes_and_none_is_fatal(folder: Path) -> None:
    chance = random.Random(7)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.txt")
    for _ in range(30):
        path = chance.choice(paths)
        genuine = path.read_bytes()
        at = chance.randrange(len(genuine))
        cut = chance.randrange(1, 40)
        path.write_bytes(genuine[:at] + chance.randbytes(chance.choice([0, cut, 3])) + genuine[at + cut :])
        assert findings(folder), path.name
        path.write_bytes(genuine)
    assert verify_export(folder, VKEY).entries == 600


def test_findings_hold_nothing_of_an_entry(folder: Path) -> None:
    path = folder / "tile/entries/000"
    path.write_bytes(path.read_bytes().replace("김민지".encode(), b"\xff" * 9))
    report = rejected(folder)
    assert len(report.findings) > 256
    assert not re.search("stf_|req_|member|203[.]", repr(report))
