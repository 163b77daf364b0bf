from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from keys.errors import DecryptionError, WrapperUnavailableError
from keys.secret import SecretBytes
from keys.wrappers import KeyWrapper
from keys.wrappers.keyfile import KeyFileWrapper


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "root.key"


def refused(rule: str, path: Path) -> None:
    with pytest.raises(WrapperUnavailableError) as caught:
        KeyFileWrapper(path)
    assert caught.value.rule == rule


def test_created_file_is_private_and_one_line(path: Path) -> None:
    KeyFileWrapper.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 86
    assert path.read_text().startswith("piivault-root-key-v1 ")


def test_created_file_opens_what_it_wrapped(path: Path) -> None:
    created: KeyWrapper = KeyFileWrapper.create(path)
    opened: KeyWrapper = KeyFileWrapper(path)
    wrapped = created.wrap(SecretBytes(b"key"), b"context")
    assert opened.unwrap(wrapped, b"context").expose() == b"key"
    assert opened.describe() == created.describe()


def test_file_and_directory_are_flushed_before_use(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    flush = os.fsync

    def record(file: int) -> None:
        flushed.append(os.fstat(file).st_ino)
        flush(file)

    monkeypatch.setattr(os, "fsync", record)
    KeyFileWrapper.create(path)
    assert flushed == [path.stat().st_ino, path.parent.stat().st_ino]


def test_file_that_cannot_be_flushed_is_not_left_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WrapperUnavailableError) as caught:
        KeyFileWrapper.create(path)
    assert caught.value.rule == "unwritable"
    assert not path.exists()


def test_refuses_to_write_over_a_file(path: Path) -> None:
    KeyFileWrapper.create(path)
    before = path.read_bytes()
    with pytest.raises(WrapperUnavailableError) as caught:
        KeyFileWrapper.create(path)
    assert caught.value.rule == "exists"
    assert path.read_bytes() == before


def test_refuses_to_write_through_a_symbolic_link(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WrapperUnavailableError):
        KeyFileWrapper.create(path)
    assert not (tmp_path / "elsewhere").exists()


def test_refuses_to_write_where_no_directory_is(tmp_path: Path) -> None:
    with pytest.raises(WrapperUnavailableError) as caught:
        KeyFileWrapper.create(tmp_path / "none" / "root.key")
    assert caught.value.rule == "unwritable"


def test_refuses_missing_file(path: Path) -> None:
    refused("missing", path)


def test_refuses_file_on_a_disk_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyFileWrapper.create(path)

    def fail(_file: int, _length: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    refused("unreadable", path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o602, 0o644])
def test_refuses_file_that_others_may_use(path: Path, mode: int) -> None:
    KeyFileWrapper.create(path)
    path.chmod(mode)
    refused("permissions", path)


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_accepts_file_of_its_owner_alone(path: Path, mode: int) -> None:
    KeyFileWrapper.create(path)
    path.chmod(mode)
    KeyFileWrapper(path)


def test_refuses_symbolic_link(path: Path, tmp_path: Path) -> None:
    KeyFileWrapper.create(path)
    link = tmp_path / "link.key"
    link.symlink_to(path)
    refused("not_regular", link)


def test_refuses_directory(path: Path) -> None:
    path.mkdir(mode=0o700)
    refused("not_regular", path)


def test_refuses_named_pipe_without_waiting(path: Path) -> None:
    os.mkfifo(path, 0o600)
    refused("not_regular", path)


def test_another_root_key_does_not_unwrap(path: Path, tmp_path: Path) -> None:
    one, other = KeyFileWrapper.create(path), KeyFileWrapper.create(tmp_path / "other.key")
    with pytest.raises(DecryptionError):
        other.unwrap(one.wrap(SecretBytes(b"key"), b""), b"")


def test_description_tells_files_apart_and_keeps_the_key(path: Path, tmp_path: Path) -> None:
    one, other = KeyFileWrapper.create(path), KeyFileWrapper.create(tmp_path / "other.key")
    assert one.describe().rpartition(" ")[2] != other.describe().rpartition(" ")[2]
    assert path.read_text()[21:37] not in one.describe()
