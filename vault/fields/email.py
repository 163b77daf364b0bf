"""E-mail addresses: a dot-atom mailbox (RFC 5322, section 3.2.3) at a domain name.

Stored whole in lower case with the domain in ASCII (IDNA 2003, as the standard
library has it). RFC 5321, section 2.4, lets a server tell mailboxes apart by
case and discourages it; no large provider does, while people write their own
address either way. One stored form means that a search made to erase somebody
finds them. Quoted and non-ASCII mailboxes are refused.

The mask hides the mailbox, not the domain: a domain that is a person's own name
still identifies.
"""

from __future__ import annotations

import re
from typing import Final

from vault.fields.base import FieldType, Settings, buckets_up_to
from vault.fields.cleaning import refuse_longer, refuse_masked, screened
from vault.fields.rules import RuleBrokenError
from vault.fields.settings import refuse_unknown

_LONGEST: Final = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
_LOCAL_LONGEST: Final = 64  # RFC 5321, section 4.5.3.1.1
_SHOWN: Final = 2
_LOCAL: Final = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}")


def email(settings: Settings) -> FieldType:
    """Return the type of an e-mail address."""
    refuse_unknown(settings)
    return FieldType(
        name="email",
        prefix="eml",
        searchable=True,
        buckets=buckets_up_to(_LONGEST),
        canonical=screened(_canonical),
        mask=_mask,
    )


def _canonical(cleaned: str) -> str:
    refuse_masked(cleaned)
    refuse_longer(cleaned, letters=_LONGEST, nbytes=_LONGEST * 4)
    local, at, domain = cleaned.rpartition("@")
    if not at:
        raise RuleBrokenError("shape")
    local = local.lower()
    if len(local) > _LOCAL_LONGEST or not _LOCAL.fullmatch(local):
        raise RuleBrokenError("local_part")
    ascii_domain = domain.lower() if domain.isascii() else _ascii_domain(domain)
    if not _DOMAIN.fullmatch(ascii_domain):
        raise RuleBrokenError("domain")
    address = f"{local}@{ascii_domain}"
    refuse_longer(address, letters=_LONGEST, nbytes=_LONGEST)
    return address


def _ascii_domain(domain: str) -> str:
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""  # Not raised from here: the codec's error would carry the value along.


def _mask(normalised: str) -> str:
    local, _, domain = normalised.partition("@")
    return f"{local[: _SHOWN if len(local) > _SHOWN else 1]}***@{domain}"
