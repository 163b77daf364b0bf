"""Staff sessions: shown with every request, cut off when idle, over after a working day."""

from __future__ import annotations

from typing import Final

from keys.bearer import parse_session_secret
from keys.errors import MalformedError
from keys.keyring import Keyring
from keys.secret import SecretText
from vault.access.authority import Authority, staff_actor
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.access.identities import SECOND_US
from vault.access.networks import source_of
from vault.access.sealing import Alarm, verify
from vault.access.session_rows import IDLE_US
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError, SessionExpiredError, TamperDetectedError
from vault.domain.model import Actor, Origin
from vault.storage.sessions import SessionRow, close_session, session_by_macs, touch_session

TOUCH_US: Final = 60 * SECOND_US
"""A session in use is written down at most once a minute; its idle limit is exact to a minute for that."""

UNKNOWN: Final = "the session is not valid; log in"
OVER: Final = "the session is over; log in again"


def authenticate_session(changes: Changes, secret: SecretText, *, origin: Origin, now_us: int) -> Actor:
    """Return the person whose session this is, as they are registered now.

    Raises SessionExpiredError when it is closed, idle for 10 minutes, older
    than 8 hours, or shown from another source than it was opened from, so that
    a stolen secret is of no use elsewhere; AuthenticationError when there is no
    such session.
    """
    standing = changes.standing(now_us)
    try:
        row = _find(changes, standing.keyring, secret, now_us)
        actor = _require_live(standing.authority, row, origin.address, now_us)
    except AuthenticationError as error:
        changes.strangers.note(Action.SESSION_OPEN, origin.address, now_us, error=error.code, rule="session")
        raise
    if now_us - row.last_seen_at >= TOUCH_US:
        with changes.database.writing() as connection:
            touch_session(connection, row.id, now_us)
    return actor


def close(changes: Changes, request: Request) -> Made[None]:
    """Close the session the actor acts in. One that is closed stays so. Raises AccessDeniedError."""

    def act(attempt: Attempt) -> Change[None]:
        close_session(attempt.connection, request.actor.session, attempt.now_us)
        return Change(None, {"session": request.actor.session}, revises=False)

    return changes.make(request, Action.SESSION_CLOSE, act)


def _find(changes: Changes, keyring: Keyring, secret: SecretText, now_us: int) -> SessionRow:
    try:
        parsed = parse_session_secret(secret.expose())
    except MalformedError:
        raise AuthenticationError(UNKNOWN) from None
    with changes.database.reading() as connection:
        row = session_by_macs(connection, list(keyring.sessions.session_digests(parsed)))
    if row is None:
        raise AuthenticationError(UNKNOWN)
    try:
        return verify(keyring.authority, row)
    except TamperDetectedError:
        changes.alarms.report([Alarm("session", row.id)], now_us=now_us)
        raise AuthenticationError(UNKNOWN) from None


def _require_live(authority: Authority, row: SessionRow, address: str, now_us: int) -> Actor:
    ends_us = min(row.expires_at, row.last_seen_at + IDLE_US)
    if row.closed_at is not None or now_us >= ends_us or source_of(row.address) != source_of(address):
        raise SessionExpiredError(OVER)
    member = authority.staff.get(row.staff_id)
    if member is None or member.row.state != "active":
        raise SessionExpiredError(OVER)
    return staff_actor(member.row, session=row.id)
