"""What holds at one revision: keys, policy and everything a decision depends on.

A :class:`Standing` never changes. Whatever is decided with it is written only
if the revision is still the same at the append, so nothing has to be asked of
the database before a decision, and a revocation on any node wins.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from keys.context import ValueContext
from keys.errors import KeysError
from keys.keyring import KeyKind, KeyRecord, Keyring, KeySealer
from keys.rootkey import RootKey, RootSlot
from keys.states import KeyState
from vault.access.authority import Authority
from vault.access.keyrows import damaged, require_kinds, require_scopes
from vault.access.roots import NOBODY, PATIENCE, Roots, in_force
from vault.domain.errors import SealedError, TamperDetectedError, UnavailableError
from vault.fields.base import Field
from vault.storage.database import Connection, Counter, Database
from vault.storage.keys import read_field_ids, read_key_dates, read_keys
from vault.storage.roots import RootRow, read_roots

LOGGER: Final = logging.getLogger("piivault")


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
    compromised: tuple[str, ...] = ()
    """Names of keys that somebody else may have, and that are not destroyed yet."""
    suspended: tuple[str, ...] = ()
    """Names of keys that are out of every use until somebody knows whether they are safe."""
    key_dates: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """When each key was made and last changed state, by name, in microseconds since the epoch."""


class Why(StrEnum):
    """Why a process holds no keys."""

    STARTING = "starting"
    """Nobody has tried to open the root key yet."""
    SEALED = "sealed"
    """The vault was sealed, on every node: a person has to unseal it."""
    WAITING = "waiting"
    """The root key's holder needs a passphrase or shares, and this process has not been given them."""
    UNREACHABLE = "unreachable"
    """The root key's holder does not answer; it is asked again every few seconds."""
    FAILED = "failed"
    """The holder answers and the root key does not open, or the database went back: see the server's log."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """No keys are held, and why."""

    why: Why
    detail: str = ""
    """What the holder's error says, for the operator alone."""


PEOPLE: Final = frozenset({"passphrase", "shamir"})
"""Kinds of holders that are people: what opens the root key is typed."""

_WHY: Final = {
    NOBODY: Why.WAITING,
    "unreachable": Why.UNREACHABLE,
    "sealed": Why.UNREACHABLE,
    "token_missing": Why.UNREACHABLE,
}
"""By the rule of a holder: what may change by itself, or when somebody comes."""

_WAITED_FOR: Final = frozenset({*_WHY, PATIENCE})

OpenRoot = Callable[[RootRow, bytes], RootKey]
"""From a sealed copy and the vault id to the root key. Raises UnavailableError."""


WENT_BACK: Final = "went_back"
"""What the error of a guard refers to when the database is older than what was seen outside of it."""

Guard = Callable[[Connection, Counter, RootKey], None]
"""Looks at the database before a process opens. Raises what keeps it sealed."""


def _unguarded(_connection: Connection, _counter: Counter, _root: RootKey) -> None:
    """Let every database be opened."""


