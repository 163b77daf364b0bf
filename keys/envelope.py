"""Seals values of data subjects and secrets of staff (docs/formats/envelope.md 4 and 6).

What is guaranteed: an envelope opens only under its own key and in its own
place, unchanged to the bit, and a refusal does not say why. What is not: the
generation in the header is public, and the length of a ciphertext is that of
the padded value.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keys.context import encode_context, require_vault_id, utf8
from keys.errors import DecryptionError, MalformedError, UnknownKeyVersionError
from keys.secret import KEY_LENGTH, SecretBytes

NONCE_LENGTH = 12
TAG_LENGTH = 16
HEADER_LENGTH = 5
NONCE_END = HEADER_LENGTH + NONCE_LENGTH
OVERHEAD = NONCE_END + TAG_LENGTH
MIN_ENVELOPE = OVERHEAD + 2
"""A padded value is never shorter than the two bytes of its length."""

VALUE_VERSION = 1
STAFF_VERSION = 2
STAFF_LABEL = b"piivault/staff-data/v1"

_HEADER = struct.Struct(">BI")


def new_cipher(key: SecretBytes) -> AESGCM:
    """Return AES-256-GCM under ``key``. Raises MalformedError("key_length") unless it is 32 bytes."""
    if len(key.expose()) != KEY_LENGTH:
        raise MalformedError("key_length")
    return AESGCM(key.expose())


def new_header(version: int, number: int) -> bytes:
    """Return version byte and ``u32`` number. Raises MalformedError("id_range")."""
    try:
        return _HEADER.pack(version, number)
    except struct.error:
        raise MalformedError("id_range") from None


class DataKey:
    """The data key of one subject and generation, ready to seal and open. Threads may share it."""

    __slots__ = ("cipher", "generation", "header")

    def __init__(self, generation: int, key: SecretBytes) -> None:
        self.generation = generation
        self.header = new_header(VALUE_VERSION, generation)
        self.cipher = new_cipher(key)

    def seal(self, context: bytes, nonce: bytes, padded: bytes) -> bytes:
        """Return the envelope of ``padded`` in the place that ``context`` names.

        ``nonce`` is 12 bytes from the system's random generator, never used
        before under this key. Raises MalformedError("nonce_length").
        """
        if len(nonce) != NONCE_LENGTH:
            raise MalformedError("nonce_length")
        return self.header + nonce + self.cipher.encrypt(nonce, padded, context)

    def open(self, context: bytes, envelope: bytes) -> bytes:
        """Return the padded value. Raises DecryptionError for every cause there is (envelope.md 4.4)."""
        if len(envelope) < MIN_ENVELOPE or envelope[:HEADER_LENGTH] != self.header:
            raise DecryptionError
        try:
            return self.cipher.decrypt(envelope[HEADER_LENGTH:NONCE_END], envelope[NONCE_END:], context)
        except InvalidTag:
            raise DecryptionError from None


def seal_all(
    keys: Sequence[DataKey], contexts: Sequence[bytes], nonces: Sequence[bytes], padded: Sequence[bytes]
) -> list[bytes]:
    """Return the envelope of each value under its own key, as :meth:`DataKey.seal` does. HOT."""
    if not set(map(len, nonces)) <= {NONCE_LENGTH}:
        raise MalformedError("nonce_length")
    sealed = map(AESGCM.encrypt, [key.cipher for key in keys], nonces, padded, contexts)
    return [key.header + nonce + text for key, nonce, text in zip(keys, nonces, sealed, strict=True)]


def open_all(
    keys: Sequence[DataKey], contexts: Sequence[bytes], envelopes: Sequence[bytes]
) -> list[bytes] | None:
    """Return the padded value of each envelope under its own key, or None unless every one opens. HOT.

    What :meth:`DataKey.open` does, over all of them at once: its overhead is
    half as much again as the decryption.
    """
    headers = [key.header for key in keys]
    if [envelope[:HEADER_LENGTH] for envelope in envelopes] != headers:
        return None
    if min(map(len, envelopes), default=MIN_ENVELOPE) < MIN_ENVELOPE:
        return None
    ciphers = [key.cipher for key in keys]
    nonces = [envelope[HEADER_LENGTH:NONCE_END] for envelope in envelopes]
    sealed = [envelope[NONCE_END:] for envelope in envelopes]
    try:
        return list(map(AESGCM.decrypt, ciphers, nonces, sealed, contexts))
    except InvalidTag:
        return None


def generation_of(envelope: bytes) -> int:
    """Return the generation in the header, which is public and not yet authenticated.

    Raises MalformedError("length") or ("version") (envelope.md 4.5).
    """
    if len(envelope) < MIN_ENVELOPE:
        raise MalformedError("length")
    return number_in_header(envelope, VALUE_VERSION)


def number_in_header(sealed: bytes, version: int) -> int:
    """Return the number in a header of ``version``. Raises MalformedError("version")."""
    found, number = _HEADER.unpack_from(sealed)
    if found != version:
        raise MalformedError("version")
    return int(number)


def staff_version_of(envelope: bytes) -> int:
    """Return the key version in the header of a staff-data envelope, public and not yet authenticated.

    Raises MalformedError("length") or ("version").
    """
    if len(envelope) < OVERHEAD:
        raise MalformedError("length")
    return number_in_header(envelope, STAFF_VERSION)


class StaffDataKey:
    """One version of the key for secrets and notes of staff."""

    __slots__ = ("_cipher", "_header", "_vault_id", "version")

    def __init__(self, vault_id: bytes, version: int, key: SecretBytes) -> None:
        self.version = version
        self._vault_id = require_vault_id(vault_id)
        self._header = new_header(STAFF_VERSION, version)
        self._cipher = new_cipher(key)

    def seal(self, label: str, owner: str, *, nonce: bytes, data: SecretBytes) -> bytes:
        """Return the envelope of ``data``, bound to ``label`` and ``owner``. Nonce as for values."""
        if len(nonce) != NONCE_LENGTH:
            raise MalformedError("nonce_length")
        sealed = self._cipher.encrypt(nonce, data.expose(), self._bind(label, owner))
        return self._header + nonce + sealed

    def open(self, label: str, owner: str, envelope: bytes) -> SecretBytes:
        """Return what was sealed. Raises DecryptionError for every cause there is (envelope.md 6.3)."""
        if len(envelope) < OVERHEAD or envelope[:HEADER_LENGTH] != self._header:
            raise DecryptionError
        nonce, sealed = envelope[HEADER_LENGTH:NONCE_END], envelope[NONCE_END:]
        try:
            return SecretBytes(self._cipher.decrypt(nonce, sealed, self._bind(label, owner)))
        except InvalidTag:
            raise DecryptionError from None

    def _bind(self, label: str, owner: str) -> bytes:
        return encode_context(STAFF_LABEL, self._vault_id, utf8(label), utf8(owner))


class StaffDataKeys:
    """Every readable version: seals under the active one, opens by the version in the header."""

    __slots__ = ("_active", "_by_version")

    def __init__(self, active: StaffDataKey | None, readable: Mapping[int, StaffDataKey]) -> None:
        self._active = active
        self._by_version = dict(readable)

    @property
    def active_version(self) -> int:
        """Version that seals. Raises UnknownKeyVersionError when none is active."""
        return self._require_active().version

    def seal(self, label: str, owner: str, *, nonce: bytes, data: SecretBytes) -> bytes:
        """Return the envelope of ``data`` under the active version, bound to ``label`` and ``owner``.

        Raises UnknownKeyVersionError when none is active, MalformedError("nonce_length").
        """
        return self._require_active().seal(label, owner, nonce=nonce, data=data)

    def open(self, label: str, owner: str, envelope: bytes) -> SecretBytes:
        """Return what was sealed. Raises UnknownKeyVersionError, DecryptionError (envelope.md 6.3)."""
        if len(envelope) < OVERHEAD or envelope[0] != STAFF_VERSION:
            raise DecryptionError
        version = number_in_header(envelope, STAFF_VERSION)
        key = self._by_version.get(version)
        if key is None:
            raise UnknownKeyVersionError(f"staff_data//{version}")
        return key.open(label, owner, envelope)

    def _require_active(self) -> StaffDataKey:
        if self._active is None:
            raise UnknownKeyVersionError("staff_data//active")
        return self._active
