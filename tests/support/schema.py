"""Databases at this release's schema, migrated once a session and copied for each test."""

from __future__ import annotations


def migrate(url: str) -> None:
    """Bring the database of ``url`` to the latest schema and close every connection to it."""
    # Here and not above: every test loads this module, and those of the keys have no use for storage.
    from vault.storage.database import Database
    from vault.storage.migrate import upgrade

    database = Database.open(url)
    try:
        upgrade(database)
    finally:
        database.close()
