"""Enrol a person with the code of their invitation, in two steps.

The first step makes a secret for the authenticator, logs that it did and shows
it. It may be asked again until the code is used or over, so a closed window
leaves nobody with a dead authenticator; only the secret shown last enrols.
Whoever looked before the person did holds nothing, and whoever looks after them
is noticed: the secret the person was shown does not enrol any more.

The second step burns the code, and stores password, authenticator and the TOTP
step just shown, in one transaction. A wrong code or a weak password burns
nothing.

Nobody is active by that alone: an officer approves every enrolment but those of
the administrator and officer of init, who are there before anybody could.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from keys import otp
from keys.errors import CredentialMismatchError
from keys.passwords import Passwords
from keys.secret import SecretText
from vault.access.approval_rows import open_approval
from vault.access.changes import Attempt, Change, Changes
from vault.access.entries import Request
from vault.access.identities import INITIAL_PREFIX, SECOND_US
from vault.access.invitations import code_digests, open_totp, seal_totp
from vault.access.password_rules import PasswordRules
from vault.access.sealing import Alarm, verify
from vault.access.session_rows import known_address
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError, ConflictError, TamperDetectedError
from vault.domain.model import STRANGER, Origin
from vault.storage.staff import (
    InvitationRow,
    StaffRow,
    StaffSecretRow,
    invitation_by_macs,
    locked_invitation,
    locked_staff,
    secret_of,
)

ISSUER: Final = "piivault"

NOT_VALID: Final = "the invitation is not valid"
WRONG_CODE: Final = "the code of the authenticator is not right"


@dataclass(frozen=True, slots=True)
class Enrolling:
    """What somebody with an invitation needs to go on."""

    login: str
    name: str
    provisioning_uri: SecretText
    """To be shown as text and as a picture; holds the authenticator's secret."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Somebody who has enrolled: ``active``, or ``waiting`` for the officer."""

    staff_id: str
    login: str
    state: str
    log_index: int


@dataclass(frozen=True, slots=True)
class _Found:
    invitation: InvitationRow
    staff: StaffRow
    totp: SecretText


