"""Look at what somebody shows to log in, at the same cost whoever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from keys import otp
from keys.errors import CredentialMismatchError, KeysError
from keys.keyring import Keyring
from keys.passwords import Passwords
from keys.secret import SecretText
from vault.access.changes import Attempt, Changes
from vault.access.identities import SECOND_US
from vault.access.invitations import open_totp
from vault.access.naming import folded_login, is_login
from vault.access.networks import source_of
from vault.access.sealing import Alarm, sift, usable_keys
from vault.access.session_rows import is_known
from vault.access.throttle import Slot
from vault.domain.errors import AuthenticationError
from vault.storage.rows import SealedRow
from vault.storage.staff import (
    StaffRow,
    StaffSecretRow,
    locked_secret,
    locked_staff,
    secret_of,
    staff_by_login,
)

R = TypeVar("R", bound=SealedRow)

REFUSED: Final = "login, password or code is not right"

LONGEST: Final = 1024
"""Characters of a password or login that are looked at at all; longer ones are wrong."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody shows."""

    login: str
    password: SecretText
    totp_code: str


@dataclass(frozen=True, slots=True)
class Account:
    """Whoever has this login, as far as they are registered and their rows are ours."""

    staff: StaffRow | None
    secret: StaffSecretRow | None
    totp: SecretText | None
    slot: Slot


def login_text(folded: str) -> SecretText:
    """Return what failures of a login, as compared, are counted under the digest of (envelope.md 9.6)."""
    return SecretText("login " + folded)


class Accounts:
    """Finds accounts and examines what is shown for them. Thread-safe."""

    def __init__(self, changes: Changes, passwords: Passwords) -> None:
        self._changes = changes
        self._passwords = passwords
        self._nobodys_totp = otp.generate_secret()

    def find(self, login: str, *, address: str, now_us: int) -> Account:
        """Return the account of ``login``. Rows that do not verify alarm and count as absent."""
        keyring = self._changes.standing(now_us).keyring
        # As UTF-8 knows it: a lone surrogate is nobody's login, and has a digest like all others.
        folded = folded_login(login[:LONGEST]).encode(errors="replace").decode()
        alarms: set[Alarm] = set()
        with self._changes.database.reading() as connection:
            # What cannot be a login is not asked for: PostgreSQL has no words for a NUL.
            found = staff_by_login(connection, folded) if is_login(folded) else None
            staff = _ours(keyring, found, alarms)
            secret = None if staff is None else _ours(keyring, secret_of(connection, staff.id), alarms)
            known = staff is not None and is_known(
                connection, keyring, staff.id, address=address, now_us=now_us, alarms=alarms
            )
        self._changes.alarms.report(alarms, now_us=now_us)
        totp = None if secret is None else open_totp(keyring, secret.staff_id, secret.totp_sealed)
        with usable_keys():
            digest = keyring.sessions.session_digest(login_text(folded))
            older = keyring.sessions.session_digests(login_text(folded))[1:]
        return Account(staff, secret, totp, Slot(digest, source_of(address), known, older))

    def examine(self, account: Account, shown: Shown, now_us: int) -> str:
        """Return the rule that fails, or nothing. Does all of its work whatever fails."""
        rules = []
        try:
            self._verify(account.secret, shown.password)
        except KeysError:
            rules.append("password")
        try:
            # Only so that a wrong or used code goes the way of a wrong password; ``accept`` decides.
            used = -1 if account.secret is None else account.secret.highest_step
            totp = account.totp or self._nobodys_totp
            otp.accept_code(totp, shown.totp_code, now_us // SECOND_US, used)
        except KeysError:
            rules.append("code")
        if account.totp is None or account.staff is None or account.staff.state != "active":
            rules.append("state")
        return rules[0] if rules else ""

    def _verify(self, secret: StaffSecretRow | None, password: SecretText) -> None:
        if len(password.expose()) > LONGEST:
            self._passwords.verify_nobody(SecretText(""))
        elif secret is None:
            self._passwords.verify_nobody(password)
        else:
            self._passwords.verify(secret.verifier, password)


def accept(attempt: Attempt, account: Account, totp_code: str) -> tuple[StaffRow, StaffSecretRow]:
    """Accept the code and store its step, so that neither it nor an earlier one is accepted again.

    Holds both rows until the transaction ends and requires that what was
    examined before is still in force. Raises AuthenticationError.
    """
    assert account.staff is not None  # what passed the examination has an account
    assert account.secret is not None  # and the secret it was examined by
    staff = locked_staff(attempt.connection, account.staff.id)
    secret = locked_secret(attempt.connection, account.staff.id)
    if staff is None or secret is None or attempt.genuine(staff).state != "active":
        raise AuthenticationError(REFUSED)
    if attempt.genuine(secret).verifier != account.secret.verifier:
        raise AuthenticationError(REFUSED)
    totp = open_totp(attempt.keyring, staff.id, secret.totp_sealed)
    try:
        step = otp.accept_code(totp, totp_code, attempt.now_us // SECOND_US, secret.highest_step)
    except CredentialMismatchError:
        raise AuthenticationError(REFUSED) from None
    return staff, attempt.change(secret, highest_step=step)


def _ours(keyring: Keyring, row: R | None, alarms: set[Alarm]) -> R | None:
    kept = sift(keyring.authority, [] if row is None else [row], alarms)
    return kept[0] if kept else None
