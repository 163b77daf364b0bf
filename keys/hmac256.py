"""HMAC-SHA256 under a key that is set once (docs/formats/envelope.md 1.3)."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from keys.errors import MalformedError
from keys.secret import KEY_LENGTH, SecretBytes


def new_hmac(key: SecretBytes) -> HMAC:
    """Return a keyed HMAC-SHA256 to copy for each message: a third of the cost of keying anew.

    Raises MalformedError("key_length") unless the key is 32 bytes.
    """
    if len(key.expose()) != KEY_LENGTH:
        raise MalformedError("key_length")
    return HMAC(key.expose(), hashes.SHA256())


def mac(keyed: HMAC, message: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA256 over ``message``; ``keyed`` stays as it was."""
    running = keyed.copy()
    running.update(message)
    return running.finalize()
