"""Everything a decision rests on, as it was at one revision.

Loaded whole and only when the revision has changed; immutable, so every thread
may decide by it at once. A row that does not verify is as good as absent and is
named in ``alarms``: its person, service or grant has no rights, and whoever
loaded the authority puts the alarm in the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Final

from keys.keyring import Keyring
from vault.access.identities import raw_credential_id
from vault.access.networks import Network, parse_networks
from vault.access.sealing import Alarm, sift
from vault.domain.actions import Action
from vault.domain.errors import InvalidInputError, NotFoundError, UnavailableError
from vault.domain.model import Actor, ActorKind, Reveal, Role
from vault.policy.model import Limits
from vault.policy.policy import Policy
from vault.storage.approvals import ApprovalRow, counting_approvals
from vault.storage.database import Connection
from vault.storage.grants import GrantRow, PolicyRow, newest_grants, newest_policy
from vault.storage.services import CredentialRow, ServiceRow, all_credentials, all_services
from vault.storage.staff import StaffRow, StaffSecretRow, all_secrets, all_staff

_REVEALS: Final[Mapping[str, frozenset[Reveal]]] = {
    Reveal.PLAIN: frozenset({Reveal.PLAIN, Reveal.MASKED}),
    Reveal.MASKED: frozenset({Reveal.MASKED}),
}
"""What a grant of this level lets out. Whoever may see a value whole may see it masked."""

NO_POLICY: Final = Policy(
    company="",
    version="",
    effective=date.max,
    notice=date.max,
    timezone="UTC",
    officer_contact="",
    fields={},
    purposes={},
    recipients={},
    limits=Limits(),
    cryptoperiods={},
    text="",
    digest="",
)
"""What stands in for a policy that is missing or not ours: no field, no purpose."""


@dataclass(frozen=True, slots=True)
class GrantRule:
    """A grant made ready to decide by."""

    id: str
    actions: frozenset[str]
    fields: frozenset[str]
    purposes: frozenset[str]
    reveals: frozenset[Reveal]
    networks: tuple[Network, ...]
    valid_from: int
    valid_until: int
    approved: bool
    """In force: proposed and, where it has to be, approved by another person."""


@dataclass(frozen=True, slots=True)
class StaffMember:
    """A person of the register with what they may do."""

    row: StaffRow
    actor: Actor
    """The person as the log names them; ``session`` is empty."""
    password_set_at: int | None
    """None without a secret that verifies: then nothing is allowed."""
    grants: tuple[GrantRule, ...]


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service with what it may do."""

    row: ServiceRow
    actor: Actor
    """The service as the log names it; ``session`` is empty."""
    owner_active: bool
    networks: tuple[Network, ...]
    credentials: tuple[CredentialRow, ...]
    """Oldest first; ended ones included."""
    grants: tuple[GrantRule, ...]


@dataclass(frozen=True, slots=True)
class HeldCredential:
    """One credential and the actor that whoever shows its access token is."""

    row: CredentialRow
    service: ServiceAccount
    actor: Actor


@dataclass(frozen=True, slots=True)
class Authority:
    """Immutable snapshot at ``revision``. Look-ups are by key; nothing is searched."""

    revision: int
    policy: Policy
    """``NO_POLICY`` when none is installed or its row does not verify: then no purpose is open."""
    staff: Mapping[str, StaffMember] = field(repr=False)
    services: Mapping[str, ServiceAccount] = field(repr=False)
    credentials: Mapping[bytes, HeldCredential] = field(repr=False)
    """By the 16 bytes that stand for the credential in an access token."""
    credentials_by_id: Mapping[str, HeldCredential] = field(repr=False)
    grants: Mapping[str, GrantRow] = field(repr=False)
    """Newest version of every grant."""
    approvals: Mapping[str, ApprovalRow] = field(repr=False)
    """Those that wait, and decided ones of enrolments and grants."""
    alarms: tuple[Alarm, ...]

    @staticmethod
    def load(connection: Connection, keyring: Keyring, *, revision: int) -> Authority:
        """Load and verify every row a decision reads.

        ``revision`` is the one of the state that ``connection`` sees. Raises
        UnavailableError when the keys cannot verify, or when a sealed policy
        cannot be read.
        """
        return _load(connection, keyring, revision)

    def require_policy(self) -> Policy:
        """Return the policy in force. Raises UnavailableError without one."""
        if self.policy is NO_POLICY:
            raise UnavailableError("no policy is in force")
        return self.policy

    def require_staff(self, staff_id: str) -> StaffMember:
        """Return one person. Raises NotFoundError."""
        found = self.staff.get(staff_id)
        if found is None:
            raise NotFoundError("no such staff member")
        return found

    def require_service(self, service_id: str) -> ServiceAccount:
        """Return one service. Raises NotFoundError."""
        found = self.services.get(service_id)
        if found is None:
            raise NotFoundError("no such service")
        return found

    def require_grant(self, grant_id: str) -> GrantRow:
        """Return the newest version of one grant. Raises NotFoundError."""
        found = self.grants.get(grant_id)
        if found is None:
            raise NotFoundError("no such grant")
        return found

    def active_with(self, role: Role) -> tuple[StaffMember, ...]:
        """Return the active people of one role."""
        return tuple(
            member
            for member in self.staff.values()
            if member.row.state == "active" and role in member.row.roles
        )


def needs_approval(row: GrantRow) -> bool:
    """Say whether a grant waits for the officer.

    One that can let a whole value out does. So does one that lets a service see,
    find, restrict or destroy anything: an administrator makes services alone, so without a
    second person the administrator could read masks, test guesses and revoke
    through one. A handler has been approved as a person already.
    """
    if row.reveal == Reveal.PLAIN and Action.TOKEN_DETOKENIZE in row.actions:
        return True
    return row.actor_kind == ActorKind.SERVICE and not _OUT_OF_ONE_HAND.isdisjoint(row.actions)


