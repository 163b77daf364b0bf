"""Reading the settings a policy gives a field: every key known, every value of the right kind."""

from __future__ import annotations

from vault.fields.base import Settings
from vault.fields.rules import SettingError


def refuse_unknown(settings: Settings, *known: str) -> None:
    """Refuse settings that have a key outside ``known``. Raises: SettingError unknown_key."""
    for key in settings:
        if key not in known:
            raise SettingError(key, "unknown_key", "this field type has no such setting")


def flag(settings: Settings, key: str, *, default: bool) -> bool:
    """Return a true or false setting. Raises: SettingError type."""
    value = settings.get(key, default)
    if not isinstance(value, bool):
        raise SettingError(key, "type", "must be true or false")
    return value


def whole_number(settings: Settings, key: str, *, default: int, most: int) -> int:
    """Return a whole number from 1 to ``most``. Raises: SettingError type or range."""
    value = settings.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingError(key, "type", "must be a whole number")
    if not 1 <= value <= most:
        raise SettingError(key, "range", f"must be from 1 to {most}")
    return value


def string(settings: Settings, key: str, *, default: str) -> str:
    """Return a text setting. Raises: SettingError type."""
    value = settings.get(key, default)
    if not isinstance(value, str):
        raise SettingError(key, "type", "must be a text")
    return value


def strings(settings: Settings, key: str) -> tuple[str, ...]:
    """Return a list of at least one text, none twice. Raises: SettingError missing, type or duplicate."""
    value = settings.get(key)
    if value is None:
        raise SettingError(key, "missing", "is required for this field type")
    if not isinstance(value, list | tuple) or not value:
        raise SettingError(key, "type", "must be a list of at least one text")
    texts = tuple(item for item in value if isinstance(item, str))
    if len(texts) != len(value):
        raise SettingError(key, "type", "must be a list of texts")
    if len(set(texts)) != len(texts):
        raise SettingError(key, "duplicate", "names a value twice")
    return texts
