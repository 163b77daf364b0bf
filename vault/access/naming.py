"""Names that people and things are registered under: what they may look like.

Names go into the log and stay there, so none may hold a resident registration
number (Personal Information Protection Act, Article 24-2).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from vault.domain.errors import InvalidInputError
from vault.fields.resident import refuse_resident_number
from vault.fields.rules import EXPLANATIONS, RuleBrokenError

_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}").fullmatch
_TEAM: Final = re.compile(r"[a-z][a-z0-9_]{1,31}").fullmatch
"""As in the policy, where a purpose may be open to ``team:<code>``."""

LONGEST_NAME: Final = 100


def folded_login(text: str) -> str:
    """Return ``text`` as logins are compared: two spellings of one login are one account."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def is_login(folded: str) -> bool:
    """Say whether a folded text has the form of a login."""
    return _LOGIN(folded) is not None


def require_login(text: str) -> str:
    """Return the login to register. Raises InvalidInputError (login, resident_number)."""
    folded = folded_login(text)
    if not is_login(folded):
        raise InvalidInputError(
            "a login has 2 to 64 letters a-z, digits, dots, dashes and underscores",
            field="login",
            rule="login",
        )
    _screen(folded, field="login")
    return folded


def require_team(text: str) -> str:
    """Return the team's code; empty for none. Raises InvalidInputError (team, resident_number)."""
    if text and not _TEAM(text):
        raise InvalidInputError(
            "a team has 2 to 32 letters a-z, digits and underscores", field="team", rule="team"
        )
    _screen(text, field="team")
    return text


def require_name(text: str, *, field: str, needed: bool = True) -> str:
    """Return a name for people to read. Raises InvalidInputError (name, resident_number)."""
    cleaned = " ".join(unicodedata.normalize("NFC", text).split())
    readable = cleaned.isprintable() and len(cleaned) <= LONGEST_NAME
    if not readable or (needed and not cleaned):
        raise InvalidInputError("a name has 1 to 100 printable characters", field=field, rule="name")
    _screen(cleaned, field=field)
    return cleaned


def _screen(cleaned: str, *, field: str) -> None:
    try:
        refuse_resident_number(cleaned)
    except RuleBrokenError as broken:
        rule = broken.rule
    else:
        return
    # Out of the except clause, so that nothing of the text rides along.
    raise InvalidInputError(f"{field}: {EXPLANATIONS[rule]}", field=field, rule=rule)
