"""Rows of staff: the register, the secrets they log in with, their invitations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from sqlalchemy import Connection, Table, select

from vault.storage import tables
from vault.storage.rows import SealedRow


@dataclass(frozen=True, slots=True)
class StaffRow(SealedRow):
    """One named person. ``roles`` holds exactly one word: the name of their role."""

    table: ClassVar[Table] = tables.staff
    lists: ClassVar[frozenset[str]] = frozenset({"roles"})

    id: str
    login: str
    name: str
    team: str
    employer: str
    roles: tuple[str, ...]
    state: str
    created_at: int
    version: int
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StaffSecretRow(SealedRow):
    """Password verifier, sealed TOTP secret and the highest TOTP step accepted so far."""

    table: ClassVar[Table] = tables.staff_secret

    staff_id: str
    verifier: str = field(repr=False)
    password_set_at: int
    totp_sealed: bytes = field(repr=False)
    highest_step: int
    version: int
    mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class InvitationRow(SealedRow):
    """A code that enrols one person once, as a keyed MAC, with the TOTP secret it will set."""

    table: ClassVar[Table] = tables.invitation
    uncovered: ClassVar[frozenset[str]] = frozenset({"key_version"})

    id: str
    staff_id: str
    code_mac: bytes = field(repr=False)
    expires_at: int
    used_at: int | None
    totp_sealed: bytes = field(repr=False)
    key_version: int
    """Version of the session key that ``code_mac`` is made with."""
    version: int
    mac: bytes = field(repr=False)


def all_staff(connection: Connection) -> list[StaffRow]:
    """Return everybody, those who left included."""
    return StaffRow.all(connection, select(tables.staff).order_by(tables.staff.c.id))


def all_secrets(connection: Connection) -> list[StaffSecretRow]:
    """Return the secrets of everybody."""
    return StaffSecretRow.all(connection, select(tables.staff_secret))


def staff_by_login(connection: Connection, login: str) -> StaffRow | None:
    """Return the person with this login."""
    return StaffRow.one(connection, select(tables.staff).where(tables.staff.c.login == login))


def locked_staff(connection: Connection, staff_id: str) -> StaffRow | None:
    """Return one person and hold the row until the transaction ends."""
    statement = select(tables.staff).where(tables.staff.c.id == staff_id).with_for_update()
    return StaffRow.one(connection, statement)


def secret_of(connection: Connection, staff_id: str) -> StaffSecretRow | None:
    """Return the secrets of one person."""
    statement = select(tables.staff_secret).where(tables.staff_secret.c.staff_id == staff_id)
    return StaffSecretRow.one(connection, statement)


def locked_secret(connection: Connection, staff_id: str) -> StaffSecretRow | None:
    """Return the secrets of one person and hold the row until the transaction ends."""
    statement = select(tables.staff_secret).where(tables.staff_secret.c.staff_id == staff_id)
    return StaffSecretRow.one(connection, statement.with_for_update())


def invitation_by_macs(connection: Connection, code_macs: list[bytes]) -> InvitationRow | None:
    """Return the invitation whose code has one of these MACs (one per usable key version)."""
    return InvitationRow.one(
        connection, select(tables.invitation).where(tables.invitation.c.code_mac.in_(code_macs))
    )


def locked_invitation(connection: Connection, invitation_id: str) -> InvitationRow | None:
    """Return one invitation and hold the row until the transaction ends."""
    statement = select(tables.invitation).where(tables.invitation.c.id == invitation_id).with_for_update()
    return InvitationRow.one(connection, statement)


def all_open_invitations(connection: Connection) -> list[InvitationRow]:
    """Return the unused invitations of everybody."""
    return InvitationRow.all(
        connection, select(tables.invitation).where(tables.invitation.c.used_at.is_(None))
    )


def open_invitations(connection: Connection, staff_id: str) -> list[InvitationRow]:
    """Return the unused invitations of one person."""
    column = tables.invitation.c
    statement = select(tables.invitation).where(column.staff_id == staff_id, column.used_at.is_(None))
    return InvitationRow.all(connection, statement)
