"""An export holds what is stored, unreadable for others, and shows when it was interrupted."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vault.audit.builders import checkpoint_note, export_of, log_of
from vault.audit.bundles import parse_bundle
from vault.audit.folder import MalformedFramingError, Written, read_notes, write_export
from vault.audit.note import MalformedNoteError
from vault.domain.errors import ConflictError, NotFoundError

LOG = log_of(300)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_holds_entries_checkpoints_and_how_to_verify(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "export"
    notes = export_of(folder, LOG, [3, 300])
    assert files_of(folder) == {
        *("README.txt", "checkpoint", "checkpoints"),
        *("tile/entries/000", "tile/entries/001.p/44"),
    }
    assert (folder / "checkpoint").read_text() == notes[1]
    first = parse_bundle((folder / "tile/entries/000").read_bytes(), 256)
    last = parse_bundle((folder / "tile/entries/001.p/44").read_bytes(), 44)
    assert first + last == LOG
    with (folder / "checkpoints").open("rb") as file:
        assert [note.decode() for note in read_notes(file)] == notes
    assert "piivault audit verify" in (folder / "README.txt").read_text()


def test_says_what_it_wrote_and_leaves_out_what_no_checkpoint_covers(tmp_path: Path) -> None:
    written = write_export(tmp_path, iter(LOG), iter([checkpoint_note(LOG, 3), checkpoint_note(LOG, 256)]))
    assert written == Written(entries=256, checkpoints=2)
    assert "tile/entries/000" in files_of(tmp_path)
    assert "tile/entries/001.p/44" not in files_of(tmp_path)


def test_an_empty_log_has_no_bundles(tmp_path: Path) -> None:
    export_of(tmp_path, [], [0])
    assert files_of(tmp_path) == {"README.txt", "checkpoint", "checkpoints"}


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    export_of(folder, LOG, [300])
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ConflictError):
        export_of(tmp_path, LOG, [300])
    assert files_of(tmp_path) == {"mine"}


def test_refuses_a_log_without_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        write_export(tmp_path, LOG, [])


def test_refuses_a_last_checkpoint_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MalformedNoteError):
        write_export(tmp_path, LOG, ["no checkpoint"])


def test_an_interrupted_export_has_no_checkpoint(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield from LOG[:260]
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_export(tmp_path, interrupted(), [checkpoint_note(LOG, 300)])
    assert "checkpoint" not in files_of(tmp_path)


def test_a_log_with_a_hole_is_exported_as_it_is(tmp_path: Path) -> None:
    written = write_export(tmp_path, LOG[:100] + LOG[101:], [checkpoint_note(LOG, 300)])
    assert written.entries == 299


@pytest.mark.parametrize(
    "data",
    [
        b"3\nab",
        b"x\nabc",
        b"03\nabc",
        b"0\n",
        b"3",
        b"3 \nabc",
        b"-3\nabc",
        b"100001\n" + bytes(100_001),
        b"3\nabcd",
    ],
)
def test_refuses_checkpoints_framed_in_any_other_way(data: bytes) -> None:
    with pytest.raises(MalformedFramingError):
        list(read_notes(io.BytesIO(data)))
