"""Two people, one of whom is erased after a copy was made: what the tests of restores have in common."""

from __future__ import annotations

import shutil
from typing import Any

from tests.conformance.counter import PHONE, Counter
from tests.conformance.yard import Yard
from vault.access.changes import Attempt, Change
from vault.backup.replaying import rewrap
from vault.domain.actions import Action
from vault.domain.model import SubjectState
from vault.lifecycle.tombstones import Act, leave
from vault.storage import subjects

ERASED, KEPT = "010-1111-1111", "010-2222-2222"


def do(yard: Yard, act: Act, token: str) -> int:
    """Do to a token's subject what an approved act on it does; return the row id of the subject."""
    counter = yard.counter
    subject_id = int(counter.row_of(token).subject_id)

    def doing(attempt: Attempt) -> Change[None]:
        if act == "erase":
            subjects.destroy(attempt.connection, subject_id, log_subject=bytes(15) + b"\1")
        else:
            state = SubjectState.RESTRICTED if act == "restrict" else SubjectState.OPEN
            rewrap(attempt, subject_id, state)
            subjects.set_state(attempt.connection, subject_id, 1 - state, state)
        leave(attempt, act, subject_id)
        return Change(None, {"subject": str(subject_id)}, revises=True)

    request = counter.furnished.request(counter.actor("officer"))
    counter.vault.changes.make_unasked(request, Action.APPROVAL_DECIDE, doing)
    return subject_id


def erased_since_a_backup(yard: Yard) -> tuple[str, str]:
    """Store two people, back up, erase one of them; return their tokens."""
    erased, kept = yard.counter.token(ERASED), yard.counter.token(KEPT)
    yard.backup()
    do(yard, "erase", erased)
    yard.counter.verify_log()
    return erased, kept


def outside(yard: Yard, name: str = "outside") -> dict[str, Any]:
    """Copy what is outside the database as it is now; return it as options of a restore."""
    folder = yard.folder / name
    shutil.copytree(yard.settings.checkpoint.parent, folder)
    return {"tombstones": folder / "tombstones", "checkpoint": folder / "checkpoint"}


def require_gone(yard: Yard, counter: Counter, erased: str, kept: str) -> None:
    """Return if of two people one is gone and the other is there."""
    yard.let_in(counter)
    assert counter.search(PHONE, ERASED) == []
    assert [hit["token"] for hit in counter.search(PHONE, KEPT)] == [kept]
    assert counter.detokenize(kept)["items"][0]["value"] == KEPT
    assert "value" not in counter.detokenize(erased)["items"][0]
    row = counter.row_of(erased)
    assert (row.envelope, row.digest, row.subject_id) == (None, None, 0)
    counter.verify_log()
