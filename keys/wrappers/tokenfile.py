"""The token of a server in its file, and the wrapped one that it comes from (docs/operations/root-keys.md).

What is guaranteed: a wrapped token is opened once, however many processes start at
a time, and only where the token can be kept; what it stood for is on disk, 0600, before
the wrapped one is removed. What is not: whoever is killed after the server's answer
and before that has lost the token, and is told at the next start that it was used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from keys.durable import flush_folder
from keys.errors import WrapperUnavailableError
from keys.secret import SecretText
from keys.wrappers.files import locked, replacing
from keys.wrappers.openbao import read_token

Unwrap = Callable[[SecretText], SecretText]
"""Opens a wrapped token at the server, which works once. Raises KeysError."""

_KEPT = "token file"
_WRAPPED = "wrapped token file"


def kept_token(kept: Path, wrapped: Path, unwrap: Unwrap) -> SecretText:
    """Return the token in ``kept``; where the file ``wrapped`` is there, put what it stands for there first.

    Raises WrapperUnavailableError as read_token for either file, unwritable, and
    what ``unwrap`` raises; the wrapped token stays where it is then.
    """
    if os.path.lexists(wrapped):
        _take(kept, wrapped, unwrap)
    try:
        return read_token(kept)
    except WrapperUnavailableError as error:
        if error.rule != "missing":
            raise
        about = error.message
    raise WrapperUnavailableError("missing", about, f"write a new wrapped token to {wrapped}")


def _take(kept: Path, wrapped: Path, unwrap: Unwrap) -> None:
    with locked(kept, what=_KEPT):
        if not os.path.lexists(wrapped):
            # Another process was faster, and has kept it.
            return
        wrapping = read_token(wrapped, what=_WRAPPED)
        if not os.access(wrapped.parent, os.W_OK | os.X_OK):
            raise _stays(wrapped)
        with replacing(kept, what=_KEPT) as file:
            file.write(_opened(wrapping, wrapped, unwrap).expose().encode() + b"\n")
        try:
            wrapped.unlink()
            flush_folder(wrapped.parent)
        except OSError:
            raise _stays(wrapped) from None


def _opened(wrapping: SecretText, wrapped: Path, unwrap: Unwrap) -> SecretText:
    try:
        return unwrap(wrapping)
    except WrapperUnavailableError as error:
        rule, about, hint = error.rule, f"{_WRAPPED} {wrapped}, {error.message}", error.hint
    raise WrapperUnavailableError(rule, about, hint)


def _stays(wrapped: Path) -> WrapperUnavailableError:
    return WrapperUnavailableError("unwritable", f"{_WRAPPED} {wrapped}", "it has to be removed when used")
