"""The register of named people: invite, invite again, let go, list."""

from __future__ import annotations

from dataclasses import dataclass

from vault.access import departures
from vault.access.authority import Authority, StaffMember
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.access.identities import new_staff_id
from vault.access.invitations import Invited, invitation, new_code
from vault.access.naming import require_login, require_name, require_team
from vault.access.roles import require_compatible
from vault.domain.actions import Action
from vault.domain.errors import ConflictError
from vault.domain.model import Role
from vault.storage.staff import StaffRow, locked_staff


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to be registered, as whoever registers them says."""

    login: str
    name: str
    role: Role
    team: str = ""
    employer: str = ""
    """Own company when empty; the processor's name for its staff."""


def staff_row(person: Person, *, now_us: int) -> StaffRow:
    """Return the unsealed row of a new person, invited. Raises InvalidInputError."""
    return StaffRow(
        id=new_staff_id(),
        login=require_login(person.login),
        name=require_name(person.name, field="name"),
        team=require_team(person.team),
        employer=require_name(person.employer, field="employer", needed=False),
        roles=tuple(role.value for role in require_compatible([person.role])),
        state="invited",
        created_at=now_us,
        version=1,
        mac=b"",
    )


def invite(changes: Changes, request: Request, person: Person) -> Made[Invited]:
    """Register a person and return the code that enrols them. For administrators.

    The login must be free for ever: the log names people by it. Raises
    AccessDeniedError, InvalidInputError, ConflictError.
    """

    def act(attempt: Attempt) -> Change[Invited]:
        row = staff_row(person, now_us=attempt.now_us)
        if any(row.login == member.row.login for member in attempt.authority.staff.values()):
            raise ConflictError("the login is taken")
        attempt.put(row)
        return _invite(attempt, row)

    return changes.make(request, Action.STAFF_INVITE, act)


def invite_again(changes: Changes, request: Request, staff_id: str) -> Made[Invited]:
    """Return a new code for somebody whose code was lost, or whose password or authenticator was.

    Whatever they had ends now: earlier codes, open sessions, a pending
    enrolment. They enrol anew and wait for the officer anew. For administrators.
    Raises AccessDeniedError, NotFoundError, ConflictError (they have left, or
    nobody of their role would remain).
    """

    def act(attempt: Attempt) -> Change[Invited]:
        require_replaceable(attempt.authority, staff_id, by=request.actor.id)
        row = require_present(attempt, staff_id)
        departures.end_enrolment(attempt, row)
        return _invite(attempt, attempt.change(row, state="invited"))

    return changes.make(request, Action.STAFF_INVITE, act, target={"staff": staff_id})


def leave(changes: Changes, request: Request, staff_id: str) -> Made[None]:
    """Take everything from somebody who leaves or moves, in one transaction. For administrators.

    Sessions, grants, owned services, open codes and what they proposed end; the
    next request of theirs fails (고시 Std 5(2)). Raises AccessDeniedError,
    NotFoundError, ConflictError.
    """

    def act(attempt: Attempt) -> Change[None]:
        require_replaceable(attempt.authority, staff_id, by=request.actor.id)
        # The person's row first: a login that is under way holds it, and its session must be seen.
        row = attempt.change(require_present(attempt, staff_id), state="left")
        departures.end_enrolment(attempt, row)
        departures.end_rights(attempt, row)
        return Change(None, {"staff": staff_id}, revises=True)

    return changes.make(request, Action.STAFF_LEAVE, act, target={"staff": staff_id})


def list_staff(changes: Changes, request: Request) -> Made[tuple[StaffMember, ...]]:
    """Return everybody, those who left included. Raises AccessDeniedError."""

    def act(attempt: Attempt) -> Change[tuple[StaffMember, ...]]:
        return Change(tuple(attempt.authority.staff.values()), {}, revises=False)

    return changes.make(request, Action.STAFF_LIST, act)


def require_present(attempt: Attempt, staff_id: str) -> StaffRow:
    """Return the row of somebody who has not left, held until the transaction ends.

    Raises NotFoundError, ConflictError.
    """
    attempt.authority.require_staff(staff_id)
    row = locked_staff(attempt.connection, staff_id)
    if row is None or row.state == "left":
        raise ConflictError("this person has left")
    return attempt.genuine(row)


def require_replaceable(authority: Authority, staff_id: str, *, by: str) -> None:
    """Refuse to take away the last person of a role that the vault cannot do without, or oneself.

    Without an officer nobody could approve the next officer. Raises NotFoundError, ConflictError.
    """
    member = authority.require_staff(staff_id)
    if staff_id == by:
        raise ConflictError("nobody does this to themselves; another administrator has to")
    for role in (Role.ADMINISTRATOR, Role.OFFICER):
        if authority.active_with(role) == (member,):
            raise ConflictError(f"nobody else is an active {role.value}; enrol a successor first")


def _invite(attempt: Attempt, row: StaffRow) -> Change[Invited]:
    code = new_code()
    made = attempt.put(invitation(attempt.keyring, row.id, code=code, now_us=attempt.now_us))
    return Change(Invited(row.id, code, made.expires_at), {"staff": row.id}, revises=True)
