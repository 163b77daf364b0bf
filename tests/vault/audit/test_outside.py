"""The checkpoint outside the database is whole, flushed, private, and never goes back."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.vault.audit.builders import log_key
from vault.audit.note import Checkpoint, NoteKey, parse_vkey, sign_checkpoint, vkey
from vault.audit.outside import OutsideCheckpoint
from vault.domain.errors import TamperDetectedError, UnavailableError

KEY: NoteKey = parse_vkey(vkey(log_key()))


def note(size: int, root: bytes = bytes(32), *, seed: bytes = b"log") -> str:
    key = log_key(seed=seed)
    return sign_checkpoint(Checkpoint(key.name, size, root), key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where it is kept."""
    return tmp_path / "log" / "checkpoint"


@pytest.fixture
def outside(path: Path) -> OutsideCheckpoint:
    """Nothing kept yet."""
    path.parent.mkdir()
    return OutsideCheckpoint(path)


def kept_size(outside: OutsideCheckpoint) -> int:
    kept = outside.read(KEY)
    assert kept is not None
    return kept.size


def test_nothing_is_kept_before_the_first(outside: OutsideCheckpoint) -> None:
    assert outside.read(KEY) is None


def test_keeps_the_checkpoint_it_is_given(outside: OutsideCheckpoint, path: Path) -> None:
    outside.advance(note(7), KEY)
    assert outside.read(KEY) == Checkpoint(log_key().name, 7, bytes(32))
    assert path.read_text(encoding="utf-8") == note(7)


def test_keeps_a_longer_log_instead(outside: OutsideCheckpoint) -> None:
    outside.advance(note(7), KEY)
    outside.advance(note(9), KEY)
    assert kept_size(outside) == 9


def test_never_goes_back_to_a_shorter_log(outside: OutsideCheckpoint) -> None:
    outside.advance(note(9), KEY)
    outside.advance(note(7), KEY)
    assert kept_size(outside) == 9


def test_same_checkpoint_again_writes_nothing(outside: OutsideCheckpoint, path: Path) -> None:
    outside.advance(note(9), KEY)
    before = path.stat()
    outside.advance(note(9), KEY)
    assert path.stat().st_ino == before.st_ino


def test_another_log_of_the_same_size_is_refused(outside: OutsideCheckpoint) -> None:
    outside.advance(note(9), KEY)
    with pytest.raises(TamperDetectedError):
        outside.advance(note(9, b"\x01" * 32), KEY)
    assert outside.read(KEY) == Checkpoint(log_key().name, 9, bytes(32))


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\xff\xfe", note(9, seed=b"other").encode(), note(9).encode()[:-10]]
)
def test_what_does_not_verify_is_refused_and_not_replaced(
    outside: OutsideCheckpoint, path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(TamperDetectedError):
        outside.read(KEY)
    with pytest.raises(TamperDetectedError):
        outside.advance(note(10), KEY)
    assert path.read_bytes() == content


def test_files_are_their_owners_alone(outside: OutsideCheckpoint, path: Path) -> None:
    before = os.umask(0)
    try:
        outside.advance(note(7), KEY)
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"checkpoint": 0o600, "checkpoint.lock": 0o600}


def test_half_a_file_of_an_earlier_crash_is_written_over(outside: OutsideCheckpoint, path: Path) -> None:
    path.with_name("checkpoint.new").write_text("half a no")
    outside.advance(note(7), KEY)
    assert kept_size(outside) == 7


def test_folder_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    outside = OutsideCheckpoint(tmp_path / "nowhere" / "checkpoint")
    assert outside.read(KEY) is None
    with pytest.raises(UnavailableError):
        outside.advance(note(7), KEY)


def test_file_that_cannot_be_read_is_unavailable(outside: OutsideCheckpoint, path: Path) -> None:
    path.mkdir()
    with pytest.raises(UnavailableError):
        outside.read(KEY)
    with pytest.raises(UnavailableError):
        outside.advance(note(7), KEY)


def test_those_who_share_it_never_take_it_back(outside: OutsideCheckpoint, path: Path) -> None:
    """Processes of one host finish their rounds in any order."""
    notes = [note(size) for size in range(1, 41)]
    seen: list[int] = []

    def advance(mine: list[str]) -> None:
        sharing = OutsideCheckpoint(path)
        for one in mine:
            sharing.advance(one, KEY)
            seen.append(kept_size(sharing))

    threads = [threading.Thread(target=advance, args=(notes[at::4],)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept_size(outside) == 40
    assert len(seen) == 40
