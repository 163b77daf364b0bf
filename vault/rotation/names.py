"""What a key may be called in a request."""

from __future__ import annotations

import re
from typing import Final

from vault.access.entries import Request
from vault.domain.errors import InvalidInputError

_SCOPE: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}(?:/[A-Za-z0-9_.-]{1,100})?").fullmatch


def require_scope(scope: str) -> str:
    """Return ``scope``, which may be empty. Raises InvalidInputError for what no key can have."""
    if scope and _SCOPE(scope) is None:
        raise InvalidInputError("scope: a field, or ref/ and a kind", field="scope", rule="shape")
    return scope


def require_reason(request: Request) -> None:
    """Raise InvalidInputError unless ``request`` says why: for what cannot be taken back."""
    if not request.reason:
        raise InvalidInputError("reason: say why", field="reason", rule="required")


def named(kind: str, scope: str) -> dict[str, str]:
    """Return what the log says of a key that is asked for by kind and scope."""
    return {"kind": kind, "scope": scope} if scope else {"kind": kind}
