"""States of a key and the moves between them (docs/formats/envelope.md 10.3 and 10.4)."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from keys.errors import IllegalTransitionError


class KeyState(StrEnum):
    """States of NIST SP 800-57 Part 1 Rev. 5, section 7."""

    PRE_ACTIVATION = "pre_activation"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


TRANSITIONS: Final = MappingProxyType(
    {
        KeyState.PRE_ACTIVATION: frozenset({KeyState.ACTIVE, KeyState.COMPROMISED, KeyState.DESTROYED}),
        KeyState.ACTIVE: frozenset({KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.COMPROMISED}),
        KeyState.SUSPENDED: frozenset({KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED}),
        KeyState.DEACTIVATED: frozenset({KeyState.SUSPENDED, KeyState.COMPROMISED, KeyState.DESTROYED}),
        KeyState.COMPROMISED: frozenset({KeyState.DESTROYED}),
        KeyState.DESTROYED: frozenset[KeyState](),
    }
)
"""Narrower than the publication: before a key in use is destroyed it is deactivated, and its census taken.

One move is not in it: a key that was replaced and still reads may be doubted, too.
"""

READING: Final = frozenset({KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED})
"""States in which a key opens what it has sealed. A compromised key must, to be moved away from."""

VERIFYING: Final = frozenset({KeyState.ACTIVE, KeyState.DEACTIVATED})
"""States in which a code under the key proves anything."""


def require_transition(old: KeyState, new: KeyState) -> None:
    """Return if a key may go from ``old`` to ``new``. Raises IllegalTransitionError."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransitionError(old.value, new.value)
