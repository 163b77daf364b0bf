"""The only wiring: from a folder on a host to an open vault."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from keys.errors import KeysError
from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key
from keys.passwords import Passwords
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper
from vault.access.bootstrap import Initial
from vault.access.bootstrap import initialise as first_people
from vault.access.entries import Request, entry, own_origin
from vault.access.staff import Person
from vault.audit.integrator import empty_tree
from vault.audit.journal import Journal, Unit
from vault.audit.outside import OutsideCheckpoint
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, UnavailableError
from vault.domain.model import Actor, ActorKind
from vault.policy.policy import Policy
from vault.service.vault import Vault, system_clock
from vault.settings import FILE, TEMPLATE, Settings
from vault.storage import keys as key_rows
from vault.storage.database import Database
from vault.storage.log import insert_tree
from vault.storage.maintenance import has_counter, insert_counter
from vault.storage.migrate import require_current, upgrade
from vault.tokens.drafts import REFERENCE_SCOPE

__all__ = ["Initialised", "Person", "Policy", "Settings", "initialise", "migrate", "open_vault"]

ROOT_KEY: Final = "keys/root.key"
SQLITE: Final = "data/vault.db"
DATABASE_URL: Final = "data/database-url"

VAULT_ID: Final = 16
LOG_NAME: Final = "piivault/"
"""Before the vault id, in the name of the log (C2SP origin)."""

HOST: Final = Actor(kind=ActorKind.OPERATOR, id="host", name="host")
"""Whoever runs init on the host: nobody has an account yet."""


@dataclass(frozen=True, slots=True)
class Initialised:
    """A new vault, and what its first two people enrol with."""

    settings: Settings
    people: Initial


def initialise(
    home: Path,
    *,
    policy: Policy,
    administrator: Person,
    officer: Person,
    database_url: str = "",
    now: datetime | None = None,
) -> Initialised:
    """Make a vault in ``home``: folders, root key, database, keys, policy, two people.

    SQLite inside ``home`` unless ``database_url`` is given. Raises ConflictError
    when there is one already, InvalidInputError for people or policy,
    UnavailableError when the folder cannot be written or the database not be
    reached. When it fails, what it made is taken away again, and nothing else.
    """
    home = home.absolute()
    for name in (FILE, ROOT_KEY, SQLITE, DATABASE_URL):
        # The key or the data of a vault whose settings file is lost are a vault all the same.
        if (home / name).exists():
            raise ConflictError(f"there is a vault in this folder already: {name}")
    made: list[Path] = []
    try:
        settings = _make_home(home, database_url, made)
        wrapper = KeyFileWrapper.create(settings.root_key)
        made.append(settings.root_key)
        people = _make_database(
            settings, wrapper, policy, people=(administrator, officer), now=now or system_clock()
        )
    except (OSError, KeysError):
        _take_away(made)
        raise UnavailableError("the folder of the vault cannot be written") from None
    except BaseException:
        _take_away(made)
        raise
    return Initialised(settings, people)


def open_vault(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = system_clock,
    passwords: Passwords | None = None,
) -> Vault:
    """Open the vault of ``settings``; the caller starts its upkeep and closes it.

    Raises SchemaError when the database is not at this release's schema,
    UnavailableError when the root key cannot be used, SealedError.
    """
    try:
        return _opened(settings, clock, passwords)
    except KeysError as error:
        raise UnavailableError(f"the root key cannot be used: {error}") from None


def _opened(settings: Settings, clock: Callable[[], datetime], passwords: Passwords | None) -> Vault:
    wrapper = KeyFileWrapper(settings.root_key)
    database = Database.open(settings.database_url)
    try:
        require_current(database)
        return Vault(
            database, wrapper, OutsideCheckpoint(settings.checkpoint), clock=clock, passwords=passwords
        )
    except BaseException:
        database.close()
        raise


def migrate(settings: Settings) -> None:
    """Bring the database of ``settings`` to this release's schema."""
    database = Database.open(settings.database_url)
    try:
        upgrade(database)
    finally:
        database.close()


