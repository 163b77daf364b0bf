"""Rows of staff sessions: a live one, and one that only makes an address known."""

from __future__ import annotations

from typing import Final

from keys.bearer import generate_session_secret
from keys.keyring import Keyring
from keys.secret import SecretText
from vault.access.identities import DAY_US, HOUR_US, MINUTE_US, new_session_id
from vault.access.networks import source_of
from vault.access.sealing import Alarm, sift
from vault.storage.database import Connection
from vault.storage.sessions import SessionRow, sessions_since

ABSOLUTE_US: Final = 8 * HOUR_US
"""A working day. No session outlives it, whatever is done in it."""

IDLE_US: Final = 10 * MINUTE_US
"""The law asks for a cut-off without a number (고시 Std 6(4)); guides take 10 to 30 minutes."""

KNOWN_US: Final = 90 * DAY_US
"""So long an address stays one the person has logged in from."""


def live_session(
    keyring: Keyring, staff_id: str, *, secret: SecretText, address: str, now_us: int
) -> SessionRow:
    """Return the unsealed row of a session that begins now."""
    return SessionRow(
        id=new_session_id(),
        secret_mac=keyring.sessions.session_digest(secret),
        staff_id=staff_id,
        address=address,
        created_at=now_us,
        expires_at=now_us + ABSOLUTE_US,
        last_seen_at=now_us,
        closed_at=None,
        key_version=keyring.sessions.active_version,
        version=1,
        mac=b"",
    )


def known_address(keyring: Keyring, staff_id: str, *, address: str, now_us: int) -> SessionRow:
    """Return the unsealed row of a session that never was open.

    It says that the person has been at this address, so that the first login
    after an enrolment is not at the mercy of strangers who fail to log in.
    """
    return SessionRow(
        id=new_session_id(),
        # Of a secret that nobody has.
        secret_mac=keyring.sessions.session_digest(generate_session_secret()),
        staff_id=staff_id,
        address=address,
        created_at=now_us,
        expires_at=now_us,
        last_seen_at=now_us,
        closed_at=now_us,
        key_version=keyring.sessions.active_version,
        version=1,
        mac=b"",
    )


def is_known(
    connection: Connection, keyring: Keyring, staff_id: str, *, address: str, now_us: int, alarms: set[Alarm]
) -> bool:
    """Say whether the person was at the source of ``address`` lately; rows that do not verify alarm."""
    rows = sift(keyring.authority, sessions_since(connection, staff_id, now_us - KNOWN_US), alarms)
    source = source_of(address)
    return any(source_of(row.address) == source for row in rows)
