"""Identifiers of a person's accounts: the OAuth subject and the login id.

Both keep their case: OpenID Connect Core 1.0, section 2, says that ``sub`` is a
case-sensitive string of at most 255 ASCII characters, and only the company
knows whether its login ids are. A subject that happens to be thirteen digits
beginning with a date is refused like any resident number; store it with its
provider and a shorter form, or as the caller's own reference.
"""

from __future__ import annotations

import re
from typing import Final

from vault.fields.base import FieldType, Settings, buckets_up_to
from vault.fields.cleaning import refuse_longer, refuse_masked, screened, shown_part
from vault.fields.rules import RuleBrokenError
from vault.fields.settings import refuse_unknown

_SUBJECT_LONGEST: Final = 255
_LOGIN_LONGEST: Final = 64
_LOGIN_BYTES: Final = _LOGIN_LONGEST * 4
_GRAPHIC_ASCII: Final = re.compile(r"[!-~]+")


def oauth_subject(settings: Settings) -> FieldType:
    """Return the type of the subject an identity provider names a member by."""
    refuse_unknown(settings)
    return FieldType(
        name="oauth_subject",
        prefix="oas",
        searchable=True,
        buckets=buckets_up_to(_SUBJECT_LONGEST),
        canonical=screened(_subject),
        mask=_subject_mask,
    )


def login_id(settings: Settings) -> FieldType:
    """Return the type of the name a member logs in with."""
    refuse_unknown(settings)
    return FieldType(
        name="login_id",
        prefix="lgn",
        searchable=True,
        buckets=buckets_up_to(_LOGIN_BYTES),
        canonical=screened(_login),
        mask=_login_mask,
    )


def _subject(cleaned: str) -> str:
    if cleaned.startswith("*"):
        raise RuleBrokenError("masked")
    refuse_longer(cleaned, letters=_SUBJECT_LONGEST, nbytes=_SUBJECT_LONGEST)
    if not _GRAPHIC_ASCII.fullmatch(cleaned):
        raise RuleBrokenError("characters")
    return cleaned


def _subject_mask(normalised: str) -> str:
    return "******" + normalised[len(normalised) - shown_part(len(normalised), 4) :]


def _login(cleaned: str) -> str:
    refuse_masked(cleaned)
    refuse_longer(cleaned, letters=_LOGIN_LONGEST, nbytes=_LOGIN_BYTES)
    if " " in cleaned:
        raise RuleBrokenError("characters")
    return cleaned


def _login_mask(normalised: str) -> str:
    return normalised[: shown_part(len(normalised), 2)] + "***"
