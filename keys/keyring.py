"""The keys of one vault, unlocked (docs/formats/envelope.md 7.2 and 10).

What is guaranteed: every key is unwrapped for its own vault, kind, scope and
version; each is used for one purpose; a key whose state forbids a use is as if
it were not there. A keyring never changes: after a rotation another is
unlocked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from keys.bearer import SessionKeys
from keys.context import encode_context, require_vault_id, utf8
from keys.datakeys import WrappingKey
from keys.envelope import StaffDataKey, StaffDataKeys
from keys.errors import MalformedError, UnknownKeyVersionError
from keys.lookup import LookupKey
from keys.macs import AuthorityKeys, LogMacKeys, MacKeys
from keys.secret import KEY_LENGTH, SecretBytes
from keys.signing import SigningKey
from keys.states import READING, VERIFYING, KeyState
from keys.tokens import MAX_TOKEN_KEY_VERSION, TokenKey, TokenKeys

ROOT_WRAP_LABEL = b"piivault/root-wrap/v1"
MAX_KEY_VERSION = 0xFFFF_FFFF


class KeySealer(Protocol):
    """What named keys are sealed under: the root key, or a wrapper in its place."""

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped. Raises DecryptionError for every cause."""
        ...


class KeyKind(StrEnum):
    """What a key is for. One key, one purpose."""

    WRAPPING = "wrapping"
    LOOKUP = "lookup"
    TOKEN = "token"
    AUTHORITY = "authority"
    LOG_MAC = "log_mac"
    SESSION = "session"
    LOG_SIGNING = "log_signing"
    STAFF_DATA = "staff_data"


SCOPED = frozenset({KeyKind.LOOKUP, KeyKind.LOG_SIGNING})
"""Kinds with a scope: the field or kind of reference, the name of the log key."""

