"""The first two people of a vault and its first policy.

Both people are invited by init and need nobody's approval: there is nobody yet.
Everybody after them does. One person alone cannot be both.
"""

from __future__ import annotations

from dataclasses import dataclass

from keys.keyring import Keyring
from vault.access.invitations import Invited, invitation, new_code
from vault.access.naming import folded_login
from vault.access.sealing import seal
from vault.access.staff import Person, staff_row
from vault.domain.errors import InvalidInputError
from vault.domain.model import Role
from vault.policy.policy import Policy
from vault.storage import rows
from vault.storage.database import Connection
from vault.storage.grants import PolicyRow


@dataclass(frozen=True, slots=True)
class Initial:
    """What init hands out."""

    administrator: Invited
    officer: Invited


def initialise(
    connection: Connection,
    keyring: Keyring,
    *,
    policy: Policy,
    administrator: Person,
    officer: Person,
    now_us: int,
) -> Initial:
    """Write both people, their invitations and the policy; the caller logs and commits.

    Raises InvalidInputError: a person of the wrong role, or two with one login.
    """
    _require_role(administrator, Role.ADMINISTRATOR)
    _require_role(officer, Role.OFFICER)
    if folded_login(administrator.login) == folded_login(officer.login):
        raise InvalidInputError("administrator and officer are two people", field="login", rule="same")
    row = PolicyRow(id="1", text=policy.text, installed_at=now_us, version=1, mac=b"")
    rows.insert(connection, seal(keyring.authority, row))
    first = _invite(connection, keyring, administrator, now_us=now_us)
    second = _invite(connection, keyring, officer, now_us=now_us)
    return Initial(first, second)


def _invite(connection: Connection, keyring: Keyring, person: Person, *, now_us: int) -> Invited:
    staff = seal(keyring.authority, staff_row(person, now_us=now_us))
    code = new_code()
    made = invitation(keyring, staff.id, code=code, now_us=now_us, initial=True)
    rows.insert(connection, staff)
    rows.insert(connection, seal(keyring.authority, made))
    return Invited(staff.id, code, made.expires_at)


def _require_role(person: Person, role: Role) -> None:
    if person.role is not role:
        raise InvalidInputError(f"this person has to be the {role.value}", field="role", rule="role")
