"""Where copies of a vault are made and put back: backups, raw copies, and what is kept outside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from keys.keyring import Keyring
from keys.passwords import Passwords
from keys.recipients import Identities, new_identity
from keys.secret import SecretText
from tests.conformance.counter import Counter
from tests.support.furnished import CHEAP, PASSWORD, Furnished
from vault.access import services
from vault.access.accounts import Shown
from vault.assembly.backups import Options, Restored, Vouch, backup, restore, restore_raw
from vault.assembly.opening import open_vault
from vault.backup.writing import Written
from vault.domain.model import Role
from vault.settings import Settings
from vault.storage import tables
from vault.storage.database import Database


@dataclass
class Yard:
    """Copies of one vault."""

    counter: Counter
    folder: Path
    fresh_url: str
    """Of an empty database; empty for SQLite, which makes its own."""
    values: tuple[SecretText, str] = field(default_factory=new_identity)
    keys: tuple[SecretText, str] = field(default_factory=new_identity)

    @property
    def furnished(self) -> Furnished:
        return self.counter.furnished

    @property
    def settings(self) -> Settings:
        return self.furnished.settings

    @property
    def identities(self) -> list[SecretText]:
        return [self.values[0], self.keys[0]]

    def backup(self, name: str = "backup", **more: Any) -> Written:
        sets = {"values_to": [self.values[1]], "keys_to": [self.keys[1]]} | more
        return backup(self.settings, self.folder / name, clock=self.furnished.clock, **sets)

    def opened_set(self, name: str, backup: str = "backup") -> bytes:
        """Return what a set holds, to whoever has its identity."""
        pieces: list[bytes] = []
        with (self.folder / backup / f"{name}.age").open("rb") as file:
            Identities(self.identities).open(file, pieces.append)
        return b"".join(pieces)

    def options(self, **more: Any) -> Options:
        return Options(clock=self.furnished.clock, passwords=Passwords(CHEAP), **more)

    def new_home(self, name: str = "restored") -> Path:
        """Return a folder with nothing but what opens the root key."""
        home = self.folder / name
        (home / "keys").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.settings.root_key, home / "keys" / "root.key")
        return home

    def restore(self, source: str = "backup", *, home: Path | None = None, **more: Any) -> Restored:
        return restore(
            self.folder / source,
            home or self.new_home(),
            identities=more.pop("identities", self.identities),
            database_url=more.pop("database_url", self.fresh_url),
            options=self.options(**more),
        )

    def restore_raw(self, settings: Settings, **more: Any) -> Restored:
        return restore_raw(settings, options=self.options(**more))

    @contextmanager
    def opened(self, home: Path) -> Iterator[Counter]:
        """Open a restored vault."""
        settings = Settings.load(home)
        vault = open_vault(settings, clock=self.furnished.clock, passwords=Passwords(CHEAP))
        furnished = replace(self.furnished, home=home, settings=settings, vault=vault)
        counter = Counter(furnished)
        try:
            yield counter
        finally:
            counter.close()

    def shown(self, login: str) -> Shown:
        """Return what somebody shows who is there."""
        return Shown(login, SecretText(PASSWORD), self.furnished.code(login))

    def vouchers(self, administrator: str = "admin", officer: str = "officer") -> Vouch:
        """Return who vouches: whoever has these logins, each with a fresh code."""
        logins = {Role.ADMINISTRATOR: administrator, Role.OFFICER: officer}
        return lambda _gap, role: self.shown(logins[role])

    @property
    def keyring(self) -> Keyring:
        return self.counter.vault.standings.current.keyring

    def let_in(self, counter: Counter) -> None:
        """Have the officer approve whoever and what waits, and the shop get a new secret."""
        furnished = counter.furnished
        furnished.approve_all(furnished.login("officer"))
        admin = furnished.login("admin")
        furnished.actors = dict(furnished.actors)
        shop = furnished.actors["shop"].id
        made = services.rotate(counter.vault.changes, furnished.request(admin), shop).value
        furnished.actors["shop"] = furnished.authenticate(made)

    def raw_copy(self) -> dict[str, list[dict[str, Any]]]:
        """Return every row of the database, as a dump has them."""
        with self.counter.vault.changes.database.reading() as connection:
            return {
                table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
                for table in tables.metadata.sorted_tables
            }

    def put_back(self, rows: dict[str, list[dict[str, Any]]], url: str) -> None:
        """Put a raw copy into the database at ``url``, over what is there."""
        database = Database.open(url)
        try:
            with database.writing() as connection:
                drop_key_guard(connection)
                for table in reversed(tables.metadata.sorted_tables):
                    connection.execute(table.delete())
                for table in tables.metadata.sorted_tables:
                    if rows[table.name]:
                        connection.execute(table.insert(), rows[table.name])
        finally:
            database.close()


def drop_key_guard(connection: Any) -> None:
    """Take away the triggers of the table of keys, as whoever owns the database can."""
    from sqlalchemy import text

    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP TRIGGER IF EXISTS key_moves ON key"))
        return
    for name in ("key_moves", "key_stays", "key_is_new"):
        connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))


def new_yard(request: pytest.FixtureRequest, tmp_path: Path) -> Yard:
    """Return a yard around a furnished vault, on the kind of database that the test is run on."""
    counter: Counter = request.getfixturevalue(f"on_{request.param}")
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    folder = tmp_path / "yard"
    folder.mkdir()
    return Yard(counter, folder, url)


def clear(url: str) -> None:
    """Take everything out of the PostgreSQL database at ``url``; SQLite begins with a new file by itself."""
    if not url:
        return
    database = Database.open(url)
    try:
        with database.writing() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    finally:
        database.close()
