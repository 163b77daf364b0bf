"""Who may act at once after a restore: one officer, and nobody else.

People who left since the copy are active in it, with the password of then. So
everybody waits for the officer, as after an enrolment: whoever is still there is
approved, whoever left is refused. Somebody has to be able to do that, or the
vault could never be used again: the officer who vouched, or is named, or the
only one there is.
"""

from __future__ import annotations

from vault.access.approval_rows import open_approval
from vault.access.authority import StaffMember
from vault.access.changes import Attempt
from vault.access.naming import folded_login
from vault.domain.errors import InvalidInputError
from vault.domain.model import Role


def who_stays(attempt: Attempt, *, login: str, vouched: str) -> StaffMember | None:
    """Return the officer who stays active: of ``login``, else with the id ``vouched``, else the only one.

    None when the copy has no active officer: it was made before one had
    enrolled, and nobody could let anybody in. Raises InvalidInputError.
    """
    officers = attempt.authority.active_with(Role.OFFICER)
    if login:
        officers = tuple(one for one in officers if one.row.login == folded_login(login))
        if not officers:
            raise InvalidInputError("no active officer of the copy", field="--officer", rule="unknown")
    elif vouched:
        officers = tuple(one for one in officers if one.row.id == vouched)
    if len(officers) > 1:
        raise InvalidInputError(
            "several officers were active when the copy was made, and only one stays so, who lets the others"
            " in: name one who is there and has not left since",
            field="--officer",
            rule="ambiguous",
        )
    return officers[0] if officers else None


def have_wait(attempt: Attempt, stays: StaffMember) -> int:
    """Have everybody else who was active, or waited, wait for the officer; return how many."""
    waiting = [
        member.row
        for member in attempt.authority.staff.values()
        if member.row.state in {"active", "waiting"} and member.row.id != stays.row.id
    ]
    for row in waiting:
        if row.state == "active":
            attempt.change(row, state="waiting")
        attempt.put(open_approval("enrolment", row.id, by=row.id, now_us=attempt.now_us))
    return len(waiting)