class Enrolment:
    """Both steps, with the rules of passwords loaded. Thread-safe."""

    def __init__(self, changes: Changes, passwords: Passwords, rules: PasswordRules) -> None:
        self._changes = changes
        self._passwords = passwords
        self._rules = rules

    def begin(self, code: SecretText, *, origin: Origin, now_us: int) -> Enrolling:
        """Return what the authenticator needs: a fresh secret, which ends the one shown before.

        Is in the log before it is shown. Raises AuthenticationError, with one
        text for an unknown, used and expired code.
        """
        found = self._find(code, origin, now_us)
        secret = otp.generate_secret()
        target = {"invitation": found.invitation.id, "staff": found.staff.id, "step": "begin"}

        def act(attempt: Attempt) -> Change[None]:
            _require_invited(attempt, found.staff.id)
            # Read again: whoever else looks at once has their turn, and the last one enrols.
            latest = locked_invitation(attempt.connection, found.invitation.id)
            if latest is None or attempt.genuine(latest).used_at is not None:
                raise AuthenticationError(NOT_VALID)
            attempt.change(latest, totp_sealed=seal_totp(attempt.keyring, latest.id, secret))
            return Change(None, target, revises=False)

        request = Request(actor=STRANGER, origin=origin, now_us=now_us)
        try:
            self._changes.make_unasked(request, Action.STAFF_ENROL, act)
        except AuthenticationError:
            raise self._stranger(origin, now_us, rule="used") from None
        uri = otp.provisioning_uri(secret, account=found.staff.login, issuer=ISSUER)
        return Enrolling(found.staff.login, found.staff.name, uri)

    def finish(
        self, code: SecretText, *, password: SecretText, totp_code: str, origin: Origin, now_us: int
    ) -> Enrolled:
        """Set password and authenticator, burn the code.

        Takes the time of one Argon2 hash. Raises AuthenticationError for a code
        that is not valid or a TOTP code that is not of the secret shown last,
        InvalidInputError (password).
        """
        found = self._find(code, origin, now_us)
        request = Request(actor=STRANGER, origin=origin, now_us=now_us)
        target = {"staff": found.staff.id}
        try:
            _step_of(found, totp_code, now_us)
        except AuthenticationError:
            raise self._wrong_code(request, target) from None
        self._rules.require(password, login=found.staff.login, name=found.staff.name)
        verifier = self._passwords.hash(password)

        def act(attempt: Attempt) -> Change[StaffRow]:
            staff = _require_invited(attempt, found.staff.id)
            try:
                # Names the version that was read: no secret shown since is passed over.
                attempt.change(found.invitation, used_at=now_us)
            except ConflictError:
                raise AuthenticationError(NOT_VALID) from None
            _store_secret(attempt, found, verifier, _step_of(found, totp_code, now_us))
            attempt.put(known_address(attempt.keyring, staff.id, address=origin.address, now_us=now_us))
            direct = found.invitation.id.startswith(INITIAL_PREFIX)
            if not direct:
                attempt.put(open_approval("enrolment", staff.id, by=staff.id, now_us=now_us))
            after = attempt.change(staff, state="active" if direct else "waiting")
            return Change(after, target, revises=True)

        try:
            made = self._changes.make_unasked(request, Action.STAFF_ENROL, act)
        except AuthenticationError:
            # Raises when the code has ended meanwhile. If it has not, another secret was shown.
            self._find(code, origin, now_us)
            raise self._wrong_code(request, target) from None
        return Enrolled(made.value.id, made.value.login, made.value.state, made.receipt.index)

    def _find(self, code: SecretText, origin: Origin, now_us: int) -> _Found:
        """Return a live invitation. Raises AuthenticationError; whoever has none is counted a stranger."""
        standing = self._changes.standing(now_us)
        digests = code_digests(standing.keyring, code.expose())
        with self._changes.database.reading() as connection:
            invitation = invitation_by_macs(connection, digests)
        if invitation is None:
            raise self._stranger(origin, now_us, rule="unknown")
        try:
            verify(standing.keyring.authority, invitation)
        except TamperDetectedError:
            self._changes.alarms.report([Alarm("invitation", invitation.id)], now_us=now_us)
            raise self._stranger(origin, now_us, rule="tampered") from None
        member = standing.authority.staff.get(invitation.staff_id)
        if invitation.used_at is not None or now_us >= invitation.expires_at:
            raise self._stranger(origin, now_us, rule="over")
        if member is None or member.row.state != "invited":
            raise self._stranger(origin, now_us, rule="state")
        totp = open_totp(standing.keyring, invitation.id, invitation.totp_sealed)
        return _Found(invitation, member.row, totp)

    def _wrong_code(self, request: Request, target: dict[str, str]) -> AuthenticationError:
        error = AuthenticationError(WRONG_CODE)
        self._changes.refuse(request, Action.STAFF_ENROL, error, target=target, rule="code")
        return error

    def _stranger(self, origin: Origin, now_us: int, *, rule: str) -> AuthenticationError:
        error = AuthenticationError(NOT_VALID)
        self._changes.strangers.note(Action.STAFF_ENROL, origin.address, now_us, error=error.code, rule=rule)
        return error


def _require_invited(attempt: Attempt, staff_id: str) -> StaffRow:
    """Return the row of somebody who has yet to enrol, held until the transaction ends."""
    staff = locked_staff(attempt.connection, staff_id)
    if staff is None or attempt.genuine(staff).state != "invited":
        raise AuthenticationError(NOT_VALID)
    return staff


def _step_of(found: _Found, totp_code: str, now_us: int) -> int:
    try:
        return otp.accept_code(found.totp, totp_code, now_us // SECOND_US, -1)
    except CredentialMismatchError:
        raise AuthenticationError(WRONG_CODE) from None


def _store_secret(attempt: Attempt, found: _Found, verifier: str, step: int) -> None:
    staff_id = found.staff.id
    fresh = StaffSecretRow(
        staff_id=staff_id,
        verifier=verifier,
        password_set_at=attempt.now_us,
        totp_sealed=seal_totp(attempt.keyring, staff_id, found.totp),
        highest_step=step,
        version=1,
        mac=b"",
    )
    earlier = secret_of(attempt.connection, staff_id)
    if earlier is None:
        attempt.put(fresh)
    else:
        # What is there, ours or not, is overwritten whole; its version only keeps going up.
        attempt.change(replace(fresh, version=earlier.version))
