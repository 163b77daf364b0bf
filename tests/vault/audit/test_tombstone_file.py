"""The tombstone file is appended to by several processes, through losses of power, and never made shorter."""

from __future__ import annotations

import multiprocessing
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.vault.audit.builders import log_key
from tests.vault.audit.make_tombstone_vectors import NEW, OLD
from vault.audit.note import parse_vkey, vkey
from vault.audit.tombstone_file import Seen, TombstoneFile
from vault.audit.tombstones import Tombstone, head_path, read
from vault.domain.errors import TamperDetectedError, UnavailableError

KEYS = [parse_vkey(vkey(OLD)), parse_vkey(vkey(NEW))]
AT_US = 1_795_500_000_000_000


def acts(stop: int, start: int = 0) -> list[Tombstone]:
    return [Tombstone(seq, 10 * seq + 5, "erase", 1 + seq, AT_US + seq) for seq in range(start, stop)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to lie."""
    return tmp_path / "tombstones"


@pytest.fixture
def file(path: Path) -> TombstoneFile:
    """Nothing written yet."""
    return TombstoneFile(path)


def write(file: TombstoneFile, rows: Sequence[Tombstone], *, size: int = 0, signer: object = OLD) -> Seen:
    """Bring the file to ``rows``, as whoever has the table does."""
    assert signer in (OLD, NEW)
    with file.hold(KEYS) as seen:
        count = seen.start + len(seen.fresh)
        file.append(rows[count:], size, OLD if signer is OLD else NEW)
    return seen


def test_lines_and_head_are_there_when_append_returns(file: TombstoneFile, path: Path) -> None:
    write(file, acts(3), size=40)
    assert read(path, KEYS) == (acts(3), 40)


def test_goes_on_behind_what_is_there(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    assert write(file, acts(5), size=50).fresh == acts(2)
    assert write(file, acts(5), size=50) == Seen(5, [], 0)
    assert read(path, KEYS) == (acts(5), 50)


def test_while_two_keys_sign_either_alone_reads_the_newest_file(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    with file.hold(KEYS):
        file.append(acts(4, 2), 40, NEW, OLD)
    for key in KEYS:
        assert read(path, [key]) == (acts(4), 40)


def test_another_process_reads_what_it_has_not_seen(path: Path) -> None:
    one, two = TombstoneFile(path), TombstoneFile(path)
    write(one, acts(2), size=20)
    assert write(two, acts(3), size=30) == Seen(0, acts(2), 0)
    assert write(one, acts(4), size=40) == Seen(0, acts(3), 0)
    assert write(two, acts(4), size=40) == Seen(3, acts(4, 3), 0)
    assert read(path, KEYS) == (acts(4), 40)


def test_nobody_erased_is_stated_too(file: TombstoneFile, path: Path) -> None:
    write(file, [], size=12)
    assert read(path, KEYS) == ([], 12)
    assert not path.exists()


def test_head_goes_on_with_the_log_and_never_back(file: TombstoneFile, path: Path) -> None:
    write(file, acts(1), size=30)
    write(file, acts(1), size=20)
    assert read(path, KEYS).through == 30
    write(file, acts(1), size=31)
    assert read(path, KEYS).through == 31


def test_nothing_new_writes_nothing(file: TombstoneFile, path: Path) -> None:
    write(file, acts(1), size=30)
    before = head_path(path).stat().st_ino, path.stat().st_mtime_ns
    write(file, acts(1), size=30)
    assert (head_path(path).stat().st_ino, path.stat().st_mtime_ns) == before


def test_rotated_key_signs_what_follows(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    write(file, acts(4), size=40, signer=NEW)
    assert read(path, KEYS) == (acts(4), 40)
    assert NEW.name == OLD.name


def test_head_of_a_log_that_began_anew_takes_the_place_of_the_old(path: Path) -> None:
    restored = log_key("vault.example/log/r2", seed=b"r2")
    keys = [*KEYS, parse_vkey(vkey(restored))]
    file = TombstoneFile(path)
    write(file, acts(2), size=900)
    with file.hold(keys):
        file.append([Tombstone(2, 0, "erase", 9, AT_US)], 1, restored)
    assert read(path, keys).through == 1


@pytest.mark.parametrize(
    "torn", [b"3", b"3 35 erase 4 2026", b"3 35 erase 4 2026-11-24T06:00:00.0", bytes(300)]
)
def test_torn_last_line_is_cut_off_and_written_again(file: TombstoneFile, path: Path, torn: bytes) -> None:
    write(file, acts(3), size=30)
    with path.open("ab") as end:
        end.write(torn)
    assert read(path, KEYS).tombstones == acts(3)
    write(TombstoneFile(path), acts(4), size=40)
    assert read(path, KEYS) == (acts(4), 40)


def test_torn_line_is_cut_off_also_when_nothing_follows(file: TombstoneFile, path: Path) -> None:
    write(file, acts(3), size=30)
    whole = path.read_bytes()
    path.write_bytes(whole + b"3 35 era")
    write(file, acts(3), size=30)
    assert path.read_bytes() == whole


def test_middle_of_a_write_that_was_lost_is_written_again(file: TombstoneFile, path: Path) -> None:
    """A file system may keep the end of a write and leave zeros before it."""
    write(file, acts(3), size=30)
    whole, head = path.read_bytes(), head_path(path).read_bytes()
    write(file, acts(6), size=60)
    rest = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + bytes(200) + rest[200:])
    head_path(path).write_bytes(head)
    assert write(TombstoneFile(path), acts(6), size=60) == Seen(0, acts(3), 0)
    assert read(path, KEYS) == (acts(6), 60)


def test_power_lost_between_lines_and_head_leaves_a_file_that_goes_on(
    file: TombstoneFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, acts(2), size=20)

    def lost(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as power:
        power.setattr("vault.audit.tombstone_file.replace_file", lost)
        with pytest.raises(UnavailableError):
            write(file, acts(5), size=50)
    assert read(path, KEYS) == (acts(5), 20)
    assert write(file, acts(6), size=60).fresh == acts(5)
    assert read(path, KEYS) == (acts(6), 60)


def test_deleted_file_is_written_anew_and_said_to_be_lost(file: TombstoneFile, path: Path) -> None:
    write(file, acts(3), size=30)
    path.unlink()
    with pytest.raises(TamperDetectedError, match="cut"):
        read(path, KEYS)
    assert write(file, acts(4), size=40) == Seen(0, [], 3)
    assert read(path, KEYS) == (acts(4), 40)


def test_deleted_file_and_head_are_written_anew(file: TombstoneFile, path: Path) -> None:
    write(file, acts(3), size=30)
    path.unlink()
    head_path(path).unlink()
    assert write(file, acts(3), size=30) == Seen(0, [], 0)
    assert read(path, KEYS) == (acts(3), 30)


def test_file_that_was_cut_is_written_anew_and_said_to_be_lost(file: TombstoneFile, path: Path) -> None:
    write(file, acts(3), size=30)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert write(file, acts(3), size=30) == Seen(0, acts(2), 1)
    assert read(path, KEYS) == (acts(3), 30)


def test_lines_rewritten_under_a_new_key_never_lie_beside_the_old_head(
    file: TombstoneFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, acts(3), size=30)
    path.unlink()

    def lost(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as power:
        power.setattr("vault.audit.tombstone_file.replace_file", lost)
        with pytest.raises(UnavailableError):
            write(file, acts(3), size=30, signer=NEW)
    assert read(path, KEYS).tombstones == acts(3)
    write(file, acts(3), size=30, signer=NEW)
    assert read(path, KEYS) == (acts(3), 30)


def test_older_head_beside_the_file_is_replaced(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    old = head_path(path).read_bytes()
    write(file, acts(4), size=40)
    head_path(path).write_bytes(old)
    assert write(file, acts(4), size=40) == Seen(0, acts(4), 0)
    assert read(path, KEYS) == (acts(4), 40)


def test_older_file_with_its_own_head_is_seen_to_be_shorter(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    older = path.read_bytes(), head_path(path).read_bytes()
    write(file, acts(4), size=40)
    path.write_bytes(older[0])
    head_path(path).write_bytes(older[1])
    assert read(path, KEYS) == (acts(2), 20)
    assert write(file, acts(4), size=40) == Seen(0, acts(2), 0)
    assert read(path, KEYS) == (acts(4), 40)


@pytest.mark.parametrize("seen_before", [False, True])
def test_changed_line_that_the_head_counts_is_refused_and_left(path: Path, *, seen_before: bool) -> None:
    file = TombstoneFile(path)
    write(file, acts(3), size=30)
    changed = path.read_bytes().replace(b" erase 2 ", b" erase 7 ")
    path.unlink()
    path.with_name("copy").write_bytes(changed)
    path.with_name("copy").rename(path)
    if not seen_before:
        file = TombstoneFile(path)
    with pytest.raises(TamperDetectedError, match="line 1: signature"), file.hold(KEYS):
        pass
    assert path.read_bytes() == changed


def test_line_changed_in_place_is_found_when_the_file_is_looked_at_again(
    file: TombstoneFile, path: Path
) -> None:
    write(file, acts(3), size=30)
    write(file, acts(3), size=30)
    with path.open("r+b") as lines:
        lines.seek(path.read_bytes().index(b" erase 2 ") + 7)
        lines.write(b"7")
    assert write(file, acts(3), size=30).fresh == []
    file.forget()
    with pytest.raises(TamperDetectedError, match="line 1: signature"), file.hold(KEYS):
        pass


def test_line_changed_behind_what_was_seen_is_found_with_the_whole_file(
    file: TombstoneFile, path: Path
) -> None:
    write(file, acts(3), size=30)
    write(file, acts(3), size=30)
    write(TombstoneFile(path), acts(6), size=60)
    path.write_bytes(path.read_bytes().replace(b" erase 5 ", b" erase 7 "))
    with pytest.raises(TamperDetectedError, match="line 4: signature"), file.hold(KEYS):
        pass


def test_file_cut_in_place_behind_what_was_seen_is_looked_at_whole(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    write(file, acts(2), size=20)
    write(TombstoneFile(path), acts(6), size=60)
    os.truncate(path, sum(map(len, path.read_bytes().splitlines(keepends=True)[:4])))
    assert write(file, acts(6), size=60) == Seen(0, acts(4), 2)
    assert read(path, KEYS) == (acts(6), 60)


def test_head_of_another_chain_is_refused(file: TombstoneFile, path: Path) -> None:
    write(file, acts(3), size=30)
    other = TombstoneFile(path.with_name("other"))
    write(other, acts(3), size=30, signer=NEW)
    head_path(other.path).replace(head_path(path))
    with pytest.raises(TamperDetectedError, match="chain"), file.hold(KEYS):
        pass


def test_newest_key_alone_goes_on_behind_lines_of_one_that_is_gone(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    write(file, acts(3), size=30, signer=NEW)
    with TombstoneFile(path).hold(KEYS[1:]) as seen:
        assert seen == Seen(0, acts(3), 0)
    assert read(path, KEYS[1:]) == (acts(3), 30)


def test_line_of_a_stranger_that_nobody_counts_is_cut_off(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    whole = path.read_bytes()
    other = TombstoneFile(path.with_name("other"))
    write(other, acts(2), size=20)
    other_key = log_key("other.example/log", seed=b"other")
    with other.hold(KEYS):
        other.append(acts(3, 2), 30, other_key)
    path.write_bytes(other.path.read_bytes())
    assert write(file, acts(2), size=20) == Seen(0, acts(2), 0)
    assert path.read_bytes() == whole


def test_line_of_a_stranger_in_the_place_of_one_that_is_counted_is_refused(
    file: TombstoneFile, path: Path
) -> None:
    write(file, acts(3), size=30)
    other = TombstoneFile(path.with_name("other"))
    write(other, acts(2), size=20)
    with other.hold(KEYS):
        other.append(acts(3, 2), 30, log_key("other.example/log", seed=b"other"))
    path.write_bytes(other.path.read_bytes())
    with pytest.raises(TamperDetectedError, match="line 2: key"), file.hold(KEYS):
        pass


def test_what_is_not_the_next_line_is_not_written(file: TombstoneFile, path: Path) -> None:
    write(file, acts(2), size=20)
    with file.hold(KEYS), pytest.raises(ValueError, match="not the next"):
        file.append(acts(4, 3), 40, OLD)
    assert read(path, KEYS) == (acts(2), 20)


def test_files_are_their_owners_alone(file: TombstoneFile, path: Path) -> None:
    before = os.umask(0)
    try:
        write(file, acts(2), size=20)
    finally:
        os.umask(before)
    modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    assert modes == {"tombstones": 0o600, "tombstones.head": 0o600, "tombstones.lock": 0o600}


def test_folder_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        write(TombstoneFile(tmp_path / "nowhere" / "tombstones"), acts(1))


def test_lines_are_on_disk_before_the_head_counts_them(
    file: TombstoneFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    flush = os.fsync

    def noted(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        flush(descriptor)

    monkeypatch.setattr("os.fsync", noted)
    write(file, acts(1), size=10)
    assert order.index("tombstones") < order.index("tombstones.head.new")
    assert order[-1] == file.path.parent.name


def _contend(path: Path, count: int, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]  # its class has no public name
    file = TombstoneFile(path)
    for stop in range(1, count + 1):
        write(file, acts(stop), size=10 * stop)


def test_two_processes_append_at_once_and_every_line_is_there_once(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    both = [context.Process(target=_contend, args=(path, 25, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert read(path, KEYS) == (acts(25), 250)
