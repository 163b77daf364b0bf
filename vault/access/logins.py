"""Log a person in: password and authenticator, one answer for every failure.

What takes time is the same whether the account exists or not: one Argon2
verification, one TOTP check, and two transactions that reach the disk. What
differs is small beside that, under a millisecond: for a registered login two
look-ups more, the MACs of a dozen rows and, when it fails, an entry of the log
where others only have a count written. That is a difference, and many
measurements from nearby could find it; the throttle allows few.

The code of the authenticator is accepted in the transaction that opens the
session, against the step stored there and under the row's lock. So a code
opens one session, however many requests bring it at once, and no code older
than one used before opens any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from keys.bearer import generate_session_secret
from keys.passwords import Passwords
from keys.secret import SecretText
from vault.access import throttle
from vault.access.accounts import REFUSED, Account, Accounts, Shown, accept
from vault.access.authority import staff_actor
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.decision import PASSWORD_AGE_US, PASSWORD_GRACE_US
from vault.access.entries import Request
from vault.access.naming import folded_login
from vault.access.password_rules import PasswordRules
from vault.access.session_rows import ABSOLUTE_US, live_session
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError, InvalidInputError, TooManyAttemptsError
from vault.domain.model import STRANGER, Actor, Origin
from vault.storage.sessions import close_sessions_of
from vault.storage.staff import StaffRow, StaffSecretRow

T = TypeVar("T")

Inside = Callable[[Attempt, StaffRow, StaffSecretRow], Change[T]]
"""What is done in the transaction that has accepted the code."""

OVERDUE: Final = "the password is past its age; an administrator has to invite you again"


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, and its secret; it is shown this once."""

    secret: SecretText
    actor: Actor
    expires_us: int
    password_renewal_us: int
    """From then on the password yields no plaintext."""
    log_index: int


