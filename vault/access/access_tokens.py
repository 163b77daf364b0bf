"""OAuth access tokens of services: issued for a client secret, good for ten minutes.

A token says which credential it was issued for and until when. Whatever else
counts (credential, service and owner still in force) is looked up in the
authority each time, so a revocation stops the tokens issued before it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from keys.bearer import SessionKeys, parse_client_secret
from keys.errors import CredentialExpiredError, CredentialMismatchError, KeysError, MalformedError
from keys.secret import SecretText
from vault.access.authority import Authority, HeldCredential
from vault.access.changes import Attempt, Change, Changes
from vault.access.decision import ends_at
from vault.access.entries import Request
from vault.access.identities import SECOND_US, raw_credential_id
from vault.access.networks import within
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, AuthenticationError, SessionExpiredError
from vault.domain.model import Actor, Origin

LIFETIME_S: Final = 600
"""Seconds. A leaked token is worth ten minutes; a client asks six times an hour."""

REFUSED: Final = "the client could not be authenticated"
OVER: Final = "the access token is not valid any more"


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token, and how many seconds it is good for."""

    text: SecretText
    expires_in: int


def authenticate_access_token(authority: Authority, sessions: SessionKeys, text: str, now_us: int) -> Actor:
    """Return the service that shows ``text``. Asks nothing but ``authority``. HOT.

    Raises SessionExpiredError when the token or its credential is over or
    revoked, AuthenticationError when it is not one of ours.
    """
    try:
        token = sessions.open_access_token(text, at=now_us // SECOND_US)
    except CredentialExpiredError:
        raise SessionExpiredError(OVER) from None
    except KeysError:
        raise AuthenticationError(REFUSED) from None
    held = authority.credentials.get(token.credential_id)
    if held is None:
        raise AuthenticationError(REFUSED)
    if _stopped_by(held, now_us):
        raise SessionExpiredError(OVER)
    return held.actor


def issue_access_token(
    changes: Changes, client_id: str, client_secret: SecretText, *, origin: Origin, now_us: int
) -> Issued:
    """Return a new access token for a service that shows one of its live secrets.

    Logged with the credential used. A wrong secret or an unknown client is
    counted among the strangers; a right secret that may not be used any more,
    or not from here, is logged as a refusal of that service.
    Raises AuthenticationError, with one text for every cause.
    """
    standing = changes.standing(now_us)
    try:
        held = _find(standing.authority, standing.keyring.sessions, client_id, client_secret)
    except AuthenticationError as error:
        changes.strangers.note(
            Action.SERVICE_AUTHENTICATE, origin.address, now_us, error=error.code, rule="credential"
        )
        raise

    def issue(attempt: Attempt) -> Change[Issued]:
        # Looked up again: this attempt may decide by a newer authority than the one above.
        current = attempt.authority.credentials_by_id.get(held.row.id)
        if current is None:
            raise AccessDeniedError(REFUSED, rule="credential")
        issued = now_us // SECOND_US
        expires = min(issued + LIFETIME_S, ends_at(current.row) // SECOND_US)
        rule = _stopped_by(current, now_us) or ("credential" if expires <= issued else "")
        if rule or not within(origin.address, current.service.networks):
            raise AccessDeniedError(REFUSED, rule=rule or "network")
        text = attempt.keyring.sessions.issue_access_token(
            raw_credential_id(current.row.id), issued=issued, expires=expires
        )
        return Change(Issued(text, expires - issued), {"service": current.service.row.id}, revises=False)

    request = Request(actor=held.actor, origin=origin, now_us=now_us)
    try:
        return changes.make_unasked(request, Action.SERVICE_AUTHENTICATE, issue).value
    except AccessDeniedError as error:
        rule = error.rule
    refusal = AuthenticationError(REFUSED)
    changes.refuse(request, Action.SERVICE_AUTHENTICATE, refusal, rule=rule)
    raise refusal


def _find(
    authority: Authority, sessions: SessionKeys, client_id: str, client_secret: SecretText
) -> HeldCredential:
    account = authority.services.get(client_id)
    if account is None:
        raise AuthenticationError(REFUSED)
    try:
        secret = parse_client_secret(client_secret.expose())
    except MalformedError:
        raise AuthenticationError(REFUSED) from None
    for credential in account.credentials:
        with suppress(CredentialMismatchError):
            sessions.check_credential(secret, credential.secret_mac)
            return authority.credentials_by_id[credential.id]
    raise AuthenticationError(REFUSED)


def _stopped_by(held: HeldCredential, now_us: int) -> str:
    """Return the rule that stops this credential now, or nothing."""
    if held.service.row.state != "active":
        return "service"
    if not held.service.owner_active:
        return "owner"
    return "credential" if now_us >= ends_at(held.row) else ""
