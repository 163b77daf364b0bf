"""Codes of the second factor (docs/formats/token.md 7, RFC 6238).

What is guaranteed: a code is accepted for one step of time, and no step at or
below the highest one accepted before is ever accepted again, so neither a
replayed code nor an earlier one after a later one gets through. What is not:
the caller stores the step returned, in the transaction that accepts the code.
"""

from __future__ import annotations

import base64
import re
from hmac import compare_digest

import pyotp

from keys.errors import CredentialMismatchError, MalformedError
from keys.secret import SecretBytes, SecretText

STEP_SECONDS = 30
WINDOW = 1
"""Steps accepted on either side of now: clocks differ, people type slowly (RFC 6238 section 5.2)."""
SECRET_CHARACTERS = 32
"""160 bits in base32, the length of the SHA-1 output as RFC 4226 section 4 recommends."""

_CODE = re.compile(r"[0-9]{6}").fullmatch
_BASE32 = re.compile(r"[A-Z2-7]{32}").fullmatch


def generate_secret() -> SecretText:
    """Return a new secret, as base32 text."""
    return SecretText(pyotp.random_base32(SECRET_CHARACTERS))


def accept_code(secret: SecretBytes | SecretText, code: str, at: int, highest_step: int) -> int:
    """Return the step of time that ``code`` is for; the caller stores it as the new highest.

    ``secret`` is 32 base32 characters, or the 20 bytes they stand for; ``at`` is
    in seconds since 1970-01-01 UTC; ``highest_step`` is the highest step accepted
    before, -1 if none was. Raises CredentialMismatchError unless the code is that
    of a step above it and within one step of ``at``; MalformedError("otp_secret").
    """
    generator = pyotp.TOTP(_base32(secret), interval=STEP_SECONDS)
    if not _CODE(code):
        raise CredentialMismatchError
    now = at // STEP_SECONDS
    accepted = -1
    # All steps, always: which one matches does not show in time. Should two match, the higher
    # one counts, or the same code could pass a second time.
    for step in range(max(now - WINDOW, 0), now + WINDOW + 1):
        if compare_digest(generator.generate_otp(step), code):
            accepted = step
    if accepted <= highest_step:
        raise CredentialMismatchError
    return accepted


def provisioning_uri(secret: SecretBytes | SecretText, *, account: str, issuer: str) -> SecretText:
    """Return the ``otpauth`` address an authenticator scans. It holds the secret.

    Raises MalformedError("otp_secret").
    """
    generator = pyotp.TOTP(_base32(secret), interval=STEP_SECONDS)
    return SecretText(generator.provisioning_uri(name=account, issuer_name=issuer))


def _base32(secret: SecretBytes | SecretText) -> str:
    if isinstance(secret, SecretBytes):
        secret = SecretText(base64.b32encode(secret.expose()).decode())
    if not _BASE32(secret.expose()):
        raise MalformedError("otp_secret")
    return secret.expose()
