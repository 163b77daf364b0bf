"""Open the vault of a folder, and bring its database to the schema of this release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from keys.errors import KeysError
from keys.passwords import Passwords
from keys.rootkey import RootKey, RootSlot
from keys.wrappers.keyfile import KeyFileWrapper
from vault.access.roots import Roots
from vault.access.standing import Guard
from vault.assembly.copies import reseal_all, sealed_copies
from vault.assembly.wrapping import Ask, nobody, wrapper_of
from vault.audit.outside import OutsideCheckpoint
from vault.domain.errors import SealedError, UnavailableError
from vault.service.vault import Vault, system_clock
from vault.settings import Settings
from vault.storage.database import Database
from vault.storage.maintenance import has_counter
from vault.storage.migrate import require_current, upgrade
from vault.storage.roots import insert_roots, read_roots


def open_vault(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = system_clock,
    passwords: Passwords | None = None,
    ask: Ask = nobody,
) -> Vault:
    """Open the vault of ``settings``; the caller starts its upkeep and closes it.

    ``ask`` is asked for a passphrase or shares, if that is what seals the root key.

    Raises SchemaError when the database is not at this release's schema,
    UnavailableError when the root key cannot be used, SealedError.
    """
    asked = [ask]
    roots = Roots(lambda row: wrapper_of(settings, asked[-1], row), clock)
    try:
        return open_with(settings, roots, clock, passwords)
    finally:
        # Later, when the root key was changed elsewhere, nobody is there to be asked.
        asked.append(nobody)


def open_or_wait(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = system_clock,
    passwords: Passwords | None = None,
    ask: Ask = nobody,
    guard: Guard | None = None,
) -> Vault:
    """Open the vault of ``settings``, or return it sealed if it has to wait: for a server.

    It waits where the vault was sealed, where what opens the root key has to be
    given by a person and ``ask`` asks nobody, and where its holder is not there
    now. Raises SchemaError and UnavailableError for what waiting would not help,
    and what ``guard`` raises, now or whenever it opens.
    """
    asked = [ask]
    roots = Roots(lambda row: wrapper_of(settings, asked[-1], row), clock)
    vault = sealed_with(settings, roots, clock, passwords)
    vault.standings.guard = guard or vault.standings.guard
    with _closing_on_error(vault):
        vault.standings.try_to_open()
        asked.append(nobody)
    return vault


def open_with(
    settings: Settings, roots: Roots, clock: Callable[[], datetime], passwords: Passwords | None = None
) -> Vault:
    """Open the vault of ``settings`` with the root key that ``roots`` gives. Raises as ``open_vault``."""
    vault = sealed_with(settings, roots, clock, passwords)
    with _closing_on_error(vault):
        try:
            vault.standings.open()
        except SealedError as error:
            detail = f"{error.detail}; first: piivault unseal --home {settings.home}"
            raise SealedError(detail) from None
    return vault


def sealed_with(
    settings: Settings, roots: Roots, clock: Callable[[], datetime], passwords: Passwords | None = None
) -> Vault:
    """Return the vault of ``settings`` with no key in memory. Raises SchemaError, UnavailableError."""
    database = Database.open(settings.database_url)
    try:
        require_current(database)
        outside = OutsideCheckpoint(settings.checkpoint)
        return Vault(database, roots, outside, clock=clock, passwords=passwords)
    except BaseException:
        database.close()
        raise


@contextmanager
def _closing_on_error(vault: Vault) -> Iterator[None]:
    try:
        yield
    except KeysError as error:
        vault.close()
        raise UnavailableError(f"the root key cannot be used: {error}") from None
    except BaseException:
        vault.close()
        raise


def migrate(settings: Settings, *, now: datetime | None = None) -> None:
    """Bring the database of ``settings`` to this release's schema.

    A vault whose keys lie under the key file itself gets a root key of its own,
    and its keys are sealed under that, in one transaction; it has no copy for
    recovery until the root key is changed. Raises UnavailableError when the key
    file cannot be used.
    """
    database = Database.open(settings.database_url)
    try:
        upgrade(database)
        _give_root_key(settings, database, now or system_clock())
    except KeysError as error:
        raise UnavailableError(f"the root key cannot be used: {error}") from None
    finally:
        database.close()


def _give_root_key(settings: Settings, database: Database, now: datetime) -> None:
    with database.reading() as connection:
        if read_roots(connection) or not has_counter(connection):
            return
    file = KeyFileWrapper(settings.root_key)
    root = RootKey.generate(1)
    with database.reading() as connection:
        vault_id = database.counter(connection).vault_id
    now_us = int(now.timestamp() * 1_000_000)
    copies = sealed_copies(root, {RootSlot.LIVE: file}, vault_id=vault_id, now_us=now_us)
    with database.writing() as connection:
        reseal_all(connection, vault_id, old=file, new=root)
        insert_roots(connection, copies)