class Logins:
    """Opens sessions and renews passwords. Thread-safe; a call takes a tenth of a second of one core."""

    def __init__(self, changes: Changes, passwords: Passwords, rules: PasswordRules) -> None:
        self._changes = changes
        self._passwords = passwords
        self._rules = rules
        self._accounts = Accounts(changes, passwords)

    def open(
        self, login: str, *, password: SecretText, totp_code: str, origin: Origin, now_us: int
    ) -> Opened:
        """Return a new session.

        Raises AuthenticationError, with one text for an unknown login, a wrong
        password and a wrong or used code; TooManyAttemptsError, which comes for
        unknown logins just the same.
        """
        session_secret = generate_session_secret()

        def prepare(_staff: StaffRow, examined: StaffSecretRow) -> Inside[tuple[Actor, int]]:
            # The cost of a guess is raised for everybody as they come, without asking anything of them.
            upgraded = (
                self._passwords.hash(password) if self._passwords.needs_upgrade(examined.verifier) else ""
            )

            def inside(
                attempt: Attempt, staff: StaffRow, secret: StaffSecretRow
            ) -> Change[tuple[Actor, int]]:
                if upgraded:
                    attempt.change(secret, verifier=upgraded)
                row = live_session(
                    attempt.keyring, staff.id, secret=session_secret, address=origin.address, now_us=now_us
                )
                session = attempt.put(row)
                actor = staff_actor(staff, session=session.id)
                target = {"session": session.id, "staff": staff.id}
                return Change((actor, secret.password_set_at), target, revises=False)

            return inside

        shown = Shown(login, password, totp_code)
        made = self._enter(shown, Action.SESSION_OPEN, prepare, origin=origin, now_us=now_us)
        actor, set_at = made.value
        return Opened(
            secret=session_secret,
            actor=actor,
            expires_us=now_us + ABSOLUTE_US,
            password_renewal_us=set_at + PASSWORD_AGE_US,
            log_index=made.receipt.index,
        )

    def renew(
        self,
        login: str,
        *,
        password: SecretText,
        totp_code: str,
        new_password: SecretText,
        origin: Origin,
        now_us: int,
    ) -> Made[None]:
        """Set a new password, with the old one and a code. Every open session of the person ends.

        Raises what ``open`` raises, and InvalidInputError for a password that
        may not be set or is the old one; the code is not used up then, and the
        attempt not counted as a failure once the old password and code were right.
        """
        self._rules.require(new_password, login=folded_login(login), name="")
        if new_password.expose() == password.expose():
            raise InvalidInputError("the new password is the old one", field="password", rule="reused")

        def prepare(staff: StaffRow, _examined: StaffSecretRow) -> Inside[None]:
            # Not before the old password was right: what names contain is nobody else's business.
            self._rules.require(new_password, login=staff.login, name=staff.name)
            verifier = self._passwords.hash(new_password)

            def inside(attempt: Attempt, staff: StaffRow, secret: StaffSecretRow) -> Change[None]:
                attempt.change(secret, verifier=verifier, password_set_at=now_us)
                close_sessions_of(attempt.connection, staff.id, now_us)
                return Change(None, {"staff": staff.id}, revises=True)

            return inside

        shown = Shown(login, password, totp_code)
        return self._enter(shown, Action.STAFF_PASSWORD, prepare, origin=origin, now_us=now_us)

    def _enter(
        self,
        shown: Shown,
        action: Action,
        prepare: Callable[[StaffRow, StaffSecretRow], Inside[T]],
        *,
        origin: Origin,
        now_us: int,
    ) -> Made[T]:
        """Examine what is shown; if it is right, accept the code and do what was prepared, at once."""
        account = self._accounts.find(shown.login, address=origin.address, now_us=now_us)
        stranger = Request(actor=STRANGER, origin=origin, now_us=now_us)
        last = self._admit(account, action, stranger)
        rule = self._accounts.examine(account, shown, now_us)
        staff, secret = account.staff, account.secret
        if rule or staff is None or secret is None:
            raise self._failure(account, action, stranger, rule=f"{rule}_and_locked" if last else rule)
        if now_us >= secret.password_set_at + PASSWORD_AGE_US + PASSWORD_GRACE_US:
            error = AuthenticationError(OVERDUE)
            self._changes.refuse(stranger, action, error, target={"staff": staff.id}, rule="password_age")
            raise error
        request = Request(actor=staff_actor(staff), origin=origin, now_us=now_us)
        try:
            then = prepare(staff, secret)
        except InvalidInputError as error:
            # Whoever showed what is right is no guesser, and it is they who were refused.
            with self._changes.database.writing() as connection:
                throttle.succeed(connection, account.slot)
            self._changes.refuse(request, action, error, target={"staff": staff.id})
            raise

        def act(attempt: Attempt) -> Change[T]:
            change = then(attempt, *accept(attempt, account, shown.totp_code))
            throttle.succeed(attempt.connection, account.slot)
            return change

        try:
            return self._changes.make_unasked(request, action, act)
        except AuthenticationError:
            raise self._failure(account, action, stranger, rule="code") from None

    def _admit(self, account: Account, action: Action, request: Request) -> bool:
        try:
            with self._changes.database.writing() as connection:
                return throttle.admit(connection, account.slot, request.now_us)
        except TooManyAttemptsError as error:
            self._changes.strangers.note(
                action, request.origin.address, request.now_us, error=error.code, rule="throttle"
            )
            raise

    def _failure(
        self, account: Account, action: Action, request: Request, *, rule: str
    ) -> AuthenticationError:
        """Log a failure, of somebody registered as an entry and of others among the strangers."""
        error = AuthenticationError(REFUSED)
        if account.staff is not None:
            self._changes.refuse(request, action, error, target={"staff": account.staff.id}, rule=rule)
            return error
        self._changes.strangers.note(
            action, request.origin.address, request.now_us, error=error.code, rule="login"
        )
        # Reaches the disk as the entry would have, so that time does not tell which logins exist.
        with self._changes.database.writing() as connection:
            throttle.mark(connection, account.slot)
        return error
