"""Have two people vouch, on the host, for what neither may decide alone.

For the day of a restore: nobody has a session then, and the rows of the people
are those of the copy that is being put back.
"""

from __future__ import annotations

from keys import otp
from keys.errors import KeysError
from keys.passwords import Passwords
from keys.secret import SecretText
from vault.access.accounts import LONGEST, REFUSED, Shown
from vault.access.changes import Attempt
from vault.access.identities import SECOND_US
from vault.access.invitations import open_totp
from vault.access.naming import folded_login, is_login
from vault.domain.errors import AuthenticationError
from vault.domain.model import Role
from vault.storage.staff import StaffRow, StaffSecretRow, locked_secret, staff_by_login


def require(attempt: Attempt, passwords: Passwords, shown: Shown, role: Role, *, now_us: int) -> StaffRow:
    """Return who vouches. Their code is used up.

    The age of a password does not count: it is as old as the copy. Raises
    AuthenticationError, with one text, unless login, password and code are
    those of an active person of this role. Nobody has two roles, so two
    roles are two people.
    """
    login = folded_login(shown.login[:LONGEST])
    staff = staff_by_login(attempt.connection, login) if is_login(login) else None
    secret = None if staff is None else locked_secret(attempt.connection, staff.id)
    if staff is None or secret is None:
        raise AuthenticationError(REFUSED)
    attempt.genuine(staff)
    attempt.genuine(secret)
    step = _accepted(attempt, passwords, secret, shown, now_us=now_us)
    if step is None or staff.state != "active" or role not in staff.roles:
        raise AuthenticationError(REFUSED)
    attempt.change(secret, highest_step=step)
    return staff


def _accepted(
    attempt: Attempt, passwords: Passwords, secret: StaffSecretRow, shown: Shown, *, now_us: int
) -> int | None:
    totp = open_totp(attempt.keyring, secret.staff_id, secret.totp_sealed)
    try:
        passwords.verify(secret.verifier, _short(shown.password))
        return otp.accept_code(totp, shown.totp_code, now_us // SECOND_US, secret.highest_step)
    except KeysError:
        return None


def _short(password: SecretText) -> SecretText:
    """Return a password that costs no more than it should to look at; a longer one is wrong anyway."""
    return password if len(password.expose()) <= LONGEST else SecretText("")