_CODES = frozenset({KeyKind.AUTHORITY, KeyKind.LOG_MAC, KeyKind.SESSION, KeyKind.LOG_SIGNING})


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is stored: wrapped under the root key, which binds its kind, scope and version."""

    kind: KeyKind
    scope: str
    version: int
    state: KeyState
    wrapped: bytes = field(repr=False)
    public: bytes = b""
    """Public half of a log signing key, for whoever has no root key. Nothing binds it (envelope.md 10.9)."""

    @property
    def name(self) -> str:
        """``kind/scope/version``, as bound (envelope.md 7.2)."""
        return f"{self.kind.value}/{self.scope}/{self.version}"


def generate_key(kind: KeyKind, scope: str, version: int, *, vault_id: bytes, root: KeySealer) -> KeyRecord:
    """Return a new random key, wrapped, in state pre_activation; the caller moves it on.

    Raises MalformedError (key_version, scope, key_name, vault_id, text, part_length),
    WrapperUnavailableError.
    """
    record = KeyRecord(kind, scope, version, KeyState.PRE_ACTIVATION, b"")
    _require_named_well(record)
    material = SecretBytes(os.urandom(KEY_LENGTH))
    public = SigningKey(scope, material).public if kind is KeyKind.LOG_SIGNING else b""
    return replace(record, wrapped=root.wrap(material, root_context(vault_id, record)), public=public)


def rewrap_key(record: KeyRecord, *, vault_id: bytes, old: KeySealer, new: KeySealer) -> KeyRecord:
    """Return the same key wrapped under another root key, in the same state; not for destroyed keys.

    Raises DecryptionError, WrapperUnavailableError.
    """
    context = root_context(vault_id, record)
    return replace(record, wrapped=new.wrap(old.unwrap(record.wrapped, context), context))


def open_signing_key(record: KeyRecord, *, vault_id: bytes, root: KeySealer) -> SigningKey:
    """Return a log signing key by itself, whatever its state, as for naming one that was just made.

    Raises DecryptionError, WrapperUnavailableError.
    """
    seed = root.unwrap(record.wrapped, root_context(vault_id, record))
    return SigningKey(record.scope, seed, record.version)


def root_context(vault_id: bytes, record: KeyRecord) -> bytes:
    """Return what binds a root-wrapped key to its vault and name (envelope.md 7.2)."""
    return encode_context(ROOT_WRAP_LABEL, require_vault_id(vault_id), utf8(record.name))


class Keyring:
    """The usable keys of one vault. Made by ``unlock``; threads may share it."""

    __slots__ = (
        "_active_epoch",
        "_epochs",
        "_lookup_active",
        "_lookups",
        "authority",
        "compromised_epochs",
        "log_mac",
        "sessions",
        "signers",
        "staff_data",
        "suspended_epochs",
        "tokens",
        "vault_id",
    )

    def __init__(self, vault_id: bytes, usable: _Usable, suspended_epochs: frozenset[int]) -> None:
        self.vault_id = vault_id
        self._active_epoch = usable.active(KeyKind.WRAPPING)
        self._epochs = {
            version: WrappingKey(vault_id, version, key, active=version == self._active_epoch)
            for version, key in usable.versions(KeyKind.WRAPPING)
        }
        self.compromised_epochs = usable.compromised(KeyKind.WRAPPING)
        """Epochs that still unwrap, so that what hangs on them can be sealed anew under other data keys."""
        self.suspended_epochs = suspended_epochs
        """Epochs that unwrap nothing until somebody knows whether they are safe: that is no tampering."""
        self._lookups = {
            scope: _newest_first(LookupKey(scope, *item) for item in usable.versions(KeyKind.LOOKUP, scope))
            for scope in usable.scopes(KeyKind.LOOKUP)
        }
        self._lookup_active = {scope: usable.active(KeyKind.LOOKUP, scope) for scope in self._lookups}
        self.tokens = _token_keys(usable)
        self.staff_data = _staff_data_keys(vault_id, usable)
        self.authority = AuthorityKeys(vault_id, _mac_keys(KeyKind.AUTHORITY, usable))
        self.log_mac = LogMacKeys(vault_id, _mac_keys(KeyKind.LOG_MAC, usable))
        self.sessions = SessionKeys(vault_id, _mac_keys(KeyKind.SESSION, usable))
        self.signers = _signing_keys(usable)

    @classmethod
    def unlock(
        cls, vault_id: bytes, records: Sequence[KeyRecord], root: KeySealer, *, restoring: bool = False
    ) -> Keyring:
        """Return the keyring of ``records``.

        Keys whose state allows no use are not unwrapped. One key that does not
        unwrap refuses the whole: a vault with half its keys would fail later and
        worse. ``restoring``: suspended epochs unwrap all the same (10.4). Raises
        MalformedError (10.2: key_version, scope, duplicate, two_active, vault_id,
        key_length), DecryptionError, WrapperUnavailableError.
        """
        require_vault_id(vault_id)
        _require_consistent(records)
        suspended = [
            record
            for record in records
            if record.kind is KeyKind.WRAPPING and record.state is KeyState.SUSPENDED
        ]
        keys = [
            (record, root.unwrap(record.wrapped, root_context(vault_id, record)))
            for record in records
            if record.state in (VERIFYING if record.kind in _CODES else READING)
            or (restoring and record in suspended)
        ]
        return cls(vault_id, _Usable(keys), frozenset(record.version for record in suspended))

    def active_epoch(self) -> WrappingKey:
        """Return the epoch that wraps. Raises UnknownKeyVersionError when none is active."""
        if self._active_epoch is None:
            raise UnknownKeyVersionError("wrapping//active")
        return self._epochs[self._active_epoch]

    def epoch(self, number: int) -> WrappingKey:
        """Return an epoch that unwraps. Raises UnknownKeyVersionError (envelope.md 10.5)."""
        key = self._epochs.get(number)
        if key is None:
            raise UnknownKeyVersionError(f"wrapping//{number}")
        return key

    def lookup(self, scope: str) -> LookupKey:
        """Return the key that digests new rows of ``scope``. Raises UnknownKeyVersionError."""
        version = self._lookup_active.get(scope)
        if version is None:
            raise UnknownKeyVersionError(f"lookup/{scope}/active")
        return next(key for key in self._lookups[scope] if key.version == version)

    def lookup_all(self, scope: str) -> tuple[LookupKey, ...]:
        """Return every key to search ``scope`` with, from new to old. Raises UnknownKeyVersionError."""
        keys = self._lookups.get(scope)
        if not keys:
            raise UnknownKeyVersionError(f"lookup/{scope}/any")
        return keys

    @property
    def signer(self) -> SigningKey:
        """The key that signs the log. Raises UnknownKeyVersionError when none is active.

        ``signers`` has it first, and after it the keys before it that still sign
        checkpoints beside it, from new to old; empty when none is active (envelope.md 10.6).
        """
        if not self.signers:
            raise UnknownKeyVersionError("log_signing//active")
        return self.signers[0]


class _Usable:
    """Unwrapped keys by kind and scope; exists only while a keyring is made."""

    __slots__ = ("_keys",)

    def __init__(self, keys: list[tuple[KeyRecord, SecretBytes]]) -> None:
        self._keys = keys

    def scopes(self, kind: KeyKind) -> set[str]:
        return {record.scope for record, _ in self._keys if record.kind is kind}

    def versions(self, kind: KeyKind, scope: str = "") -> list[tuple[int, SecretBytes]]:
        return [
            (record.version, key)
            for record, key in self._keys
            if record.kind is kind and record.scope == scope
        ]

    def active(self, kind: KeyKind, scope: str = "") -> int | None:
        """Version of the only active key, if there is one."""
        for record, _ in self._keys:
            if record.kind is kind and record.scope == scope and record.state is KeyState.ACTIVE:
                return record.version
        return None

    def compromised(self, kind: KeyKind) -> frozenset[int]:
        """Versions that somebody else may have."""
        return frozenset(
            record.version
            for record, _ in self._keys
            if record.kind is kind and record.state is KeyState.COMPROMISED
        )


def _token_keys(usable: _Usable) -> TokenKeys:
    readable = {version: TokenKey(version, key) for version, key in usable.versions(KeyKind.TOKEN)}
    active = usable.active(KeyKind.TOKEN)
    return TokenKeys(None if active is None else readable[active], readable.values())


def _staff_data_keys(vault_id: bytes, usable: _Usable) -> StaffDataKeys:
    readable = {
        version: StaffDataKey(vault_id, version, key) for version, key in usable.versions(KeyKind.STAFF_DATA)
    }
    active = usable.active(KeyKind.STAFF_DATA)
    return StaffDataKeys(None if active is None else readable[active], readable)


def _mac_keys(kind: KeyKind, usable: _Usable) -> MacKeys:
    return MacKeys(kind.value, usable.active(kind), usable.versions(kind))


def _signing_keys(usable: _Usable) -> tuple[SigningKey, ...]:
    for scope in usable.scopes(KeyKind.LOG_SIGNING):
        active = usable.active(KeyKind.LOG_SIGNING, scope)
        if active is not None:
            seeds = dict(usable.versions(KeyKind.LOG_SIGNING, scope))
            order = sorted(seeds, key=lambda version: (version == active, version), reverse=True)
            return tuple(SigningKey(scope, seeds[version], version) for version in order)
    return ()


def _newest_first(keys: Iterable[LookupKey]) -> tuple[LookupKey, ...]:
    return tuple(sorted(keys, key=lambda key: key.version, reverse=True))


def _require_named_well(record: KeyRecord) -> None:
    limit = MAX_TOKEN_KEY_VERSION if record.kind is KeyKind.TOKEN else MAX_KEY_VERSION
    if not 1 <= record.version <= limit:
        raise MalformedError("key_version")
    if bool(record.scope) is not (record.kind in SCOPED):
        raise MalformedError("scope")


def _require_consistent(records: Sequence[KeyRecord]) -> None:
    names: set[str] = set()
    active: set[tuple[KeyKind, str]] = set()
    for record in records:
        _require_named_well(record)
        if record.name in names:
            raise MalformedError("duplicate")
        names.add(record.name)
        if record.state is KeyState.ACTIVE:
            # There is one log, so one key signs it, whatever its name.
            slot = (record.kind, "" if record.kind is KeyKind.LOG_SIGNING else record.scope)
            if slot in active:
                raise MalformedError("two_active")
            active.add(slot)
