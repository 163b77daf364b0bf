"""Erasures that waited for the officer when the copy was made: a restore refuses every open approval.

Nobody decided against those. So whoever restores is told of whom they were,
and the log which approvals: it never holds the id of a subject.
"""

from __future__ import annotations

from dataclasses import dataclass

from vault.access.changes import Attempt
from vault.lifecycle.asking import text_of
from vault.lifecycle.proposals import ERASURE
from vault.storage.subjects import ERASED, read_subject


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An erasure that is to be proposed again."""

    approval: str
    subject: str
    """Text of the id."""


def unanswered_erasures(attempt: Attempt) -> tuple[Unanswered, ...]:
    """Return the erasures that wait, of subjects that are still there. Before they are refused."""
    found = []
    for approval in attempt.authority.approvals.values():
        if (approval.kind, approval.state) != (ERASURE, "open"):
            continue
        subject = read_subject(attempt.connection, int(approval.target.partition("/")[0]))
        if subject is not None and subject.state != ERASED:
            found.append(Unanswered(approval.id, text_of(attempt, subject)))
    return tuple(found)
