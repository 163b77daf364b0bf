"""Rows of grants, insert-only, and of the policy that narrows them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import ClassVar

from sqlalchemy import Connection, Table, func, select

from vault.storage import tables
from vault.storage.rows import Covered, SealedRow


@dataclass(frozen=True, slots=True)
class GrantRow(SealedRow):
    """One version of a grant."""

    table: ClassVar[Table] = tables.grant
    lists: ClassVar[frozenset[str]] = frozenset({"actions", "fields", "purposes", "networks"})

    id: str
    actor_kind: str
    actor_id: str
    actions: tuple[str, ...]
    fields: tuple[str, ...]
    purposes: tuple[str, ...]
    reveal: str
    networks: tuple[str, ...]
    valid_from: int
    valid_until: int
    state: str
    proposed_by: str
    decided_by: str
    reason: str
    changed_at: int
    version: int
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PolicyRow(SealedRow):
    """One version of the policy, as text."""

    table: ClassVar[Table] = tables.policy

    id: str
    text: str
    installed_at: int
    version: int
    mac: bytes = field(repr=False)

    def covered(self) -> dict[str, Covered]:
        """Return the covered columns; the text as its SHA-256, since a MAC binds 65,535 bytes at most."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        return {"id": self.id, "text": digest, "installed_at": self.installed_at}


def newest_grants(connection: Connection) -> list[GrantRow]:
    """Return the highest version of every grant."""
    column = tables.grant.c
    newest = select(column.id, func.max(column.version).label("version")).group_by(column.id).subquery()
    joined = (newest.c.id == column.id) & (newest.c.version == column.version)
    return GrantRow.all(connection, select(tables.grant).join(newest, joined).order_by(column.id))


def grant_history(connection: Connection, grant_id: str) -> list[GrantRow]:
    """Return every version of one grant, oldest first."""
    column = tables.grant.c
    statement = select(tables.grant).where(column.id == grant_id).order_by(column.version)
    return GrantRow.all(connection, statement)


def newest_policy(connection: Connection) -> PolicyRow | None:
    """Return the policy installed last."""
    column = tables.policy.c
    # The id is a number kept as text, so a longer one is the later one.
    statement = select(tables.policy).order_by(func.length(column.id).desc(), column.id.desc()).limit(1)
    return PolicyRow.one(connection, statement)
