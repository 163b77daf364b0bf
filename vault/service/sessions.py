"""Who is asking: log in and out, client credentials, and what is shown with every request.

Secrets come in as text and are wrapped here, at once. Acting on what was
established is for the other nouns; this one only says who somebody is.
"""

from __future__ import annotations

from dataclasses import dataclass

from keys.secret import SecretText
from vault.access import sessions
from vault.access.access_tokens import Issued, authenticate_access_token, issue_access_token
from vault.access.changes import Changes, Made
from vault.access.decision import ends_at
from vault.access.entries import Request
from vault.access.identities import SECOND_US
from vault.access.logins import Logins, Opened
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError
from vault.domain.model import Actor, Origin


@dataclass(frozen=True, slots=True)
class Admitted:
    """A service that has shown a good access token."""

    actor: Actor
    until_us: int
    """From then on the token is to be looked at again. So it is at another revision."""
    revision: int


class Sessions:
    """Thread-safe."""

    def __init__(self, changes: Changes, logins: Logins) -> None:
        self._changes = changes
        self._logins = logins

    @property
    def revision(self) -> int:
        """Revision of what is held in memory; what was admitted at another one is to be asked again."""
        return self._changes.standings.current.revision

    def open(self, login: str, *, password: str, code: str, origin: Origin, now_us: int) -> Opened:
        """Log a person in. Takes the time of one Argon2 hash.

        Raises AuthenticationError, TooManyAttemptsError.
        """
        return self._logins.open(
            login, password=SecretText(password), totp_code=code, origin=origin, now_us=now_us
        )

    def close(self, request: Request) -> Made[None]:
        """Log the actor out. Raises AccessDeniedError."""
        return sessions.close(self._changes, request)

    def renew_password(
        self, login: str, *, password: str, code: str, new_password: str, origin: Origin, now_us: int
    ) -> Made[None]:
        """Set a new password with the old one and a code; open sessions of the person end.

        Takes the time of two Argon2 hashes. Raises AuthenticationError,
        TooManyAttemptsError, InvalidInputError.
        """
        return self._logins.renew(
            login,
            password=SecretText(password),
            totp_code=code,
            new_password=SecretText(new_password),
            origin=origin,
            now_us=now_us,
        )

    def issue_access_token(
        self, client_id: str, client_secret: str, *, origin: Origin, now_us: int
    ) -> Issued:
        """Return an access token for a client secret. Raises AuthenticationError."""
        secret = SecretText(client_secret)
        return issue_access_token(self._changes, client_id, secret, origin=origin, now_us=now_us)

    def admit_service(self, text: str, now_us: int) -> Admitted:
        """Return who shows this access token, by what is held in memory. HOT; asks no database.

        Raises AuthenticationError, SessionExpiredError. Memory may be behind
        another node: ``refresh`` and ask again before anybody is told no.
        """
        standing = self._changes.standings.current
        keys = standing.keyring.sessions
        actor = authenticate_access_token(standing.authority, keys, text, now_us)
        token = keys.open_access_token(text, at=now_us // SECOND_US)
        ends = ends_at(standing.authority.credentials_by_id[actor.session].row)
        return Admitted(actor, min(token.expires * SECOND_US, ends), standing.revision)

    def admit_staff(self, text: str, *, origin: Origin, now_us: int) -> Actor:
        """Return who shows this session secret. Asks the database.

        Raises AuthenticationError, SessionExpiredError, UnavailableError.
        """
        return sessions.authenticate_session(self._changes, SecretText(text), origin=origin, now_us=now_us)

    def refresh(self, now_us: int) -> None:
        """Read what is in force now, if that has changed. Raises UnavailableError."""
        self._changes.standing(now_us)

    def count_stranger(
        self, action: Action, origin: Origin, error: AuthenticationError, *, rule: str, now_us: int
    ) -> None:
        """Count the refusal of somebody unknown: one log entry per source, kind and minute."""
        self._changes.strangers.note(action, origin.address, now_us, error=error.code, rule=rule)


__all__ = ["Admitted", "Issued", "Made", "Opened", "Request", "Sessions"]
