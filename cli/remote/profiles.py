"""The session of whoever is logged in, in a file that is theirs alone.

One file per profile under ``$XDG_CONFIG_HOME/piivault`` (else ``~/.config``),
mode 0600 in a folder of mode 0700. A file that others may read, that belongs
to somebody else or that is a link is refused, not repaired: whatever was in it
may be known. The password is never in it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from vault.domain.errors import AuthenticationError, InvalidInputError

MODE: Final = 0o600
_OTHERS: Final = 0o077
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


@dataclass(frozen=True, slots=True)
class Profile:
    """A server, and the session somebody has there."""

    url: str
    login: str
    session: str
    session_id: str
    expires_at: str
    ca_file: str = ""

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r}, login={self.login!r}, session=<hidden>)"


def save(name: str, profile: Profile, *, base: Path | None = None) -> Path:
    """Write a profile, replacing the one before in one step, and return its path.

    ``base`` stands in for ``$XDG_CONFIG_HOME``.
    """
    path = profile_path(name, base=base)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(profile), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return path


def load(name: str) -> Profile | None:
    """Return a profile, None when there is none. Raises InvalidInputError for a file that is not private."""
    path = profile_path(name)
    text = read_private(path, what="session file")
    if text is None:
        return None
    try:
        members = json.loads(text)
        known = {field.name for field in fields(Profile)}
        return Profile(**{key: str(value) for key, value in members.items() if key in known})
    except (ValueError, AttributeError, TypeError):
        raise InvalidInputError(
            f"the session file {path} is damaged; log in again", field="session file", rule="shape"
        ) from None


def forget(name: str) -> None:
    """Remove a profile."""
    profile_path(name).unlink(missing_ok=True)


def require(name: str) -> Profile:
    """Return a profile. Raises AuthenticationError when nobody is logged in under it."""
    profile = load(name)
    if profile is None:
        raise AuthenticationError("nobody is logged in; run: piivault login")
    return profile


def profile_path(name: str, *, base: Path | None = None) -> Path:
    """Return the file of a profile. Raises InvalidInputError for a name that is not one."""
    if not _NAME(name):
        raise InvalidInputError(
            "a profile is letters, digits, dot, dash and underscore", field="--profile", rule="shape"
        )
    folder = base or Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "piivault" / f"{name}.json"


def read_private(path: Path, *, what: str) -> str | None:
    """Return the text of a file that is its owner's alone, None when there is no such file.

    Checked on the open file, so that nobody can swap it in between. Raises
    InvalidInputError: others_may_read, not_yours, not_a_file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        raise _refused(path, what, "not_a_file", "cannot be opened as a plain file") from None
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(path, what, "not_a_file", "is not a plain file")
        if status.st_uid != os.geteuid():
            raise _refused(path, what, "not_yours", "belongs to somebody else")
        if status.st_mode & _OTHERS:
            raise _refused(path, what, "others_may_read", "is open to others; remove it and begin anew")
        try:
            return file.read()
        except UnicodeDecodeError:
            raise _refused(path, what, "shape", "is not text") from None


def _refused(path: Path, what: str, rule: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"the {what} {path} {why}", field=what, rule=rule)