_OUT_OF_ONE_HAND: Final = frozenset(
    {
        Action.SUBJECT_ERASE,
        Action.SUBJECT_LIFT,
        Action.SUBJECT_RESTRICT,
        Action.TOKEN_DETOKENIZE,
        Action.TOKEN_REVOKE,
        Action.TOKEN_SEARCH,
    }
)


def _load(connection: Connection, keyring: Keyring, revision: int) -> Authority:
    alarms: set[Alarm] = set()
    keys = keyring.authority
    staff = sift(keys, all_staff(connection), alarms)
    secrets = sift(keys, all_secrets(connection), alarms)
    services = sift(keys, all_services(connection), alarms)
    credentials = sift(keys, all_credentials(connection), alarms)
    grants = sift(keys, newest_grants(connection), alarms)
    approvals = sift(keys, counting_approvals(connection), alarms)
    found = newest_policy(connection)
    policies = sift(keys, [] if found is None else [found], alarms)
    held = _Held(grants, approvals)
    members = _members(staff, secrets, held)
    accounts = _accounts(services, credentials, members, held)
    by_id = {
        credential.id: HeldCredential(credential, account, _with_session(account.actor, credential.id))
        for account in accounts.values()
        for credential in account.credentials
    }
    return Authority(
        revision=revision,
        policy=_policy(policies),
        staff=members,
        services=accounts,
        credentials={raw_credential_id(public): credential for public, credential in by_id.items()},
        credentials_by_id=by_id,
        grants={row.id: row for row in grants},
        approvals={row.id: row for row in approvals},
        alarms=tuple(sorted(alarms)),
    )


class _Held:
    """Grants by whom they were given to; exists only while an authority is loaded."""

    def __init__(self, grants: Iterable[GrantRow], approvals: Iterable[ApprovalRow]) -> None:
        self._approved = {
            (row.target, row.proposed_by, row.decided_by)
            for row in approvals
            if row.kind == "grant" and row.state == "approved"
        }
        self._rules: defaultdict[tuple[str, str], list[GrantRule]] = defaultdict(list)
        for row in grants:
            if row.state in {"active", "proposed"}:
                self._rules[row.actor_kind, row.actor_id].append(self._rule(row))

    def of(self, *holders: tuple[str, str]) -> tuple[GrantRule, ...]:
        return tuple(rule for holder in holders for rule in self._rules.get(holder, ()))

    def _rule(self, row: GrantRow) -> GrantRule:
        return GrantRule(
            id=row.id,
            actions=frozenset(row.actions),
            fields=frozenset(row.fields),
            purposes=frozenset(row.purposes),
            reveals=_REVEALS.get(row.reveal, frozenset()),
            networks=parse_networks(row.networks),
            valid_from=row.valid_from,
            valid_until=row.valid_until,
            approved=row.state == "active" and (not needs_approval(row) or self._is_approved(row)),
        )

    def _is_approved(self, row: GrantRow) -> bool:
        """Say whether another person has approved, by a sealed row of their own and not the grant's word."""
        asked_and_answered = (row.id, row.proposed_by, row.decided_by)
        return asked_and_answered in self._approved and row.decided_by != row.proposed_by


def _members(
    staff: Iterable[StaffRow], secrets: Iterable[StaffSecretRow], held: _Held
) -> dict[str, StaffMember]:
    set_at = {row.staff_id: row.password_set_at for row in secrets}
    return {
        row.id: StaffMember(
            row=row,
            actor=staff_actor(row),
            password_set_at=set_at.get(row.id),
            grants=held.of(
                (ActorKind.STAFF, row.id), ("team", row.team), *(("role", role) for role in row.roles)
            ),
        )
        for row in staff
    }


def _accounts(
    services: Iterable[ServiceRow],
    credentials: Iterable[CredentialRow],
    members: Mapping[str, StaffMember],
    held: _Held,
) -> dict[str, ServiceAccount]:
    by_service: defaultdict[str, list[CredentialRow]] = defaultdict(list)
    for credential in credentials:
        by_service[credential.service_id].append(credential)
    return {
        row.id: ServiceAccount(
            row=row,
            actor=_service_actor(row),
            owner_active=row.owner in members and members[row.owner].row.state == "active",
            networks=parse_networks(row.networks),
            credentials=tuple(by_service[row.id]),
            grants=held.of((ActorKind.SERVICE, row.id)),
        )
        for row in services
    }


def staff_actor(row: StaffRow, *, session: str = "") -> Actor:
    """Return the person of ``row`` as the log names them."""
    return Actor(
        kind=ActorKind.STAFF,
        id=row.id,
        name=row.name,
        team=row.team,
        employer=row.employer,
        roles=row.roles,
        session=session,
    )


def _service_actor(row: ServiceRow) -> Actor:
    return Actor(kind=ActorKind.SERVICE, id=row.id, name=row.name)


def _with_session(actor: Actor, session: str) -> Actor:
    return Actor(kind=actor.kind, id=actor.id, name=actor.name, session=session)


def _policy(rows: list[PolicyRow]) -> Policy:
    if not rows:
        return NO_POLICY
    try:
        return _parsed(rows[0].text)
    except InvalidInputError:
        raise UnavailableError("the installed policy cannot be read by this version") from None


@lru_cache(maxsize=4)
def _parsed(text: str) -> Policy:
    """Parse once: any change makes every node read all that holds, and the text is hardly ever another."""
    return Policy.parse(text)
