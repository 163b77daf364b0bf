"""A PKCS#11 token seals the root key: a hardware module, or SoftHSM (docs/formats/envelope.md 7).

What is guaranteed: the key that seals never leaves the token. It is used there
with AES-256-GCM (CKM_AES_GCM of PKCS#11 v3.0; NIST SP 800-38D), a random 96-bit
IV and the context as associated data; what was sealed is opened once before it
is handed out; a key that is, or ever was, extractable is refused. What is not:
what is sealed passes through this process in the clear, and so does the PIN.

Each call opens a session, logs in, finds and checks the key, and logs out; none
is kept between calls. Calls are few, as a vault asks when it starts and when
keys change; nobody stays logged in; and a token that was away works again at the
next call. Threads take turns (keys.wrappers.cryptoki says why). A process forked
after the first use must not use the token: every call raises "forked" there.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from keys.envelope import NONCE_LENGTH, TAG_LENGTH
from keys.errors import DecryptionError, WrapperUnavailableError
from keys.secret import KEY_LENGTH, SecretBytes, SecretText
from keys.wrappers.cryptoki import Token

if TYPE_CHECKING:
    from pkcs11.types import Object, Session

_VERSION = b"\x04"
_IV_END = 1 + NONCE_LENGTH
_KEY_BITS: Final = 8 * KEY_LENGTH
_TAG_BITS: Final = 8 * TAG_LENGTH


class Pkcs11Wrapper:
    """Seals keys inside a token, under a key that cannot leave it. Threads may share it, forks may not."""

    __slots__ = ("_key_label", "_opened", "_token")

    kind: Final = "pkcs11"

    def __init__(self, module: Path, token_label: str, key_label: str, pin: SecretText) -> None:
        """Log in once and check the key.

        Raises WrapperUnavailableError: ambiguous_key, ambiguous_token, extractable, forked, key_type,
        mechanism, missing_key, module, not_installed, pin, pin_final_try, pin_locked, token_missing,
        unreachable.
        """
        self._token = _token(module, token_label, key_label, pin)
        self._key_label = key_label
        self._opened = False
        with self._key():
            self._opened = True

    def __repr__(self) -> str:
        return f"<{self.describe()}>"

    @staticmethod
    def destroy_key(module: Path, token_label: str, key_label: str, pin: SecretText) -> bool:
        """Destroy the secret keys of a label in the token; return False when there was none.

        Copies of the token, and its backups, may still hold them. Raises
        WrapperUnavailableError: as the constructor, and write_protected.
        """
        token = _token(module, token_label, key_label, pin)
        with token.session(writable=True) as session:
            found = _keys(session, key_label)
            for key in found:
                key.destroy()
            return bool(found)

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``: ``04 ‖ iv 12 ‖ ciphertext ‖ tag 16``.

        Raises WrapperUnavailableError: as the constructor.
        """
        with self._key() as key:
            return _VERSION + self._seal(key, plaintext, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped.

        Raises DecryptionError: not of this layout, or does not authenticate. Raises
        WrapperUnavailableError: as the constructor.
        """
        if len(wrapped) < _IV_END + TAG_LENGTH or wrapped[:1] != _VERSION:
            raise DecryptionError
        with self._key() as key:
            from pkcs11.exceptions import PKCS11Error

            # Modules do not agree on the code for a wrong tag. SoftHSM says CKR_GENERAL_ERROR, as a broken
            # token does too; but one that still seals and opens is not broken, so the input is at fault.
            with suppress(PKCS11Error):
                return _open(key, wrapped[1:], context)
            self._seal(key, SecretBytes(bytes(KEY_LENGTH)), b"")
        raise DecryptionError

    def describe(self) -> str:
        """Return the labels of token and key."""
        return self._token.place

    def _seal(self, key: Any, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``iv ‖ ciphertext ‖ tag``, proven to open."""
        from pkcs11.exceptions import PKCS11Error

        iv = os.urandom(NONCE_LENGTH)
        sealed: bytes = iv + key.encrypt(plaintext.expose(), **_gcm(iv, context))
        # Some modules put an IV of their own in place of the one given, or append it (AWS CloudHSM, Luna
        # under FIPS rules). What they sealed would not open, and nobody would know before the next start.
        try:
            opened = _open(key, sealed, context)
        except PKCS11Error as error:
            raise self._token.told(error, "mechanism") from None
        intact = hmac.compare_digest(opened.expose(), plaintext.expose())
        if not intact or len(sealed) != NONCE_LENGTH + len(plaintext.expose()) + TAG_LENGTH:
            raise self._token.fault("mechanism")
        return sealed

    @contextmanager
    def _key(self) -> Iterator[Any]:
        """Yield the key, found and checked anew: another may have been put in its place."""
        try:
            with self._token.session() as session:
                yield self._checked_key(session)
        except WrapperUnavailableError as error:
            if self._opened and error.rule == "token_missing":
                # It has been there, so this is an outage and no mistake in the settings.
                raise self._token.fault("unreachable", "the token is gone: plug it in or start it") from None
            raise

    def _checked_key(self, session: Session) -> Object:
        from pkcs11 import Attribute, KeyType

        found = _keys(session, self._key_label)
        if len(found) != 1:
            raise self._token.fault("ambiguous_key" if found else "missing_key")
        # The token compares the type, because the binding cannot read one of a vendor's own.
        use = {Attribute.KEY_TYPE: KeyType.AES, Attribute.ENCRYPT: True, Attribute.DECRYPT: True}
        fitting = _keys(session, self._key_label, use)
        if not fitting or fitting[0][Attribute.VALUE_LEN] != KEY_LENGTH:
            raise self._token.fault("key_type")
        if not _is_captive(fitting[0]):
            raise self._token.fault("extractable")
        return fitting[0]


def _token(module: Path, token_label: str, key_label: str, pin: SecretText) -> Token:
    return Token(module, token_label, pin, f"key {key_label}")


def _keys(session: Session, label: str, use: dict[Any, int] | None = None) -> list[Object]:
    from pkcs11 import Attribute, ObjectClass

    wanted: dict[Any, object] = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}
    return list(session.get_objects(wanted | (use or {})))


def _is_captive(key: Object) -> bool:
    """Return whether ``key`` never was and never can be outside of its token."""
    from pkcs11 import Attribute

    held = (Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)
    return all(key[attribute] for attribute in held) and not key[Attribute.EXTRACTABLE]


def _gcm(iv: bytes, context: bytes) -> dict[str, object]:
    from pkcs11 import GCMParams, Mechanism

    # A copy of the IV, because a module that chooses its own writes it over the one it is given.
    return {
        "mechanism": Mechanism.AES_GCM,
        "mechanism_param": GCMParams(bytes(bytearray(iv)), context, _TAG_BITS),
    }


def _open(key: Any, sealed: bytes, context: bytes) -> SecretBytes:
    iv = sealed[:NONCE_LENGTH]
    return SecretBytes(key.decrypt(sealed[NONCE_LENGTH:], **_gcm(iv, context)))
