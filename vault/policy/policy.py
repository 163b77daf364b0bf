"""The policy: parsed once from its text, immutable, asked by every decision.

The text is TOML 1.0 with the tables ``policy``, ``officer``, ``fields``,
``purposes``, and optionally ``recipients``, ``limits`` and ``cryptoperiods``. Nothing is read from
files, the environment or the clock; whether a version may come into force is
not decided here.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Self
from zoneinfo import ZoneInfo

from vault.domain.errors import InvalidInputError
from vault.fields.base import Field
from vault.policy.model import Limits, Purpose, Recipient, purpose_closed
from vault.policy.reading import Table, refusal
from vault.policy.sections import cryptoperiods_of, fields_of, limits_of, purposes_of, recipients_of

_LONGEST: Final = 262_144
_TABLES: Final = ("policy", "officer", "fields", "purposes", "recipients", "limits", "cryptoperiods")
_HEAD_KEYS: Final = ("company", "version", "effective", "notice", "timezone")
_OFFICER_KEYS: Final = ("contact",)


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One version of the published policy, as data."""

    company: str
    version: str
    effective: date
    """First day in force, in ``timezone``."""
    notice: date
    """Day it was announced, not after ``effective``."""
    timezone: str
    officer_contact: str
    fields: Mapping[str, Field]
    """Declared fields by name, in the order of the text."""
    purposes: Mapping[str, Purpose]
    """Purposes by code, in the order of the text."""
    recipients: Mapping[str, Recipient]
    limits: Limits
    cryptoperiods: Mapping[str, int]
    """Days after which a key of each kind is to be replaced (NIST SP 800-57 Part 1, 5.3)."""
    text: str
    digest: str
    """SHA-256 of the text's UTF-8 bytes, in hexadecimal."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the policy that ``text`` states.

        Raises: InvalidInputError whose ``field`` is the path of the key at fault,
        such as ``purposes.inquiry.fields``, and whose ``rule`` says what is wrong.
        """
        root = _root(text)
        root.refuse_unknown(_TABLES)
        head = root.table("policy")
        head.refuse_unknown(_HEAD_KEYS)
        officer = root.table("officer")
        officer.refuse_unknown(_OFFICER_KEYS)
        effective, notice = head.day("effective"), head.day("notice")
        if notice > effective:
            raise head.fault("notice", "range", "must not be later than the effective date")
        fields = fields_of(root.table("fields"))
        return cls(
            company=head.text("company"),
            version=head.text("version"),
            effective=effective,
            notice=notice,
            timezone=_timezone(head),
            officer_contact=officer.text("contact"),
            fields=fields,
            purposes=purposes_of(root.table("purposes"), fields),
            recipients=recipients_of(root.table("recipients"), fields),
            limits=limits_of(root.table("limits")),
            cryptoperiods=cryptoperiods_of(root.table("cryptoperiods")),
            text=text,
            digest=hashlib.sha256(text.encode()).hexdigest(),
        )

    def field(self, name: str) -> Field:
        """Return the declared field of that name.

        Raises: InvalidInputError unknown_field, which does not repeat the name: it
        comes from a request, and could be a value sent in the wrong place.
        """
        found = self.fields.get(name)
        if found is None:
            raise InvalidInputError("the policy declares no such field", field="field", rule="unknown_field")
        return found

    def purpose(self, code: str) -> Purpose:
        """Return the purpose of that code. Raises: PurposeNotAllowedError, as for a closed one."""
        found = self.purposes.get(code)
        if found is None:
            raise purpose_closed()
        return found


def _root(text: str) -> Table:
    if len(text) > _LONGEST:
        raise refusal("policy", "too_long", f"must be at most {_LONGEST} characters")
    try:
        text.encode()
        return Table("", tomllib.loads(text))
    except UnicodeEncodeError:
        raise refusal("policy", "surrogate", "is not well-formed Unicode") from None
    except ValueError as wrong:  # TOMLDecodeError, or a number of absurd length
        raise refusal("policy", "toml", f"is not TOML: {wrong}") from None
    except RecursionError:
        raise refusal("policy", "toml", "is nested too deeply") from None


def _timezone(head: Table) -> str:
    name = head.text("timezone")
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise head.fault("timezone", "unknown_timezone", "must be a time zone such as Asia/Seoul") from None
