"""What holds at one revision: keys, policy and everything a decision depends on.

A :class:`Standing` never changes. Whatever is decided with it is written only
if the revision is still the same at the append, so nothing has to be asked of
the database before a decision, and a revocation on any node wins.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keys.context import ValueContext
from keys.errors import KeysError
from keys.keyring import KeyRecord, Keyring
from keys.rootkey import RootKey, RootSlot
from keys.states import KeyState
from vault.access.authority import Authority
from vault.access.roots import Roots, in_force
from vault.domain.errors import SealedError, UnavailableError
from vault.fields.base import Field
from vault.storage.database import Database
from vault.storage.keys import read_field_ids, read_key_dates, read_keys
from vault.storage.roots import read_roots


@dataclass(frozen=True, slots=True)
class FieldSlot:
    """A declared field with what the hot path precomputes for it."""

    id: int
    name: str
    field: Field
    context_part: bytes
    """Its part of an envelope's context (envelope.md 4.2)."""


@dataclass(frozen=True, slots=True)
class KeyInUse:
    """An active key, and since when, in microseconds since the epoch."""

    name: str
    kind: str
    since_us: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One revision's keys, authority and fields."""

    revision: int
    keyring: Keyring
    authority: Authority
    value_context: ValueContext
    by_name: Mapping[str, FieldSlot]
    by_id: Mapping[int, FieldSlot]
    in_use: tuple[KeyInUse, ...]
    """Keys that protect what is new, with the time they began to."""
    key_dates: Mapping[str, tuple[int, int]]
    """When each key was made and last changed state, by name, in microseconds since the epoch."""


class Standings:
    """Holds the standing in force and reads the next one. Thread-safe."""

    def __init__(self, database: Database, roots: Roots) -> None:
        self._database = database
        self.roots = roots
        self._lock = threading.Lock()
        self._current = self._read()

    @property
    def current(self) -> Standing:
        """The standing read last. It may be stale; the append finds that out."""
        return self._current

    def refresh(self) -> Standing:
        """Read the standing in force now; keep the one held when the revision has not moved.

        Raises SealedError, TamperDetectedError, UnavailableError.
        """
        with self._lock:
            with self._database.reading() as connection:
                revision = self._database.counter(connection).revision
            if revision != self._current.revision:
                self._current = self._read()
            return self._current

    def _read(self) -> Standing:
        while True:
            with self._database.reading() as connection:
                counter = self._database.counter(connection)
                if counter.sealed:
                    raise SealedError("the vault is sealed")
                row = in_force(read_roots(connection), RootSlot.LIVE)
            # Between the two transactions: whoever is asked for the root key takes their time.
            root = self.roots.open(row, counter.vault_id)
            standing = self._read_under(root)
            if standing is not None:
                return standing

    def _read_under(self, root: RootKey) -> Standing | None:
        """Return the standing, or None when the root key was changed since it was opened."""
        # One snapshot of the database for all of it; the revision is read in it, too.
        with self._database.reading() as connection:
            counter = self._database.counter(connection)
            if counter.sealed:
                raise SealedError("the vault is sealed")
            if in_force(read_roots(connection), RootSlot.LIVE).version != root.version:
                return None
            records = read_keys(connection)
            field_ids = read_field_ids(connection)
            keyring = _unlocked(counter.vault_id, records, root)
            dates = read_key_dates(connection)
            authority = Authority.load(connection, keyring, revision=counter.revision)
        context = ValueContext(counter.vault_id)
        slots = [
            FieldSlot(field_ids[name], name, field, context.field_part(name))
            for name, field in authority.policy.fields.items()
        ]
        return Standing(
            revision=counter.revision,
            keyring=keyring,
            authority=authority,
            value_context=context,
            by_name={slot.name: slot for slot in slots},
            by_id={slot.id: slot for slot in slots},
            in_use=tuple(
                KeyInUse(record.name, record.kind.value, dates[record.name][1])
                for record in records
                if record.state is KeyState.ACTIVE
            ),
            key_dates=dates,
        )


def _unlocked(vault_id: bytes, records: Sequence[KeyRecord], root: RootKey) -> Keyring:
    try:
        return Keyring.unlock(vault_id, records, root)
    except KeysError:
        raise UnavailableError("a key of the vault does not unlock") from None
