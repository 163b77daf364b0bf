"""Read and replace small secret files that nobody but their owner may use (docs/formats/envelope.md 7.5)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from keys import durable
from keys.errors import WrapperUnavailableError
from keys.secret import SecretBytes

_OTHERS = 0o077

HINTS = {
    "format": "put it back from its copy, unchanged",
    "missing": "put it back from its copy",
    "not_regular": "put the file itself there, no link and no pipe",
    "permissions": "ask who has read it, then: chmod 600",
    "unreadable": "the user of the vault has to own it, and its disk has to work",
    "unwritable": "it and its folder have to be writable",
}

_GONE = frozenset({"format", "missing"})


def fault(rule: str, about: str, anew: str = "") -> WrapperUnavailableError:
    """Return the error of a file; ``anew`` is what to do where it is gone and no copy of it is left."""
    hint = HINTS[rule]
    return WrapperUnavailableError(
        rule, about, f"{hint}; without one: {anew}" if anew and rule in _GONE else hint
    )


def read_private(path: Path, *, what: str, limit: int, anew: str = "") -> SecretBytes:
    """Return the ``limit`` bytes or fewer in ``path``, checked on the open file so that nobody can swap it.

    Raises WrapperUnavailableError, about ``what`` and the path: missing,
    not_regular, permissions, unreadable, format (longer than the limit). Its
    hint says ``anew`` where the file is gone.
    """
    about = f"{what} {path}"
    try:
        # Not blocking, or a named pipe put there would hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        rule = "not_regular" if path.is_symlink() else "missing"
        raise fault(rule, about, anew) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise fault("not_regular", about)
        if status.st_mode & _OTHERS:
            raise fault("permissions", about)
        content = SecretBytes(os.read(descriptor, limit + 1))
    except OSError:
        raise fault("unreadable", about) from None
    finally:
        os.close(descriptor)
    if len(content.expose()) > limit:
        raise fault("format", about, anew)
    return content


@contextmanager
def replacing(path: Path, *, what: str) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of ``path`` (keys.durable); say ``what`` it is if that fails.

    Raises WrapperUnavailableError: unwritable.
    """
    try:
        with durable.replacing(path) as file:
            yield file
    except OSError:
        raise _unwritable(path, what) from None


@contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Keep everybody else of this host away from ``path`` (keys.durable).

    Raises WrapperUnavailableError: unwritable.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(durable.locked(path))
        except OSError:
            raise _unwritable(path, what) from None
        yield


def _unwritable(path: Path, what: str) -> WrapperUnavailableError:
    return fault("unwritable", f"{what} {path}")
