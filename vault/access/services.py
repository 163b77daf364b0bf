"""Service accounts: made by an administrator, answered for by a person, with secrets that end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from keys.bearer import generate_client_secret
from keys.secret import SecretText
from vault.access.authority import Authority, ServiceAccount
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.decision import ends_at
from vault.access.departures import end_service
from vault.access.entries import Request
from vault.access.identities import DAY_US, HOUR_US, new_credential_id, new_service_id
from vault.access.naming import require_name
from vault.access.networks import parse_networks
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError
from vault.storage.services import ENDED, CredentialRow, ServiceRow

DEFAULT_DAYS: Final = 90
LONGEST_DAYS: Final = 365

DEFAULT_OVERLAP_US: Final = 24 * HOUR_US
LONGEST_OVERLAP_US: Final = 30 * DAY_US


@dataclass(frozen=True, slots=True)
class Secret:
    """A service's new secret; it is shown this once."""

    service_id: str
    """The OAuth client id."""
    client_secret: SecretText
    credential_id: str
    expires_us: int


def create(
    changes: Changes,
    request: Request,
    *,
    name: str,
    owner: str,
    networks: Iterable[str] = (),
    days: int = DEFAULT_DAYS,
) -> Made[Secret]:
    """Register a service and return its first secret. For administrators.

    ``owner`` is the id of an active person; without networks it may come from
    anywhere. It may do nothing before it has a grant. Raises AccessDeniedError,
    InvalidInputError, NotFoundError, ConflictError.
    """

    def act(attempt: Attempt) -> Change[Secret]:
        row = ServiceRow(
            id=new_service_id(),
            name=require_name(name, field="name"),
            owner=_require_owner(attempt.authority, owner),
            networks=tuple(map(str, parse_networks(networks))),
            state="active",
            created_at=attempt.now_us,
            version=1,
            mac=b"",
        )
        if any(row.name == account.row.name for account in attempt.authority.services.values()):
            raise ConflictError("the name is taken")
        attempt.put(row)
        return _issue(attempt, row.id, days)

    return changes.make(request, Action.SERVICE_CREATE, act)


def rotate(
    changes: Changes,
    request: Request,
    service_id: str,
    *,
    days: int = DEFAULT_DAYS,
    overlap_us: int = DEFAULT_OVERLAP_US,
) -> Made[Secret]:
    """Return another secret. The one before it stays good for ``overlap_us``; 0 ends it now.

    Two secrets are good at once at most: what was already on its way out ends
    now. For administrators. Raises AccessDeniedError, InvalidInputError,
    NotFoundError, ConflictError.
    """

    def act(attempt: Attempt) -> Change[Secret]:
        if not 0 <= overlap_us <= LONGEST_OVERLAP_US:
            raise InvalidInputError("the overlap is 0 to 30 days", field="overlap", rule="range")
        account = _require_active(attempt.authority, service_id)
        live = [row for row in account.credentials if ends_at(row) > attempt.now_us]
        for row in live:
            # One that is on its way out already ends now. An overlap never prolongs a secret: the
            # expiry it was given stays as it is beside this end.
            goes_on = overlap_us > 0 and row.revoked_at is None
            attempt.change(row, revoked_at=attempt.now_us + overlap_us if goes_on else ENDED)
        return _issue(attempt, service_id, days)

    return changes.make(request, Action.SERVICE_ROTATE, act, target={"service": service_id})


def revoke(changes: Changes, request: Request, service_id: str) -> Made[None]:
    """Stop a service for good, its secrets, access tokens and grants with it. For administrators.

    Raises AccessDeniedError, NotFoundError, ConflictError.
    """

    def act(attempt: Attempt) -> Change[None]:
        account = _require_active(attempt.authority, service_id)
        end_service(attempt, account)
        return Change(None, {"service": service_id}, revises=True)

    return changes.make(request, Action.SERVICE_REVOKE, act, target={"service": service_id})


def list_services(changes: Changes, request: Request) -> Made[tuple[ServiceAccount, ...]]:
    """Return every service, revoked ones included. Raises AccessDeniedError."""

    def act(attempt: Attempt) -> Change[tuple[ServiceAccount, ...]]:
        return Change(tuple(attempt.authority.services.values()), {}, revises=False)

    return changes.make(request, Action.SERVICE_LIST, act)


def _issue(attempt: Attempt, service_id: str, days: int) -> Change[Secret]:
    if not 1 <= days <= LONGEST_DAYS:
        raise InvalidInputError("a secret is good for 1 to 365 days", field="days", rule="range")
    secret = generate_client_secret()
    row = attempt.put(
        CredentialRow(
            id=new_credential_id(),
            service_id=service_id,
            secret_mac=attempt.keyring.sessions.credential_digest(secret),
            created_at=attempt.now_us,
            expires_at=attempt.now_us + days * DAY_US,
            revoked_at=None,
            key_version=attempt.keyring.sessions.active_version,
            version=1,
            mac=b"",
        )
    )
    return Change(Secret(service_id, secret, row.id, row.expires_at), {"service": service_id}, revises=True)


def _require_owner(authority: Authority, owner: str) -> str:
    if authority.require_staff(owner).row.state != "active":
        raise ConflictError("the owner is not an active person")
    return owner


def _require_active(authority: Authority, service_id: str) -> ServiceAccount:
    account = authority.require_service(service_id)
    if account.row.state != "active":
        raise ConflictError("the service is revoked")
    return account
