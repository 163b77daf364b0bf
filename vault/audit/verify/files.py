"""Reading a folder somebody else made: plain files of bounded size, nothing followed, nothing run."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from vault.audit.bundles import BUNDLE_WIDTH, MalformedBundleError, parse_bundle_path
from vault.audit.folder import CHECKPOINT_FILE, CHECKPOINTS_FILE, README_FILE

_NAMED_FILES: Final = frozenset({CHECKPOINT_FILE, CHECKPOINTS_FILE, README_FILE})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


class AbsentFileError(Exception):
    """There is no plain file at the path: nothing at all, a link, a folder, a device or a pipe."""


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading.

    Raises:
        AbsentFileError: there is none.
        OSError: there is one and it cannot be read.

    """
    # O_NONBLOCK: a pipe under the name of a bundle must not hold the verifier up.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _ABSENT:
            raise AbsentFileError from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AbsentFileError
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path, *, limit: int) -> bytes:
    """Return the content of a plain file, or its first ``limit + 1`` bytes if it is larger.

    Raises:
        AbsentFileError: there is none.
        OSError: there is one and it cannot be read.

    """
    with open_plain(path) as file:
        return file.read(limit + 1)


def unexpected_files(folder: Path, size: int) -> Iterator[str]:
    """Yield the paths, relative to ``folder``, that an export of ``size`` entries does not have."""
    for path, plain in _walk(folder, ""):
        if not plain or not _is_expected(path, size):
            yield path


def _is_expected(path: str, size: int) -> bool:
    if path in _NAMED_FILES:
        return True
    try:
        index, width = parse_bundle_path(path)
    except MalformedBundleError:
        return False
    return width == min(BUNDLE_WIDTH, size - index * BUNDLE_WIDTH)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(folder) as found:
        members = sorted(found, key=lambda member: member.name)
    for member in members:
        path = prefix + member.name
        if member.is_dir(follow_symlinks=False):
            yield from _walk(Path(member.path), f"{path}/")
        else:
            yield path, member.is_file(follow_symlinks=False)
