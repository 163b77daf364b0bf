"""Rows of approvals: what one person asked and another decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from sqlalchemy import Connection, Table, select

from vault.storage import tables
from vault.storage.rows import SealedRow


@dataclass(frozen=True, slots=True)
class ApprovalRow(SealedRow):
    """One request for a second person's decision. ``target`` is the id of a staff member or grant."""

    table: ClassVar[Table] = tables.approval

    id: str
    kind: str
    target: str
    proposed_by: str
    proposed_at: int
    state: str
    decided_by: str
    decided_at: int | None
    version: int
    mac: bytes = field(repr=False)


def all_approvals(connection: Connection) -> list[ApprovalRow]:
    """Return every approval, oldest first."""
    column = tables.approval.c
    return ApprovalRow.all(connection, select(tables.approval).order_by(column.proposed_at, column.id))
