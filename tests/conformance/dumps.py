"""Raw copies of a vault's database, as an administrator of the database makes them, and their way back."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from keys.passwords import Passwords
from tests.conformance.counter import Counter
from tests.support.furnished import CHEAP, Furnished
from tests.support.postgres import PostgresCluster, find_binaries
from vault.assembly import Ask, Settings, nobody, open_vault
from vault.storage import tables
from vault.storage.database import Database


@dataclass(frozen=True)
class Dump:
    """A copy of everything in the database, and nothing of the folder."""

    file: Path
    of: Furnished
    cluster: PostgresCluster | None

    def restore(self, home: Path) -> Settings:
        """Put it into a fresh database, under a fresh folder with every key file that is still there."""
        for name in ("data", "log"):
            (home / name).mkdir(parents=True)
        shutil.copytree(self.of.home / "keys", home / "keys")
        shutil.copy(self.of.home / "piivault.toml", home)
        if self.cluster is None:
            shutil.copy(self.file, home / "data" / "vault.db")
        else:
            url = self.cluster.create_database()
            _run("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={self.file}", f"--dbname={_dsn(url)}")
            (home / "data" / "database-url").write_text(url + "\n", encoding="utf-8")
        return Settings.load(home)


def take(counter: Counter, folder: Path, cluster: PostgresCluster | None) -> Dump:
    """Dump the database of ``counter``: with ``pg_dump``, or what SQLite calls a backup."""
    office = counter.furnished
    url = office.settings.database_url
    folder.mkdir()
    file = folder / "dump"
    if url.startswith("sqlite"):
        with (
            closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as source,
            closing(sqlite3.connect(file)) as copy,
        ):
            source.backup(copy)
        return Dump(file, office, None)
    _run("pg_dump", f"--file={file}", "--format=plain", _dsn(url))
    return Dump(file, office, cluster)


def visit(settings: Settings, office: Furnished, ask: Ask = nobody) -> Counter:
    """Open a restored vault; the people are those of ``office``."""
    vault = open_vault(settings, clock=office.clock, passwords=Passwords(CHEAP), ask=ask)
    return Counter(
        Furnished(
            home=settings.home,
            settings=settings,
            vault=vault,
            clock=office.clock,
            policy=office.policy,
            people=office.people,
            seeds=office.seeds,
            actors=office.actors,
            grants=office.grants,
        )
    )


def graft(source: Settings, onto: Settings, *which: Table) -> None:
    """Put rows of one database in the place of those of another, as whoever owns that database can."""
    found = {table.name: _rows(source, table) for table in which}
    database = Database.open(onto.database_url)
    try:
        with database.writing() as connection:
            for trigger in ("key_moves", "key_stays", "key_is_new"):
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {trigger}")
                else:
                    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {trigger} ON key")
            for table in which:
                connection.execute(table.delete())
                if found[table.name]:
                    connection.execute(table.insert(), found[table.name])
    finally:
        database.close()


def _rows(settings: Settings, table: Table) -> list[dict[str, Any]]:
    database = Database.open(settings.database_url)
    try:
        with database.reading() as connection:
            return [dict(row) for row in connection.execute(table.select()).mappings()]
    finally:
        database.close()


VALUES = (tables.subject, tables.data_key, tables.token)
"""Tables that hold what people have given."""


def _dsn(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def _run(program: str, *arguments: str) -> None:
    binary = find_binaries() / program
    subprocess.run([str(binary), *arguments], check=True, capture_output=True)