class Standings:
    """Holds the standing in force and reads the next one. Thread-safe. Sealed until it is opened."""

    def __init__(self, database: Database, roots: Roots) -> None:
        self._database = database
        self.roots = roots
        self._lock = threading.Lock()
        self._state: Standing | Sealed = Sealed(Why.STARTING)
        self._leaving: Standing | None = None
        self._told = ""
        self.guard: Guard = _unguarded

    @property
    def current(self) -> Standing:
        """The standing read last. It may be stale; the append finds that out. Raises SealedError."""
        state = self._state
        if isinstance(state, Sealed):
            raise SealedError("the vault is sealed")
        return state

    @property
    def sealed(self) -> Sealed | None:
        """Why no keys are held; None when the vault is open."""
        state = self._state
        return state if isinstance(state, Sealed) else None

    def open(self) -> Standing:
        """Open the root key by its holder and hold the standing in force.

        Raises SealedError while the vault is sealed by its flag, which opens for
        a person only; TamperDetectedError; UnavailableError that says what to do.
        """
        with self._lock:
            return self._open()

    def try_to_open(self) -> Sealed | None:
        """Open if no person is needed; return why it stays sealed, as while the holder is not there.

        Raises UnavailableError for what waiting would not help, TamperDetectedError.
        """
        with self._lock:
            if not isinstance(self._state, Sealed):
                return None
            try:
                self._open()
            except SealedError:
                self._state = Sealed(Why.SEALED)
            except UnavailableError as error:
                if error.reference not in _WAITED_FOR:
                    raise
            except TamperDetectedError:
                self.roots.drop()
                self._state = Sealed(Why.FAILED)
                raise
            return self.sealed

    def hold(self, root: RootKey, told: str, standing: Standing) -> None:
        """Put a standing in force that ``root`` opened, which somebody has given."""
        with self._lock:
            self.roots.hold(root, told)
            self._state = standing

    def refresh(self) -> Standing:
        """Read the standing in force now; keep the one held when the revision has not moved.

        Raises SealedError, TamperDetectedError, UnavailableError. The flag of the
        database seals this process here: what it held is no longer given out. So
        does a new root key that only a person can open: an unseal brings it.
        """
        with self._lock:
            held = self.current
            with self._database.reading() as connection:
                counter = self._database.counter(connection)
            if counter.sealed:
                self._seal(held)
            if counter.revision != held.revision:
                try:
                    self._state = self._read(self.roots.open)
                except SealedError:
                    self._seal(held)
                except UnavailableError as error:
                    if error.reference != NOBODY:
                        raise
                    self._seal(held, Why.WAITING)
            return self.current

    def give_up_if_behind(self) -> bool:
        """Hold no keys any more if the guard finds that the database went back under this process; say so.

        It opens by itself once the guard lets it. What else the guard finds seals nothing.
        """
        with self._lock:
            if isinstance(self._state, Sealed):
                return False
            with self._database.reading() as connection:
                counter = self._database.counter(connection)
                root = self.roots.open(in_force(read_roots(connection), RootSlot.LIVE), counter.vault_id)
                try:
                    self.guard(connection, counter, root)
                except TamperDetectedError as error:
                    if error.reference != WENT_BACK:
                        return False
                    self._state = Sealed(Why.FAILED)
                    self.roots.drop()
                    return True
            return False

    def take_leaving(self) -> Standing | None:
        """Return, once, the standing that a seal has ended: for the last entries of the log alone."""
        with self._lock:
            leaving, self._leaving = self._leaving, None
            return leaving

    def read_with(self, root: RootKey) -> tuple[Standing, bool] | None:
        """Return what stands under ``root`` and whether the vault's flag is set; puts nothing in force.

        None when another root key is in force. Raises UnavailableError, TamperDetectedError.
        """
        return self._read_under(root, under_seal=True)

    def _seal(self, held: Standing, why: Why = Why.SEALED) -> None:
        """Give nothing out any more, from this statement on."""
        self._state = Sealed(why)
        self._leaving = held
        self.roots.drop()

    def _open(self) -> Standing:
        standing = self._read(self._ask)
        self._state = standing
        return standing

    def _ask(self, row: RootRow, vault_id: bytes) -> RootKey:
        try:
            return self.roots.open(row, vault_id)
        except UnavailableError as error:
            if error.reference != PATIENCE:
                why = _WHY.get(error.reference or "", Why.FAILED)
                self._state = Sealed(why, error.detail if why is Why.UNREACHABLE else "")
            raise

    def _read(self, open_root: OpenRoot) -> Standing:
        while True:
            with self._database.reading() as connection:
                counter = self._database.counter(connection)
                if counter.sealed:
                    raise SealedError("the vault is sealed")
                row = in_force(read_roots(connection), RootSlot.LIVE)
            # Between the two transactions: whoever is asked for the root key takes their time.
            root = open_root(row, counter.vault_id)
            found = self._read_under(root)
            if found is not None:
                return found[0]

    def _read_under(self, root: RootKey, *, under_seal: bool = False) -> tuple[Standing, bool] | None:
        """Return the standing and the flag, or None when the root key was changed since it was opened."""
        # One snapshot of the database for all of it; the revision is read in it, too.
        with self._database.reading() as connection:
            counter = self._database.counter(connection)
            if counter.sealed and not under_seal:
                raise SealedError("the vault is sealed")
            row = in_force(read_roots(connection), RootSlot.LIVE)
            if row.version != root.version:
                return None
            if self.sealed is not None:
                self.guard(connection, counter, root)
            return self._standing_in(connection, counter, root), counter.sealed

    def _standing_in(self, connection: Connection, counter: Counter, root: RootKey) -> Standing:
        try:
            standing = standing_in(connection, counter, root)
        except UnavailableError as error:
            if self.sealed is not None:
                raise
            # Anybody may be asking: the log of the process says which key.
            self._tell(error.detail)
            raise UnavailableError("the keys of the vault cannot be used; see the server's log") from None
        self._told = ""
        return standing

    def _tell(self, what: str) -> None:
        """Say what keeps this node from going on in the log of the process, once."""
        if what != self._told:
            LOGGER.error("%s", what)
        self._told = what


def standing_in(
    connection: Connection, counter: Counter, root: KeySealer, *, restoring: bool = False
) -> Standing:
    """Return the standing of the state that ``connection`` sees.

    ``restoring``: its suspended epochs unwrap (envelope.md 10.4). Raises
    UnavailableError, TamperDetectedError.
    """
    row = in_force(read_roots(connection), RootSlot.LIVE)
    records = read_keys(connection)
    field_ids = read_field_ids(connection)
    keyring = _unlocked(counter.vault_id, records, root, restoring=restoring)
    _require_public_halves(records, keyring)
    require_kinds(records)
    dates = read_key_dates(connection)
    authority = Authority.load(connection, keyring, revision=counter.revision)
    require_scopes(records, authority.policy)
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
        in_use=(
            *(
                KeyInUse(record.name, record.kind.value, dates[record.name][1])
                for record in records
                if record.state is KeyState.ACTIVE
            ),
            KeyInUse(f"root//{row.version}", "root", row.created_at),
        ),
        compromised=tuple(record.name for record in records if record.state is KeyState.COMPROMISED),
        suspended=tuple(record.name for record in records if record.state is KeyState.SUSPENDED),
        key_dates=dates,
    )


def _require_public_halves(records: Sequence[KeyRecord], keyring: Keyring) -> None:
    """Return if what a sealed process tells of the log's keys is true. Raises TamperDetectedError."""
    stored = {record.name: record.public for record in records if record.public}
    for signer in keyring.signers:
        name = f"{KeyKind.LOG_SIGNING}/{signer.name}/{signer.version}"
        if stored.get(name, signer.public) != signer.public:
            raise TamperDetectedError(
                f"the public key that stands beside {name} is not its own", reference=name, table="key"
            )


def _unlocked(vault_id: bytes, records: Sequence[KeyRecord], root: KeySealer, *, restoring: bool) -> Keyring:
    try:
        return Keyring.unlock(vault_id, records, root, restoring=restoring)
    except KeysError as error:
        raise damaged(vault_id, records, root, error) from None
