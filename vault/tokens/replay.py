"""Idempotency of tokenize: what a request did, so that asking again does not do it twice.

The scope (actor, route, key) and the body are kept as MACs, the result as row
ids and codes under a MAC of its own: whoever could write row ids there would have
the vault make the token of any row. A record stays for at least 24 hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

import msgspec

from keys.errors import KeysError
from keys.keyring import Keyring
from vault.domain.errors import IdempotencyConflictError, TamperDetectedError
from vault.domain.model import Actor
from vault.storage.hot import ReplayRow

ItemRecord = tuple[int, int, dict[str, Any] | None, bool]
"""Token id, subject id, the error if there was one, whether the token existed before."""

RESULT: Final = "idempotency.result"

MAC_LENGTH: Final = 32

_decode = msgspec.msgpack.Decoder(list[ItemRecord]).decode


@dataclass(frozen=True, slots=True)
class Replay:
    """An idempotency key as the caller gave it, with the digest of the body it came with."""

    key: str
    body_digest: bytes

    def scopes(self, actor: Actor, keyring: Keyring) -> tuple[bytes, ...]:
        """Return the keyed names of this key for this actor on this route: a record is kept under the first.

        One for each authority key that may verify, so that a rotation between two
        tries makes nothing be done twice.
        """
        return keyring.authority.codes("idempotency.scope", actor.id, version=0, row=self.key.encode())

    def body_macs(self, actor: Actor, keyring: Keyring) -> tuple[bytes, ...]:
        """Return the keyed digests of the body, in the order of ``scopes``."""
        return keyring.authority.codes("idempotency.body", actor.id, version=0, row=self.body_digest)


def needle(subject_id: int) -> bytes:
    """Return bytes that every record has in it which names this subject; others may have them by chance."""
    # In the record of an item the subject is followed by its error, which is nil where there is a subject.
    return msgspec.msgpack.encode(subject_id) + msgspec.msgpack.encode(None)


def names(kept: bytes, subject_id: int) -> bool:
    """Say whether a stored result names this subject; so does, for safety, one that cannot be read."""
    try:
        return any(record[1] == subject_id for record in _decode(kept[MAC_LENGTH:]))
    except msgspec.DecodeError:
        return True


def record(items: list[ItemRecord], scope: bytes, body_mac: bytes, keyring: Keyring) -> bytes:
    """Return what is kept of a result, bound to its scope and body."""
    packed = msgspec.msgpack.encode(items)
    bound = body_mac + sha256(packed).digest()
    return keyring.authority.mac(RESULT, scope.hex(), version=0, row=bound) + packed


def read(row: ReplayRow, body_macs: Sequence[bytes], keyring: Keyring) -> list[ItemRecord]:
    """Return what an earlier request did.

    Raises IdempotencyConflictError for another body, TamperDetectedError for a
    record that is not ours.
    """
    scope, body_mac, kept = row[0], row[1], row[4]
    if not any(compare_digest(body_mac, expected) for expected in body_macs):
        raise IdempotencyConflictError("this idempotency key was used with another body")
    code, packed = kept[:MAC_LENGTH], kept[MAC_LENGTH:]
    bound = body_mac + sha256(packed).digest()
    try:
        keyring.authority.verify(RESULT, scope.hex(), version=0, row=bound, code=code)
    except KeysError:
        raise TamperDetectedError("the record of this request does not verify") from None
    return _decode(packed)
