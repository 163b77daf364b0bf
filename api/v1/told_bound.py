"""Shape of the day by which copies of the database of today are dead."""

from __future__ import annotations

from msgspec import Struct


class BoundPart(Struct, frozen=True):
    """One key that copies of the database of today hang on."""

    key: str
    state: str
    at: str | None
    """When it is to be replaced and destroyed, or since when it is to be destroyed; none: no cryptoperiod."""
    told: str


class BoundView(Struct, frozen=True):
    """When the last of them is gone, if every key goes when it is due."""

    at: str | None
    """None when a key has no cryptoperiod: then there is no such day."""
    told: str
    parts: tuple[BoundPart, ...]
