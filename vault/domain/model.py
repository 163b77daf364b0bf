"""Values that more than one layer speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from vault.domain.ids import RequestId


class Role(StrEnum):
    """What a staff member is there for. Roles that must not meet in one person are refused."""

    ADMINISTRATOR = "administrator"
    OFFICER = "officer"
    HANDLER = "handler"
    REVIEWER = "reviewer"


class ActorKind(StrEnum):
    """What kind of actor acts."""

    STAFF = "staff"
    SERVICE = "service"
    OPERATOR = "operator"
    STRANGER = "stranger"


class Reveal(StrEnum):
    """How much of a value leaves the vault."""

    MASKED = "masked"
    PLAIN = "plain"


class SubjectState(IntEnum):
    """State of a data subject, bound into the associated data of its wrapped data key."""

    OPEN = 0
    RESTRICTED = 1
    ARCHIVED = 2
    ERASED = 3
    """Nothing of the subject is left but its id; there is no data key that it could be bound into."""


class Outcome(StrEnum):
    """How a request ended, as its log entry says it."""

    DONE = "done"
    RELEASED = "released"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as they were when they acted: the log keeps this snapshot, not a reference."""

    kind: ActorKind
    id: str
    name: str
    team: str = ""
    employer: str = ""
    roles: tuple[str, ...] = ()
    session: str = ""
    """Public id of the session or credential used; never the secret itself."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from."""

    request: RequestId
    address: str
    """Address of the peer; ``local`` for an operator command on the host itself."""


STRANGER = Actor(kind=ActorKind.STRANGER, id="", name="")
"""Somebody who has not authenticated."""
