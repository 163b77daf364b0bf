"""Codes that let one person enrol once.

A code is 128 random bits, shown once; the row keeps its keyed digest and the
sealed TOTP secret that enrolling will set, which is the one shown last.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final

from keys.keyring import Keyring
from keys.otp import generate_secret
from keys.secret import SecretBytes, SecretText
from vault.access.identities import HOUR_US, new_invitation_id
from vault.access.sealing import usable_keys
from vault.storage.staff import InvitationRow

LIFETIME_US: Final = 72 * HOUR_US

NONCE_LENGTH: Final = 12

_CODE: Final = re.compile(r"pvi_[0-9a-f]{32}").fullmatch


@dataclass(frozen=True, slots=True)
class Invited:
    """A person invited, and the code to hand to them; it is shown this once."""

    staff_id: str
    code: SecretText
    expires_us: int


def new_code() -> SecretText:
    """Return a fresh invitation code."""
    return SecretText("pvi_" + secrets.token_hex(16))


def code_digests(keyring: Keyring, code: str) -> list[bytes]:
    """Return what the row of ``code`` may hold, one per usable session key; nothing for another shape.

    Session secrets begin otherwise, so the two never have a digest in common.
    """
    text = code.strip().lower()
    return list(keyring.sessions.session_digests(SecretText(text))) if _CODE(text) else []


def invitation(
    keyring: Keyring, staff_id: str, *, code: SecretText, now_us: int, initial: bool = False
) -> InvitationRow:
    """Return the unsealed row of a new invitation with a TOTP secret that nobody was shown."""
    identity = new_invitation_id(initial=initial)
    return InvitationRow(
        id=identity,
        staff_id=staff_id,
        code_mac=keyring.sessions.session_digest(code),
        expires_at=now_us + LIFETIME_US,
        used_at=None,
        totp_sealed=seal_totp(keyring, identity, generate_secret()),
        key_version=keyring.sessions.active_version,
        version=1,
        mac=b"",
    )


def seal_totp(keyring: Keyring, owner: str, secret: SecretText) -> bytes:
    """Seal a TOTP secret to the id of the invitation or person it belongs to. Raises UnavailableError."""
    nonce = secrets.token_bytes(NONCE_LENGTH)
    with usable_keys():
        return keyring.staff_data.seal("totp", owner, nonce=nonce, data=SecretBytes(secret.expose().encode()))


def open_totp(keyring: Keyring, owner: str, sealed: bytes) -> SecretText:
    """Open the TOTP secret of a row that was verified. Raises UnavailableError."""
    with usable_keys():
        return SecretText(keyring.staff_data.open("totp", owner, sealed).expose().decode())
