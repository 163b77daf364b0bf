"""Texts that services and sessions carry (docs/formats/token.md 4 to 6).

What is guaranteed: a text is in its one form or refused; what the vault stores
of a secret does not give the secret; an access token was made under a session
key of this vault, unchanged. What is not: who may use them, which the layers
above decide.
"""

from __future__ import annotations

import os
import re
import struct
from hmac import compare_digest
from typing import NamedTuple
from zlib import crc32

from keys.context import encode_context, require_vault_id
from keys.errors import CredentialExpiredError, CredentialMismatchError, MalformedError
from keys.macs import MacKeys
from keys.secret import SecretText

CREDENTIAL_LABEL = b"piivault/credential/v1"
SESSION_LABEL = b"piivault/session/v1"
ACCESS_LABEL = b"piivault/access-token/v1"
CLIENT_SECRET_PREFIX = "pvs_"
SESSION_SECRET_PREFIX = "pvn_"
CREDENTIAL_ID_LENGTH = 16

_ACCESS_VERSION = 1
_ACCESS = struct.Struct(">BI16sQQ")
_CLIENT_ID = re.compile(r"svc_[0-9a-f]{20}").fullmatch
_SECRET = re.compile(r"(pv[sn]_)([0-9a-f]{64})([0-9a-f]{8})").fullmatch
_ACCESS_TEXT = re.compile(r"pva_([0-9a-f]{138})").fullmatch


class AccessToken(NamedTuple):
    """What an access token says. Times are seconds since 1970-01-01 UTC."""

    credential_id: bytes
    issued: int
    expires: int


def generate_client_id() -> str:
    """Return a new public id of a service."""
    return f"svc_{os.urandom(10).hex()}"


def require_client_id(text: str) -> str:
    """Return ``text`` if it has the form of a client id. Raises MalformedError("shape")."""
    if not _CLIENT_ID(text):
        raise MalformedError("shape")
    return text


def generate_client_secret() -> SecretText:
    """Return a new client secret, to be shown once."""
    return _new_secret(CLIENT_SECRET_PREFIX)


def generate_session_secret() -> SecretText:
    """Return a new session secret."""
    return _new_secret(SESSION_SECRET_PREFIX)


def parse_client_secret(text: str) -> SecretText:
    """Return ``text`` if it is in the form of a client secret. Raises MalformedError: shape, check."""
    return _parse_secret(text, CLIENT_SECRET_PREFIX)


def parse_session_secret(text: str) -> SecretText:
    """Return ``text`` if it is in the form of a session secret. Raises MalformedError: shape, check."""
    return _parse_secret(text, SESSION_SECRET_PREFIX)


def _new_secret(prefix: str) -> SecretText:
    body = f"{prefix}{os.urandom(32).hex()}"
    return SecretText(f"{body}{crc32(body.encode()):08x}")


def _parse_secret(text: str, prefix: str) -> SecretText:
    match = _SECRET(text)
    if match is None or match[1] != prefix:
        raise MalformedError("shape")
    if crc32(text[:-8].encode()) != int(match[3], 16):
        raise MalformedError("check")
    return SecretText(text)


class SessionKeys:
    """Digests of secrets and access tokens, under the session keys of one vault.

    Threads may share it.
    """

    __slots__ = ("_access", "_credential", "_keys", "_session")

    def __init__(self, vault_id: bytes, keys: MacKeys) -> None:
        require_vault_id(vault_id)
        self._credential = encode_context(CREDENTIAL_LABEL, vault_id)
        self._session = encode_context(SESSION_LABEL, vault_id)
        self._access = encode_context(ACCESS_LABEL, vault_id)
        self._keys = keys

    @property
    def active_version(self) -> int:
        """Key version that writes. Raises UnknownKeyVersionError when none is active."""
        return self._keys.active_version

    def credential_digest(self, secret: SecretText) -> bytes:
        """Return the 32 bytes to store of a client secret. Raises UnknownKeyVersionError."""
        return self._keys.mac(_message(self._credential, secret))

    def check_credential(self, secret: SecretText, stored: bytes) -> int:
        """Return the version of the key under which ``stored`` is the digest of ``secret``.

        Raises CredentialMismatchError unless it is. Constant time in the digest.
        """
        for version in self._keys.versions:
            # Not bound to a name: whoever reports the error below collects locals.
            if compare_digest(self._keys.mac_under(version, _message(self._credential, secret)), stored):
                return version
        raise CredentialMismatchError

    def session_digest(self, secret: SecretText) -> bytes:
        """Return the 32 bytes to store of a session secret. Raises UnknownKeyVersionError."""
        return self._keys.mac(_message(self._session, secret))

    def session_digests(self, secret: SecretText) -> tuple[bytes, ...]:
        """Return the digests to look a session up by, the active key's first."""
        message = _message(self._session, secret)
        return tuple(self._keys.mac_under(version, message) for version in self._keys.versions)

    def session_digest_under(self, version: int, secret: SecretText) -> bytes:
        """Return the 32 bytes that one key version stores of a secret. Raises UnknownKeyVersionError."""
        return self._keys.mac_under(version, _message(self._session, secret))

    def issue_access_token(self, credential_id: bytes, *, issued: int, expires: int) -> SecretText:
        """Return an access token under the active key.

        Raises UnknownKeyVersionError, MalformedError: credential_id, lifetime (token.md 6.2).
        """
        if len(credential_id) != CREDENTIAL_ID_LENGTH:
            raise MalformedError("credential_id")
        if issued >= expires:
            raise MalformedError("lifetime")
        version = self._keys.active_version
        try:
            payload = _ACCESS.pack(_ACCESS_VERSION, version, credential_id, issued, expires)
        except struct.error:
            raise MalformedError("lifetime") from None
        code = self._keys.mac_under(version, self._access + encode_context(payload))
        return SecretText(f"pva_{payload.hex()}{code.hex()}")

    def open_access_token(self, text: str, *, at: int) -> AccessToken:
        """Return what a genuine access token says, at ``at`` seconds since 1970-01-01 UTC.

        Raises, in this order (token.md 6.3): MalformedError (shape, version),
        UnknownKeyVersionError, CredentialMismatchError, CredentialExpiredError.
        """
        match = _ACCESS_TEXT(text)
        if match is None:
            raise MalformedError("shape")
        raw = bytes.fromhex(match[1])
        payload = raw[: _ACCESS.size]
        form, version, credential_id, issued, expires = _ACCESS.unpack(payload)
        if form != _ACCESS_VERSION:
            raise MalformedError("version")
        message = self._access + encode_context(payload)
        # The code before any time is believed. It would make a forged token good: no local variable holds it.
        if not compare_digest(self._keys.mac_under(version, message), raw[_ACCESS.size :]):
            raise CredentialMismatchError
        if at >= expires:
            raise CredentialExpiredError
        return AccessToken(credential_id, issued, expires)


def _message(head: bytes, secret: SecretText) -> bytes:
    return head + encode_context(secret.expose().encode())
