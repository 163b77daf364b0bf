"""Read small secret files that nobody but their owner may use (docs/formats/envelope.md 7.5)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keys.errors import WrapperUnavailableError
from keys.secret import SecretBytes

_OTHERS = 0o077


HINTS = {
    "missing": "put it back from its copy; without one: piivault keys root rotate --from-recovery",
    "permissions": "ask who has read it, then: chmod 600",
}


def read_private(path: Path, *, what: str, limit: int) -> SecretBytes:
    """Return the ``limit`` bytes or fewer in ``path``, checked on the open file so that nobody can swap it.

    Raises WrapperUnavailableError, about ``what`` and the path: missing,
    not_regular, permissions, unreadable, format (longer than the limit).
    """
    about = f"{what} {path}"
    try:
        # Not blocking, or a named pipe put there would hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        rule = "not_regular" if path.is_symlink() else "missing"
        raise WrapperUnavailableError(rule, about, HINTS.get(rule, "")) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise WrapperUnavailableError("not_regular", about)
        if status.st_mode & _OTHERS:
            raise WrapperUnavailableError("permissions", about, HINTS["permissions"])
        content = SecretBytes(os.read(descriptor, limit + 1))
    except OSError:
        raise WrapperUnavailableError("unreadable", about) from None
    finally:
        os.close(descriptor)
    if len(content.expose()) > limit:
        raise WrapperUnavailableError("format", about)
    return content
