"""Staff: invite, let go, list, and the two steps of an enrolment."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from keys.secret import SecretText
from vault.access import staff
from vault.access.authority import StaffMember
from vault.access.changes import Changes, Made
from vault.access.enrolment import Enrolled, Enrolment
from vault.access.entries import Request
from vault.access.invitations import Invited
from vault.access.password_rules import generate_password
from vault.access.staff import Person
from vault.domain.errors import InvalidInputError
from vault.domain.model import Origin, Role


@dataclass(frozen=True, slots=True)
class EnrolmentOffer:
    """What somebody with an invitation needs to go on."""

    login: str
    name: str
    provisioning_uri: SecretText
    secret: SecretText
    """Of the authenticator, in base32, for typing in by hand."""
    suggested_password: SecretText


class Staff:
    """Thread-safe."""

    def __init__(self, changes: Changes, enrolment: Enrolment) -> None:
        self._changes = changes
        self._enrolment = enrolment

    def invite(self, request: Request, person: Person) -> Made[Invited]:
        """Register a person. Raises AccessDeniedError, InvalidInputError, ConflictError."""
        return staff.invite(self._changes, request, person)

    def invite_again(self, request: Request, staff_id: str) -> Made[Invited]:
        """Return a new code for a person. Raises AccessDeniedError, NotFoundError, ConflictError."""
        return staff.invite_again(self._changes, request, staff_id)

    def leave(self, request: Request, staff_id: str) -> Made[None]:
        """End everything a person has. Raises AccessDeniedError, NotFoundError, ConflictError."""
        return staff.leave(self._changes, request, staff_id)

    def list(self, request: Request) -> Made[tuple[StaffMember, ...]]:
        """Return everybody. Raises AccessDeniedError."""
        return staff.list_staff(self._changes, request)

    def begin_enrolment(self, invitation: str, *, origin: Origin, now_us: int) -> EnrolmentOffer:
        """Return what the authenticator needs, and a password to take. Raises AuthenticationError."""
        found = self._enrolment.begin(SecretText(invitation), origin=origin, now_us=now_us)
        query = parse_qs(urlsplit(found.provisioning_uri.expose()).query)
        return EnrolmentOffer(
            login=found.login,
            name=found.name,
            provisioning_uri=found.provisioning_uri,
            secret=SecretText(query["secret"][0]),
            suggested_password=generate_password(),
        )

    def finish_enrolment(
        self, invitation: str, *, password: str, code: str, origin: Origin, now_us: int
    ) -> Enrolled:
        """Set password and authenticator. Takes the time of one Argon2 hash.

        Raises AuthenticationError, InvalidInputError.
        """
        return self._enrolment.finish(
            SecretText(invitation),
            password=SecretText(password),
            totp_code=code,
            origin=origin,
            now_us=now_us,
        )


def parse_role(text: str) -> Role:
    """Return the role of this name. Raises InvalidInputError."""
    try:
        return Role(text)
    except ValueError:
        known = ", ".join(Role)
        raise InvalidInputError(f"a role is one of {known}", field="role", rule="role") from None


__all__ = ["Enrolled", "EnrolmentOffer", "Invited", "Person", "Staff", "StaffMember", "parse_role"]
