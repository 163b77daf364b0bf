"""Every field type the vault knows, by the name a policy calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from vault.fields.base import FieldType, Settings
from vault.fields.business import business_number
from vault.fields.declared import enum, text
from vault.fields.demographics import age_band, gender
from vault.fields.email import email
from vault.fields.identifiers import login_id, oauth_subject
from vault.fields.names import company_name, person_name
from vault.fields.phone import phone

CATALOGUE: Mapping[str, Callable[[Settings], FieldType]] = MappingProxyType(
    {
        "age_band": age_band,
        "business_number": business_number,
        "company_name": company_name,
        "email": email,
        "enum": enum,
        "gender": gender,
        "login_id": login_id,
        "oauth_subject": oauth_subject,
        "person_name": person_name,
        "phone": phone,
        "text": text,
    }
)
"""Type name to the function that makes the type from its settings, raising ``SettingError``."""

PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "age_band": "age",
        "business_number": "brn",
        "company_name": "cmp",
        "email": "eml",
        "enum": "enm",
        "gender": "gen",
        "login_id": "lgn",
        "oauth_subject": "oas",
        "person_name": "nam",
        "phone": "phn",
        "text": "txt",
    }
)
"""Type name to token prefix. ``sub`` is kept for subject ids."""
