"""The parts of a policy as immutable values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vault.domain.errors import PurposeNotAllowedError
from vault.domain.model import Actor, ActorKind, Role

SERVICE_ROLE: Final = "service"
"""What a purpose lists to be open to services, each of which still needs its own grant."""

TEAM_PREFIX: Final = "team:"
"""Stands before a team's code where a purpose is open to that team."""

READING_ROLES: Final = frozenset({Role.HANDLER.value, Role.OFFICER.value})
"""Staff roles a purpose may be open to. Administrators and reviewers read nobody's data."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """One purpose of the policy: which fields it uses and to whom it is open."""

    code: str
    title: str
    legal_basis: str
    fields: frozenset[str]
    roles: frozenset[str]
    """Of ``handler``, ``officer``, ``service`` and ``team:<code>``; any one of them opens the purpose."""
    reason_required: bool

    def require_actor(self, actor: Actor) -> None:
        """Raise PurposeNotAllowedError unless one of the actor's roles opens this purpose.

        A team opens it only to staff who hold a reading role. Operators and
        strangers have no role here.
        """
        if self.roles.isdisjoint(_roles_of(actor)):
            raise purpose_closed()

    def require_field(self, name: str) -> None:
        """Raise PurposeNotAllowedError unless this purpose uses the field."""
        if name not in self.fields:
            raise purpose_closed()


def _roles_of(actor: Actor) -> frozenset[str]:
    if actor.kind is ActorKind.SERVICE:
        return frozenset({SERVICE_ROLE})
    if actor.kind is not ActorKind.STAFF:
        return frozenset()
    roles = READING_ROLES.intersection(actor.roles)
    return roles | {TEAM_PREFIX + actor.team} if roles and actor.team else roles


def purpose_closed() -> PurposeNotAllowedError:
    """Return the one error for a purpose that is unknown, closed to the actor or without the field."""
    return PurposeNotAllowedError("this purpose is not open to you for this")


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody outside the company who receives data: a processor or a third party."""

    code: str
    title: str
    contract: str
    """Reference of the contract, or of the statute, it rests on."""
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps the vault enforces. What is over one is refused, never cut short."""

    search_misses_per_minute: int = 30
    """Searches without a hit that one actor may make in a minute."""
    tokenize_batch: int = 1000
    """Items in one tokenize request."""
    detokenize_batch: int = 1000
    """Items in one detokenize request."""
    plain_batch: int = 1000
    """Items of one detokenize request that may be revealed in plain."""
