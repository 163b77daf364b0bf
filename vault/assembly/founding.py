"""Make a vault: folder, root key, database, keys, policy, and its first two people."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from keys.errors import KeysError
from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key
from keys.rootkey import RootKey, RootSlot
from keys.secret import SecretText
from keys.states import KeyState
from vault.access.bootstrap import Initial
from vault.access.bootstrap import initialise as first_people
from vault.access.entries import HOST, Request, entry, own_origin
from vault.access.keyrows import lookup_scopes
from vault.access.staff import Person
from vault.assembly.copies import both_wrappers, sealed_copies, sealing_faults
from vault.assembly.homes import make_home, require_empty, take_away
from vault.assembly.wrapping import Made, Sealing
from vault.audit.integrator import empty_tree
from vault.audit.journal import Journal, Unit
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, UnavailableError
from vault.policy.policy import Policy
from vault.service.vault import system_clock
from vault.settings import Settings, wrapper_tables
from vault.storage import keys as key_rows
from vault.storage.database import Database
from vault.storage.log import insert_tree
from vault.storage.maintenance import has_counter, insert_counter
from vault.storage.migrate import upgrade
from vault.storage.roots import insert_roots

VAULT_ID: Final = 16
LOG_NAME: Final = "piivault/"
"""Before the vault id, in the name of the log (C2SP origin)."""

DEFAULT_SEALING: Final = Sealing()


@dataclass(frozen=True, slots=True)
class Initialised:
    """A new vault, and what its first two people enrol with."""

    settings: Settings
    people: Initial
    root_key: str
    """What seals the root key, for the one who made it."""
    shares: tuple[SecretText, ...]
    """To hand out: so many of them open the root key day by day. Empty unless shares do that."""
    recovery: str
    """What seals the other copy of the root key."""
    recovery_shares: tuple[SecretText, ...]
    """To print and keep apart. Empty unless shares do that."""


def initialise(
    home: Path,
    *,
    policy: Policy,
    administrator: Person,
    officer: Person,
    database_url: str = "",
    sealing: Sealing = DEFAULT_SEALING,
    announce: Callable[[Initialised], None] = lambda _made: None,
    now: datetime | None = None,
) -> Initialised:
    """Make a vault in ``home``: folders, root key, database, keys, policy, two people.

    SQLite inside ``home`` unless ``database_url`` is given. ``announce`` is called
    with codes and shares before the commit: they hold once this returns, and when
    it raises, there is no vault. Raises ConflictError
    when there is one already, InvalidInputError for people or policy,
    UnavailableError when the folder cannot be written or the database not be
    reached. When it fails, what it made is taken away again, and nothing else.
    """
    home = home.absolute()
    require_empty(home)
    made_here: list[Path] = []
    try:
        settings = make_home(home, database_url, wrapper_tables(sealing.tables), made_here)
        with sealing_faults():
            sealers = both_wrappers(settings, sealing, 1, made_here)
            founding = _Founding(settings, sealers, policy, (administrator, officer), announce)
            made = founding.make(now or system_clock())
    except BaseException as error:
        take_away(made_here)
        if isinstance(error, (OSError, KeysError)) and not isinstance(error, BrokenPipeError):
            raise UnavailableError("the folder of the vault cannot be written") from None
        raise
    return made


@dataclass(frozen=True, slots=True)
class _Founding:
    """What a vault is made of."""

    settings: Settings
    sealers: Mapping[RootSlot, Made]
    policy: Policy
    people: tuple[Person, Person]
    announce: Callable[[Initialised], None]

    def make(self, now: datetime) -> Initialised:
        database = Database.open(self.settings.database_url)
        try:
            upgrade(database)
            return self._fill(database, int(now.timestamp() * 1_000_000))
        finally:
            database.close()

    def _fill(self, database: Database, now_us: int) -> Initialised:
        """Write everything a vault begins with in one transaction, its first log entry last."""
        vault_id = os.urandom(VAULT_ID)
        root = RootKey.generate(1)
        records = [
            replace(record, state=KeyState.ACTIVE) for record in _new_keys(vault_id, self.policy, root)
        ]
        keyring = Keyring.unlock(vault_id, records, root)
        wrappers = {slot: sealer.wrapper for slot, sealer in self.sealers.items()}
        copies = sealed_copies(root, wrappers, vault_id=vault_id, now_us=now_us)
        with database.reading() as connection:
            if has_counter(connection):
                raise ConflictError("there is a vault in this database already")
        with Journal(database, lambda: keyring).unit() as unit:
            insert_counter(unit.connection, vault_id)
            insert_roots(unit.connection, copies)
            key_rows.insert_keys(unit.connection, records, now_us=now_us)
            key_rows.add_field_ids(unit.connection, list(self.policy.fields))
            insert_tree(unit.connection, empty_tree())
            administrator, officer = self.people
            initial = first_people(
                unit.connection,
                keyring,
                policy=self.policy,
                administrator=administrator,
                officer=officer,
                now_us=now_us,
            )
            _log(unit, initial, self.policy, now_us)
            made = self._made(initial)
            try:
                self.announce(made)
            except BrokenPipeError:
                # Whoever was to be told has gone.
                raise
            except OSError:
                raise UnavailableError("codes and shares cannot be shown, so no vault was made") from None
        return made

    def _made(self, people: Initial) -> Initialised:
        live, spare = self.sealers[RootSlot.LIVE], self.sealers[RootSlot.RECOVERY]
        return Initialised(
            self.settings,
            people,
            root_key=live.wrapper.describe(),
            shares=live.shares,
            recovery=spare.wrapper.describe(),
            recovery_shares=spare.shares,
        )


def _log(unit: Unit, initial: Initial, policy: Policy, now_us: int) -> None:
    request = Request(actor=HOST, origin=own_origin(), now_us=now_us)
    target = {
        "administrator": initial.administrator.staff_id,
        "officer": initial.officer.staff_id,
        "policy": policy.digest,
    }
    unit.append([entry(request, Action.VAULT_INIT, target=target)], revision=None, revise=False)


def _new_keys(vault_id: bytes, policy: Policy, root: RootKey) -> list[KeyRecord]:
    wanted = [
        (KeyKind.WRAPPING, ""),
        (KeyKind.TOKEN, ""),
        (KeyKind.AUTHORITY, ""),
        (KeyKind.LOG_MAC, ""),
        (KeyKind.SESSION, ""),
        (KeyKind.STAFF_DATA, ""),
        (KeyKind.LOG_SIGNING, LOG_NAME + vault_id.hex()),
        *((KeyKind.LOOKUP, scope) for scope in lookup_scopes(policy)),
    ]
    return [generate_key(kind, scope, 1, vault_id=vault_id, root=root) for kind, scope in wanted]
