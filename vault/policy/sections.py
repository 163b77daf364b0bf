"""The tables of a policy, each checked on its own and against the fields declared."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from vault.fields.base import Field, FieldType, Settings
from vault.fields.catalogue import CATALOGUE
from vault.fields.rules import SettingError
from vault.policy.model import READING_ROLES, SERVICE_ROLE, TEAM_PREFIX, Limits, Purpose, Recipient
from vault.policy.reading import CODE, Table, joined, refusal, require_code

_MOST_ITEMS: Final = 1000  # the cap of the interface itself, which a policy can only lower
_MOST_MISSES: Final = 10_000
_FIELD_KEYS: Final = frozenset({"type", "required"})
_PURPOSE_KEYS: Final = ("title", "legal_basis", "fields", "roles", "reason")
_RECIPIENT_KEYS: Final = ("title", "contract", "fields")
_LIMIT_KEYS: Final = ("search_misses_per_minute", "tokenize_batch", "detokenize_batch", "plain_batch")
_REASON: Final = MappingProxyType({"required": True, "optional": False})

# A policy that asks for a value in the clear is refused in words, not as a misspelling.
_PLAINTEXT_KEYS: Final = frozenset({"plaintext", "encrypted", "encrypt", "storage", "column"})


def fields_of(declared: Table) -> Mapping[str, Field]:
    """Return the declared fields in order. Raises: InvalidInputError."""
    fields = {name: _field(name, table) for name, table in declared.tables()}
    if not fields:
        raise refusal(declared.path, "missing", "at least one is required")
    return MappingProxyType(fields)


def _field(name: str, table: Table) -> Field:
    kind, dot, part = name.partition(".")
    if not (dot and CODE.fullmatch(kind) and CODE.fullmatch(part)):
        raise refusal(table.path, "code", 'must be a kind and a name in quotes, such as "member.phone"')
    for key in table.values:
        if key in _PLAINTEXT_KEYS:
            raise table.fault(key, "plaintext", "every field is sealed; there is no plaintext column")
    required = table.flag("required", default=False)
    settings = {key: _frozen(value) for key, value in table.values.items() if key not in _FIELD_KEYS}
    return Field(
        name=name,
        kind=kind,
        type=_type(table, settings),
        settings=MappingProxyType(settings),
        required=required,
    )


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _type(table: Table, settings: Settings) -> FieldType:
    factory = CATALOGUE.get(table.text("type"))
    if factory is None:
        raise table.fault("type", "unknown_type", f"must be one of: {', '.join(CATALOGUE)}")
    try:
        return factory(settings)
    except SettingError as wrong:
        raise table.fault(wrong.key, wrong.rule, wrong.detail) from None


def purposes_of(stated: Table, fields: Mapping[str, Field]) -> Mapping[str, Purpose]:
    """Return the stated purposes in order. Raises: InvalidInputError."""
    purposes = {code: _purpose(code, table, fields) for code, table in stated.tables()}
    if not purposes:
        raise refusal(stated.path, "missing", "at least one is required")
    return MappingProxyType(purposes)


def _purpose(code: str, table: Table, fields: Mapping[str, Field]) -> Purpose:
    require_code(table.path, code)
    table.refuse_unknown(_PURPOSE_KEYS)
    return Purpose(
        code=code,
        title=table.text("title"),
        legal_basis=table.text("legal_basis"),
        fields=_declared(table, fields),
        roles=_roles(table),
        reason_required=table.choice("reason", _REASON, default="required"),
    )


def _declared(table: Table, fields: Mapping[str, Field]) -> frozenset[str]:
    names = table.names("fields")
    for name in names:
        if name not in fields:
            raise table.fault("fields", "unknown_field", f"names {joined('', name)}, which is not declared")
    return frozenset(names)


def _roles(table: Table) -> frozenset[str]:
    roles = table.names("roles")
    for role in roles:
        team = role.removeprefix(TEAM_PREFIX)
        if role in READING_ROLES or role == SERVICE_ROLE or (team != role and CODE.fullmatch(team)):
            continue
        raise table.fault("roles", "role_not_allowed", "may list handler, officer, service and team:<code>")
    return frozenset(roles)


def recipients_of(stated: Table, fields: Mapping[str, Field]) -> Mapping[str, Recipient]:
    """Return the stated recipients in order; there may be none. Raises: InvalidInputError."""
    return MappingProxyType({code: _recipient(code, table, fields) for code, table in stated.tables()})


def _recipient(code: str, table: Table, fields: Mapping[str, Field]) -> Recipient:
    require_code(table.path, code)
    table.refuse_unknown(_RECIPIENT_KEYS)
    return Recipient(
        code=code,
        title=table.text("title"),
        contract=table.text("contract"),
        fields=_declared(table, fields),
    )


def limits_of(stated: Table) -> Limits:
    """Return the limits, each at its default where the text is silent. Raises: InvalidInputError."""
    stated.refuse_unknown(_LIMIT_KEYS)
    usual = Limits()
    return Limits(
        search_misses_per_minute=stated.count(
            "search_misses_per_minute", default=usual.search_misses_per_minute, most=_MOST_MISSES
        ),
        tokenize_batch=stated.count("tokenize_batch", default=usual.tokenize_batch, most=_MOST_ITEMS),
        detokenize_batch=stated.count("detokenize_batch", default=usual.detokenize_batch, most=_MOST_ITEMS),
        plain_batch=stated.count("plain_batch", default=usual.plain_batch, most=_MOST_ITEMS),
    )


CRYPTOPERIODS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "root": 365,
        "wrapping": 365,
        "lookup": 730,
        "authority": 730,
        "log_mac": 730,
        "session": 365,
        "staff_data": 730,
        "log_signing": 1_095,
    }
)
"""Days by kind of key, within what NIST SP 800-57 Part 1 Rev. 5, 5.3.6, suggests.

Token keys have none: tokens live as long as what they stand for, and a leaked token key forges nothing.
"""
_LONGEST_CRYPTOPERIOD: Final = 3_650


def cryptoperiods_of(stated: Table) -> Mapping[str, int]:
    """Return the days by kind of key, each at its default where the text is silent.

    Raises: InvalidInputError.
    """
    stated.refuse_unknown(CRYPTOPERIODS)
    days = {
        kind: stated.count(kind, default=usual, most=_LONGEST_CRYPTOPERIOD)
        for kind, usual in CRYPTOPERIODS.items()
    }
    return MappingProxyType(days)
