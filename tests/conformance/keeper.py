"""Somebody who may act on whole subjects, and the officer who decides about it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from tests.conformance.counter import Counter, item, phone
from tests.support.furnished import MEMBER
from vault.access.changes import Made
from vault.lifecycle.asking import Ask
from vault.lifecycle.proposals import Proposed
from vault.lifecycle.showing import SubjectView
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.approvals import ApprovalRow

ACTS = ("subject:erase", "subject:lift", "subject:restrict", "subject:show")
GROUND = "subject_request"


class Keeper:
    """``shop`` may do every act on members' subjects; ``desk`` only with phone numbers and genders."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        office, admin = counter.furnished, counter.actor("admin")
        services = {actor: counter.actor(actor).id for actor in ("shop", "desk")}
        self.grant = office.grant(admin, ("service", services["shop"]), ACTS, purposes=(MEMBER,))
        self.narrow = office.grant(
            admin,
            ("service", services["desk"]),
            ACTS,
            purposes=(MEMBER,),
            fields=("member.phone", "member.gender"),
        )
        office.approve_all(counter.actor("officer"))

    def somebody(self, value: str = "010-1234-5678", **more: Any) -> tuple[str, list[str]]:
        """Make a subject with a phone number and a gender; return its id and its tokens."""
        answers = self.counter.tokenize(
            phone(value, label="a", **more), item("member.gender", "F", label="a", **more)
        )["items"]
        return answers[0]["subject"], [answer["token"] for answer in answers]

    def ask(
        self, act: str, subject: str, *, by: str = "shop", at: Vault | None = None, **more: Any
    ) -> Made[Any]:
        """Do ``act``, or propose it, as the vault has it."""
        request = self.counter.furnished.request(self.counter.actor(by))
        ask = Ask(subject, **({"ground": GROUND} | more))
        made: Made[Any] = getattr((at or self.counter.vault).subjects, act)(request, ask)
        return made

    def show(self, subject: str, **more: Any) -> SubjectView:
        shown: SubjectView = self.ask("show", subject, **more).value
        return shown

    def restrict(self, subject: str, **more: Any) -> int:
        """Restrict; return the log index."""
        return self.ask("restrict", subject, **more).receipt.index

    def propose(self, act: str, subject: str, **more: Any) -> Proposed:
        """Ask the officer for ``erase`` or ``lift``."""
        proposed: Proposed = self.ask(act, subject, **more).value
        return proposed

    def decide(
        self, approval_id: str, *, by: str = "officer", approve: bool = True, at: Vault | None = None
    ) -> Made[ApprovalRow]:
        request = self.counter.furnished.request(self.counter.actor(by))
        return (at or self.counter.vault).approvals.decide(request, approval_id, approve=approve)

    def erase(self, subject: str, *, at: Vault | None = None, **more: Any) -> int:
        """Propose and approve; return the log index of the erasure."""
        proposed = self.propose("erase", subject, at=at, **more)
        return self.decide(proposed.approval_id, at=at).receipt.index + 1

    def lift(self, subject: str, *, at: Vault | None = None, **more: Any) -> int:
        """Propose and approve; return the log index of the lifting."""
        proposed = self.propose("lift", subject, at=at, **more)
        return self.decide(proposed.approval_id, at=at).receipt.index + 1

    def row(self, subject: str) -> RowMapping:
        return self.counter.row(tables.subject, id=self.counter.row_id(subject))

    def refusal(self, *items: Any, **more: Any) -> list[str]:
        """Tokenize what is refused; return the codes."""
        answers = self.counter.tokenize(*items, **more)["items"]
        return [answer["error"]["code"] for answer in answers]
