"""Cryptoperiods: when each key is to be replaced, and which are late (NIST SP 800-57 Part 1 Rev. 5, 5.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vault.access.identities import DAY_US
from vault.access.standing import KeyInUse, Standing

RED_AFTER_US: Final = 30 * DAY_US
"""So long after its cryptoperiod a late key turns from yellow to red."""


class Light(StrEnum):
    """How urgent it is to replace a key."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Due:
    """When a key is to be replaced."""

    name: str
    at_us: int
    light: Light


def due_dates(standing: Standing, now_us: int) -> list[Due]:
    """Return when each key in use that has a cryptoperiod is to be replaced, in order of time."""
    periods = standing.authority.policy.cryptoperiods
    found = [_due(key, periods[key.kind], now_us) for key in standing.in_use if key.kind in periods]
    return sorted(found, key=lambda due: due.at_us)


def worst(lights: Iterable[Light]) -> Light:
    """Return the most urgent of ``lights``."""
    shown = set(lights)
    return next((light for light in (Light.RED, Light.YELLOW) if light in shown), Light.GREEN)


def _due(key: KeyInUse, days: int, now_us: int) -> Due:
    at_us = key.since_us + days * DAY_US
    if now_us < at_us:
        return Due(key.name, at_us, Light.GREEN)
    return Due(key.name, at_us, Light.YELLOW if now_us < at_us + RED_AFTER_US else Light.RED)
