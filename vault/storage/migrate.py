"""Bring a database to the schema of this release, or say that it is not there.

A migration and its record run in one transaction on both databases.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from vault.storage.database import Connection, Database
from vault.storage.errors import SchemaError

LATEST = "head"
EMPTY = "base"


def upgrade(database: Database, *, to: str = LATEST) -> None:
    """Migrate up to revision ``to``. Does nothing when the database is there already."""
    with database.writing() as connection:
        command.upgrade(_config(connection), to)


def downgrade(database: Database, *, to: str) -> None:
    """Migrate down to revision ``to``; what a later revision added is lost."""
    with database.writing() as connection:
        command.downgrade(_config(connection), to)


def require_current(database: Database) -> None:
    """Raise SchemaError unless the database is exactly at this release's schema."""
    with database.reading() as connection:
        found = current_revision(connection)
    if found != newest_revision():
        raise SchemaError("the database schema is not that of this release; run: piivault migrate")


def current_revision(connection: Connection) -> str:
    """Return the schema that the database has; empty for none."""
    return MigrationContext.configure(connection).get_current_revision() or ""


@cache
def newest_revision() -> str:
    """Return the schema of this release."""
    return ScriptDirectory.from_config(_config(None)).get_current_head() or ""


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config