def _make_home(home: Path, database_url: str, made: list[Path]) -> Settings:
    """Make folders and files; append to ``made`` each as soon as it is there."""
    home.parent.mkdir(parents=True, exist_ok=True)
    _make_folder(home, made)
    line = f'url_file = "{DATABASE_URL}"' if database_url else f"# SQLite in {SQLITE}"
    # First of all, and never over another: of two who make a vault here at once, one goes on.
    _write(home / FILE, TEMPLATE.format(database=line), made)
    for name in ("data", "keys", "log"):
        _make_folder(home / name, made)
    if database_url:
        # It may hold a password, so it gets a file of its own.
        _write(home / DATABASE_URL, database_url + "\n", made)
    else:
        # SQLite gives its write-ahead log the mode of the database.
        _write(home / SQLITE, "", made)
        made += [home / f"{SQLITE}-wal", home / f"{SQLITE}-shm"]
    return Settings.load(home)


def _make_folder(path: Path, made: list[Path]) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        made.append(path)


def _write(path: Path, text: str, made: list[Path]) -> None:
    """Write a new file that only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise ConflictError("another vault is being made in this folder") from None
    made.append(path)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _take_away(made: list[Path]) -> None:
    for path in reversed(made):
        if path.is_dir():
            # Unless somebody else has put something there.
            with suppress(OSError):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _make_database(
    settings: Settings,
    wrapper: KeyFileWrapper,
    policy: Policy,
    *,
    people: tuple[Person, Person],
    now: datetime,
) -> Initial:
    database = Database.open(settings.database_url)
    try:
        upgrade(database)
        return _fill(database, wrapper, policy, people=people, now=now)
    finally:
        database.close()


def _fill(
    database: Database,
    wrapper: KeyFileWrapper,
    policy: Policy,
    *,
    people: tuple[Person, Person],
    now: datetime,
) -> Initial:
    """Write everything a vault begins with in one transaction, its first log entry last."""
    vault_id = os.urandom(VAULT_ID)
    now_us = int(now.timestamp() * 1_000_000)
    records = [replace(record, state=KeyState.ACTIVE) for record in _new_keys(vault_id, policy, wrapper)]
    keyring = Keyring.unlock(vault_id, records, wrapper)
    with database.reading() as connection:
        if has_counter(connection):
            raise ConflictError("there is a vault in this database already")
    with Journal(database, lambda: keyring).unit() as unit:
        insert_counter(unit.connection, vault_id)
        key_rows.insert_keys(unit.connection, records, now_us=now_us)
        key_rows.add_field_ids(unit.connection, list(policy.fields))
        insert_tree(unit.connection, empty_tree())
        administrator, officer = people
        initial = first_people(
            unit.connection,
            keyring,
            policy=policy,
            administrator=administrator,
            officer=officer,
            now_us=now_us,
        )
        _log(unit, initial, policy, now_us)
    return initial


def _log(unit: Unit, initial: Initial, policy: Policy, now_us: int) -> None:
    request = Request(actor=HOST, origin=own_origin(), now_us=now_us)
    target = {
        "administrator": initial.administrator.staff_id,
        "officer": initial.officer.staff_id,
        "policy": policy.digest,
    }
    unit.append([entry(request, Action.VAULT_INIT, target=target)], revision=None, revise=False)


def _new_keys(vault_id: bytes, policy: Policy, wrapper: KeyFileWrapper) -> list[KeyRecord]:
    kinds = dict.fromkeys(field.kind for field in policy.fields.values())
    scopes = [name for name, field in policy.fields.items() if field.type.searchable]
    scopes += [REFERENCE_SCOPE + kind for kind in kinds]
    wanted = [
        (KeyKind.WRAPPING, ""),
        (KeyKind.TOKEN, ""),
        (KeyKind.AUTHORITY, ""),
        (KeyKind.LOG_MAC, ""),
        (KeyKind.SESSION, ""),
        (KeyKind.STAFF_DATA, ""),
        (KeyKind.LOG_SIGNING, LOG_NAME + vault_id.hex()),
        *((KeyKind.LOOKUP, scope) for scope in scopes),
    ]
    return [generate_key(kind, scope, 1, vault_id=vault_id, wrapper=wrapper) for kind, scope in wanted]
