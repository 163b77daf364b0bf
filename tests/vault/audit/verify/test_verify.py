"""A genuine export verifies; an incomplete or ill-formed one is refused with what is wrong and where."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vault.audit.builders import (
    ORIGIN,
    checkpoint_note,
    entry_in_parts,
    entry_of,
    export_of,
    log_key,
    log_of,
    whole,
)
from vault.audit.entry import encode
from vault.audit.folder import write_export
from vault.audit.merkle import leaf_hash, roots_at
from vault.audit.note import Checkpoint, MalformedNoteError, sign_note, vkey
from vault.audit.verify import ExportRejectedError, Finding, Report, verify_export
from vault.audit.verify.report import FINDING_LIMIT, Findings

LOG = log_of(600)
SIZES = (1, 100, 256, 300, 600)
VKEY = vkey(log_key())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_of(tmp_path, LOG, SIZES)
    return tmp_path


def rejected(folder: Path, *, known: tuple[str, ...] = ()) -> Report:
    with pytest.raises(ExportRejectedError) as caught:
        verify_export(folder, VKEY, known_checkpoints=known)
    return caught.value.report


def findings(folder: Path, *, known: tuple[str, ...] = ()) -> set[Finding]:
    return set(rejected(folder, known=known).findings)


def test_a_genuine_export_verifies(folder: Path) -> None:
    report = verify_export(folder, VKEY)
    root = roots_at(map(leaf_hash, LOG), [600])[600]
    assert report == Report(ORIGIN, 600, root, entries=600, checkpoints=5, findings=(), omitted=0)


def test_an_export_of_an_empty_log_verifies(tmp_path: Path) -> None:
    export_of(tmp_path, [], [0])
    assert verify_export(tmp_path, VKEY).size == 0


def test_every_small_log_verifies_with_a_checkpoint_at_every_size(tmp_path: Path) -> None:
    for size in (1, 2, 3, 7, 8, 9):
        export_of(tmp_path / str(size), LOG, range(size + 1))
        assert verify_export(tmp_path / str(size), VKEY).checkpoints == size + 1


def test_checkpoints_kept_from_earlier_exports_agree(folder: Path) -> None:
    known = [checkpoint_note(LOG, size) for size in (300, 0, 17, 600, 17)]
    assert verify_export(folder, VKEY, known_checkpoints=known).entries == 600


def test_an_entry_in_parts_verifies(tmp_path: Path) -> None:
    log = [*LOG[:3], *encode(entry_in_parts()), *LOG[3:5]]
    export_of(tmp_path, log, [len(log)])
    assert verify_export(tmp_path, VKEY).entries == 7


def test_progress_is_told_after_every_bundle(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    verify_export(folder, VKEY, progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 600), (512, 600), (600, 600)]


def test_refuses_a_key_that_is_none(folder: Path) -> None:
    with pytest.raises(MalformedNoteError, match="vkey"):
        verify_export(folder, (folder / "checkpoint").read_text())


@pytest.mark.parametrize("name", ["checkpoint", "checkpoints"])
def test_reports_a_file_that_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert findings(folder) == {Finding("missing_file", detail=name)}


def test_the_readme_is_not_evidence(folder: Path) -> None:
    (folder / "README.txt").write_text("trust me")
    assert verify_export(folder, VKEY).entries == 600
    (folder / "README.txt").unlink()
    assert verify_export(folder, VKEY).entries == 600


def test_reports_a_folder_that_is_none_of_ours(tmp_path: Path) -> None:
    assert rejected(tmp_path) == Report(
        ORIGIN, 0, b"", 0, 0, (Finding("missing_file", detail="checkpoint"),), 0
    )


def test_the_error_says_what_is_wrong(folder: Path) -> None:
    (folder / "checkpoints").unlink()
    with pytest.raises(ExportRejectedError, match="1 findings, the first is missing_file"):
        verify_export(folder, VKEY)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [_link, _pipe, _folder, Path.unlink])
def test_a_bundle_that_is_no_plain_file_is_missing(folder: Path, change: Callable[[Path], None]) -> None:
    change(folder / "tile/entries/001")
    assert Finding("missing_bundle", 256) in findings(folder)


def test_nothing_is_read_through_a_link_for_a_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "tile").rename(elsewhere / "tile")
    (folder / "tile").symlink_to(elsewhere / "tile")
    assert Finding("unexpected_file", detail="tile") in findings(folder)


def test_a_file_that_cannot_be_read_is_an_error_and_no_verdict(folder: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        verify_export(folder / ("x" * 300), VKEY)


@pytest.mark.parametrize(
    "path",
    [
        "tile/entries/003",
        "tile/entries/002",
        "tile/entries/x000/001",
        "tile/0/000",
        "key.pub",
        "a\n\x1b[2J한",
    ],
)
def test_reports_what_does_not_belong_in_the_folder(folder: Path, path: str) -> None:
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_bytes(b"")
    assert findings(folder) == {Finding("unexpected_file", detail=ascii(path)[1:-1])}


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[:0], lambda data: data * 2],
)
def test_reports_a_bundle_that_is_malformed(folder: Path, change: Callable[[bytes], bytes]) -> None:
    path = folder / "tile/entries/001"
    path.write_bytes(change(path.read_bytes()))
    report = rejected(folder)
    assert report.findings == (Finding("malformed_bundle", 256),)
    assert report.entries == 256


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("", Finding("malformed_note", detail="checkpoint: shape")),
        ("x\n", Finding("malformed_note", detail="checkpoint: shape")),
        ("x" * 200_000, Finding("malformed_note", detail="checkpoint: size")),
    ],
)
def test_reports_a_latest_checkpoint_that_is_none(folder: Path, note: str, finding: Finding) -> None:
    (folder / "checkpoint").write_text(note)
    assert rejected(folder).findings == (finding,)


def test_reports_a_latest_checkpoint_that_is_not_text(folder: Path) -> None:
    (folder / "checkpoint").write_bytes(b"\xff")
    assert findings(folder) == {Finding("malformed_note", detail="checkpoint: utf8")}


def framed(*notes: str) -> bytes:
    return b"".join(b"%d\n" % len(note.encode()) + note.encode() for note in notes)


def test_reports_stored_checkpoints_that_are_malformed_and_goes_on(folder: Path) -> None:
    latest = (folder / "checkpoint").read_text()
    (folder / "checkpoints").write_bytes(framed("x\n", latest))
    assert findings(folder) == {Finding("malformed_note", detail="checkpoints[0]: shape")}


def test_reports_framing_that_is_malformed(folder: Path) -> None:
    path = folder / "checkpoints"
    path.write_bytes(path.read_bytes() + b"x")
    assert findings(folder) == {Finding("malformed_framing", detail="checkpoints")}


def test_reports_stored_checkpoints_out_of_order(folder: Path) -> None:
    notes = [checkpoint_note(LOG, size) for size in (300, 100, 300, 600)]
    (folder / "checkpoints").write_bytes(framed(*notes))
    assert findings(folder) == {
        Finding("checkpoint_order", detail="checkpoints[1]"),
        Finding("checkpoint_order", detail="checkpoints[2]"),
    }


def test_reports_a_latest_checkpoint_that_is_not_the_last_stored(folder: Path) -> None:
    (folder / "checkpoints").write_bytes(framed(checkpoint_note(LOG, 100)))
    assert findings(folder) == {Finding("checkpoint_mismatch")}


def test_reports_entries_that_are_malformed_under_a_genuine_checkpoint(tmp_path: Path) -> None:
    log = [*LOG[:2], b"{}", LOG[2], LOG[3] + b" "]
    export_of(tmp_path, log, [5])
    assert rejected(tmp_path).findings == (
        Finding("malformed_entry", 2, "version"),
        Finding("malformed_entry", 4, "canonical"),
    )


def test_reports_a_time_in_another_form(tmp_path: Path) -> None:
    log = [LOG[0], LOG[1].replace(b"2026-11-24T06", b"2026-11-24t06")]
    export_of(tmp_path, log, [2])
    assert findings(tmp_path) == {Finding("malformed_entry", 1, "time")}


FIRST, SECOND = encode(entry_in_parts())
OTHER = SECOND.replace("김민지".encode(), "김민수".encode())


@pytest.mark.parametrize(
    ("log", "indexes"),
    [
        ([LOG[0], FIRST, LOG[1]], [1]),
        ([LOG[0], FIRST], [1]),
        ([LOG[0], SECOND, LOG[1]], [1]),
        ([SECOND, FIRST], [0, 1]),
        ([FIRST, FIRST, SECOND], [0]),
        ([FIRST, SECOND, SECOND], [2]),
        ([FIRST, OTHER], [0]),
        ([FIRST, LOG[0], SECOND], [0, 2]),
        ([FIRST, SECOND.replace(b'"part":[2,2]', b'"part":[2,3]')], [0, 1]),
    ],
)
def test_reports_parts_that_do_not_fit_together(tmp_path: Path, log: list[bytes], indexes: list[int]) -> None:
    export_of(tmp_path, log, [len(log)])
    assert rejected(tmp_path).findings == tuple(Finding("part_sequence", index) for index in indexes)


def test_an_unreadable_part_is_reported_as_that(tmp_path: Path) -> None:
    export_of(tmp_path, [FIRST, b"{}", whole(entry_of())], [3])
    assert rejected(tmp_path).findings == (Finding("malformed_entry", 1, "version"),)


def test_a_signed_size_no_folder_can_have_is_refused_at_once(tmp_path: Path) -> None:
    key = log_key()
    note = sign_note(Checkpoint(ORIGIN, 2**63 - 1, bytes(32)).text(), key)
    write_export(tmp_path, LOG, [note])
    assert Finding("missing_bundle", 512) in findings(tmp_path)


def test_findings_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    log = [b"{}"] * (FINDING_LIMIT + 5)
    export_of(tmp_path, log, [len(log)])
    report = rejected(tmp_path)
    assert (len(report.findings), report.omitted) == (FINDING_LIMIT, 5)


def test_a_finding_is_kept_once() -> None:
    collected = Findings()
    for index in [*range(FINDING_LIMIT), 0, FINDING_LIMIT]:
        collected.add("rule", index)
    assert (len(collected.found), collected.omitted) == (FINDING_LIMIT, 1)


def test_a_known_checkpoint_behind_a_missing_bundle_is_not_taken_for_a_truncation(folder: Path) -> None:
    (folder / "tile/entries/001").unlink()
    assert findings(folder, known=(checkpoint_note(LOG, 300),)) == {Finding("missing_bundle", 256)}
