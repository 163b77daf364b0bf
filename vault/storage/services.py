"""Rows of service accounts and their credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from sqlalchemy import Connection, Table, select

from vault.storage import tables
from vault.storage.rows import SealedRow

ENDED: Final = 0
"""In the place of the time at which a credential ends: it was ended outright.

No node's clock is before it, so the act holds from its log index on, however far clocks are apart. The log
says when it was.
"""


@dataclass(frozen=True, slots=True)
class ServiceRow(SealedRow):
    """A program that acts, with the person who answers for it and the networks it may come from."""

    table: ClassVar[Table] = tables.service
    lists: ClassVar[frozenset[str]] = frozenset({"networks"})

    id: str
    name: str
    owner: str
    networks: tuple[str, ...]
    state: str
    created_at: int
    version: int
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CredentialRow(SealedRow):
    """A service's secret, as a keyed MAC."""

    table: ClassVar[Table] = tables.credential
    uncovered: ClassVar[frozenset[str]] = frozenset({"key_version"})

    id: str
    service_id: str
    secret_mac: bytes = field(repr=False)
    created_at: int
    expires_at: int
    revoked_at: int | None
    """When its overlap with the next one ends, or ENDED."""
    key_version: int
    """Version of the session key that ``secret_mac`` is made with."""
    version: int
    mac: bytes = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether it was ended outright."""
        return self.revoked_at == ENDED


def all_services(connection: Connection) -> list[ServiceRow]:
    """Return every service, revoked ones included."""
    return ServiceRow.all(connection, select(tables.service).order_by(tables.service.c.id))


def all_credentials(connection: Connection) -> list[CredentialRow]:
    """Return every credential, oldest first."""
    column = tables.credential.c
    return CredentialRow.all(connection, select(tables.credential).order_by(column.created_at, column.id))
