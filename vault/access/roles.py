"""What goes with a role, and which roles must not meet in one person.

Acts on personal data go with no role at all: they need a grant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from vault.domain.actions import Action
from vault.domain.errors import InvalidInputError
from vault.domain.model import Role

_ADMINISTRATOR: Final = frozenset({Role.ADMINISTRATOR})
_OFFICER: Final = frozenset({Role.OFFICER})
_REVIEWER: Final = frozenset({Role.REVIEWER})
_EVERYBODY: Final = frozenset(Role)
_OVERSEERS: Final = _ADMINISTRATOR | _OFFICER | _REVIEWER

PERMITTED: Final[Mapping[Action, frozenset[Role]]] = MappingProxyType(
    {
        # Who decides which kind is in vault.access.approvals and vault.rotation.destruction.
        Action.APPROVAL_DECIDE: _OFFICER | _ADMINISTRATOR,
        # The administrator proposed what waits, and sees what became of it.
        Action.APPROVAL_LIST: _OFFICER | _ADMINISTRATOR,
        Action.AUDIT_EXPORT: _REVIEWER,
        Action.AUDIT_LIST: _REVIEWER,
        Action.AUDIT_SHOW: _REVIEWER,
        Action.CERTIFICATE_LIST: _OVERSEERS,
        Action.CERTIFICATE_SHOW: _OVERSEERS,
        Action.GRANT_LIST: _OVERSEERS,
        Action.GRANT_PROPOSE: _ADMINISTRATOR,
        # Taking a right away needs no second person.
        Action.GRANT_REVOKE: _ADMINISTRATOR | _OFFICER,
        Action.KEY_CENSUS: _ADMINISTRATOR,
        # It only narrows, and waits for nobody.
        Action.KEY_COMPROMISE: _ADMINISTRATOR,
        Action.KEY_DESTROY: _ADMINISTRATOR,
        Action.KEY_JOBS: _ADMINISTRATOR,
        Action.KEY_LIST: _ADMINISTRATOR,
        Action.KEY_REDIGEST: _ADMINISTRATOR,
        Action.KEY_REENCRYPT: _ADMINISTRATOR,
        Action.KEY_RESEAL: _ADMINISTRATOR,
        Action.KEY_RESUME: _ADMINISTRATOR,
        Action.KEY_REWRAP: _ADMINISTRATOR,
        Action.KEY_ROTATE: _ADMINISTRATOR,
        Action.KEY_SUSPEND: _ADMINISTRATOR,
        Action.SERVICE_CREATE: _ADMINISTRATOR,
        Action.SERVICE_LIST: _OVERSEERS,
        Action.SERVICE_REVOKE: _ADMINISTRATOR,
        Action.SERVICE_ROTATE: _ADMINISTRATOR,
        Action.SESSION_CLOSE: _EVERYBODY,
        Action.STAFF_INVITE: _ADMINISTRATOR,
        Action.STAFF_LEAVE: _ADMINISTRATOR,
        Action.STAFF_LIST: _OVERSEERS,
        Action.VAULT_SEAL: _ADMINISTRATOR,
        Action.VAULT_STATUS: _EVERYBODY,
    }
)
"""Who may do what without a grant. An act that is not here goes with no role."""


def permitted(action: Action, roles: Iterable[str]) -> bool:
    """Say whether ``action`` goes with one of ``roles``."""
    return not PERMITTED.get(action, frozenset()).isdisjoint(roles)


def require_compatible(roles: Iterable[Role]) -> tuple[Role, ...]:
    """Return the roles of one person, in order.

    Every pair of roles is incompatible: whoever administers, approves, reviews
    or handles must not be who proposes to, waits for, judges or is judged by
    them. Raises InvalidInputError for none or for more than one.
    """
    distinct = sorted(set(roles))
    if not distinct:
        raise InvalidInputError("a role is needed", field="roles", rule="required")
    if len(distinct) > 1:
        raise InvalidInputError("these roles must not meet in one person", field="roles", rule="incompatible")
    return tuple(distinct)
