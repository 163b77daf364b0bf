"""Small files that must be whole and must stay: locked, flushed, their owner's alone. All raise OSError."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

MODE: Final = 0o600


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes of this host, and other threads, away from ``path``; wait for who is there.

    The lock ends with the descriptor.
    """
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of ``path`` at the end, in one step, and is on disk then.

    It is there before anything is written, and is removed if anything is raised.
    Whoever calls this has ``path`` locked, or is alone with it.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(fresh, flags, MODE), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        flush_folder(path.parent)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``, all or nothing, on disk when this returns."""
    with replacing(path) as file:
        file.write(data)


def append_file(path: Path, data: bytes, *, at: int) -> None:
    """Cut ``path`` to ``at`` bytes and append ``data``, on disk when this returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, MODE), "wb") as file:
        file.truncate(at)
        file.seek(at)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush the names in ``folder`` to disk: that of a new file, too, must survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
