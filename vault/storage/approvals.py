"""Rows of approvals: what one person asked and another decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from sqlalchemy import Connection, Table, or_, select

from vault.storage import tables
from vault.storage.rows import SealedRow


@dataclass(frozen=True, slots=True)
class ApprovalRow(SealedRow):
    """One request for a second person's decision.

    ``target`` is the id of a staff member or grant, the name of a key, or for ``erasure``
    and ``lifting`` the row id of the subject, a slash and the ground.
    """

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


LASTING: Final = ("enrolment", "grant")
"""Kinds whose decision counts for as long as what it was about. The others are carried out and over."""


def counting_approvals(connection: Connection) -> list[ApprovalRow]:
    """Return the approvals that a decision may still rest on, oldest first: not the erasures of years."""
    column = tables.approval.c
    counting = or_(column.state == "open", column.kind.in_(LASTING))
    ordered = select(tables.approval).where(counting).order_by(column.proposed_at, column.id)
    return ApprovalRow.all(connection, ordered)


def one_approval(connection: Connection, approval_id: str) -> ApprovalRow | None:
    """Return one approval, whatever its kind and state."""
    return ApprovalRow.one(connection, select(tables.approval).where(tables.approval.c.id == approval_id))


def all_approvals(connection: Connection) -> list[ApprovalRow]:
    """Return every approval, oldest first."""
    column = tables.approval.c
    return ApprovalRow.all(connection, select(tables.approval).order_by(column.proposed_at, column.id))
