"""Ed25519 signatures of the log (docs/formats/envelope.md 9.4, RFC 8032).

The text of a signed note belongs to the log; here are bytes, signatures and key ids.
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keys.context import utf8
from keys.errors import MalformedError, VerificationError
from keys.secret import KEY_LENGTH, SecretBytes

ED25519_ALGORITHM = b"\x01"
"""Signature type of C2SP signed-note."""
PUBLIC_LENGTH = 32
KEY_ID_LENGTH = 4


def key_id(name: str, public: bytes) -> bytes:
    """Return the 4 bytes that name a key in a signed note.

    Raises MalformedError("key_name") for a name that is empty or holds a space or
    a plus sign, ("key_length") unless the public key is 32 bytes.
    """
    if not name or "+" in name or any(map(str.isspace, name)):
        raise MalformedError("key_name")
    if len(public) != PUBLIC_LENGTH:
        raise MalformedError("key_length")
    return hashlib.sha256(utf8(name) + b"\n" + ED25519_ALGORITHM + public).digest()[:KEY_ID_LENGTH]


class SigningKey:
    """A named private key. ``public`` is its 32-byte public key, ``key_id`` its id in a signed note."""

    __slots__ = ("_private", "key_id", "name", "public", "version")

    def __init__(self, name: str, seed: SecretBytes, version: int = 1) -> None:
        if len(seed.expose()) != KEY_LENGTH:
            raise MalformedError("key_length")
        self._private = Ed25519PrivateKey.from_private_bytes(seed.expose())
        self.name = name
        self.version = version
        self.public = self._private.public_key().public_bytes_raw()
        self.key_id = key_id(name, self.public)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        # The library's key lets itself be copied.
        raise TypeError("a signing key is not copied or pickled")

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``."""
        return self._private.sign(message)


class VerifyKey:
    """A public key, from the 32 bytes somebody trusts. Raises MalformedError("key_length")."""

    __slots__ = ("_key", "public")

    def __init__(self, public: bytes) -> None:
        if len(public) != PUBLIC_LENGTH:
            raise MalformedError("key_length")
        self.public = public
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if ``signature`` is that of ``message`` under this key. Raises VerificationError."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            raise VerificationError from None
