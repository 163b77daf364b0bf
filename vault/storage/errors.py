"""What storage says to the layers above, beside ``vault.domain.errors``."""

from __future__ import annotations

from vault.domain.errors import VaultError


class StaleRevisionError(VaultError):
    """Something a decision depends on changed since it was read. Rolled back; decide again."""

    code = "stale_revision"


class OvertakenError(StaleRevisionError):
    """A row that was read has been written by another node since. Rolled back; read and decide again."""

    code = "overtaken"


class RolledBackError(VaultError):
    """The database refused a statement and the rollback is certain. Nothing was written."""

    code = "rolled_back"


class SchemaError(VaultError):
    """The database is not at the schema this version needs."""

    code = "schema"
