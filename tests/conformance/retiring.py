"""The steps of ``keys retire`` by the vault's own functions, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from keys.secret import SecretText
from tests.conformance.counter import Counter
from vault.assembly import Ask, Retirement, Sealing, change_root_key, end_copies, look
from vault.assembly.rootkeys import RootChange
from vault.domain.model import Role
from vault.rotation.retirement import Step


def saying(*answers: str) -> Ask:
    """Return somebody who gives these answers, one after the other."""
    rest = list(answers)
    return lambda _what: SecretText(rest.pop(0))


class Retiring:
    """Two administrators and the operator of the host, at work on one vault."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.office = counter.furnished
        self.office.hire(counter.actor("admin"), "second", Role.ADMINISTRATOR)
        self.office.approve_all(counter.actor("officer"))
        self.office.actors["second"] = self.office.login("second")
        self.shares: Sequence[str] = ()
        """Of the copy for recovery of the root key in force, once that was changed."""

    def look(self) -> Retirement:
        return look(self.office.settings, clock=self.office.clock)

    def begin(self) -> None:
        self.counter.vault.keys.rotate(self.office.request(self.counter.actor("admin")))

    def rotate_one(self) -> None:
        """Replace the first key of before that is still in use."""
        key = next(key for key in self.look().rest.keys if key.state == "active")
        request = self.office.request(self.counter.actor("admin"))
        self.counter.vault.keys.rotate(request, kind=key.kind, scope=key.scope)

    def move(self) -> None:
        """Move what hangs on the keys of before."""
        keys, admin = self.counter.vault.keys, self.counter.actor("admin")
        keys.rewrap(self.office.request(admin))
        self._work()
        for scope in sorted({key.scope for key in self.look().rest.keys if key.kind == "lookup"}):
            keys.redigest(self.office.request(admin), scope)
            self._work()

    def _work(self) -> None:
        while self.counter.vault.worker.portion() is not None:
            pass

    def destroy_one(self) -> None:
        """Propose the end of a key, and approve it as somebody else."""
        key = self.look().rest.keys[0]
        request = self.office.request(self.counter.actor("admin"))
        proposed = self.counter.vault.keys.destroy(
            request, kind=key.kind, scope=key.scope, version=key.version, reason="old copies"
        )
        second = self.office.request(self.counter.actor("second"))
        self.counter.vault.approvals.decide(second, proposed.value.approval_id, approve=True)

    def change_root_key(self, sealing: Sealing | None = None) -> RootChange:
        changed = change_root_key(
            self.office.settings, sealing or Sealing(), clock=self.office.clock, apart=True
        )
        self.shares = [share.expose() for share in changed.recovery_shares]
        return changed

    def end_copies(self, *names: str, ask: Ask | None = None) -> list[str]:
        """End the copies of these names, or all; return how."""
        chosen = names or tuple(copy.name for copy in self.look().copies)
        ended = end_copies(
            self.office.settings,
            chosen,
            by=self.office.people["admin"],
            ask=ask or saying(*self.shares[:2]),
            clock=self.office.clock,
        )
        return [copy.ending.how for copy in ended]

    def up_to(self, step: Step) -> None:
        """Begin, and go on until ``step`` is due."""
        self.begin()
        while self.look().step is Step.ROTATE is not step:
            self.rotate_one()
        if step is Step.ROTATE:
            return
        self.move()
        while self.look().step is Step.DESTROY is not step:
            self.destroy_one()
        if step in {Step.COPIES, Step.DONE}:
            self.change_root_key()
        if step is Step.DONE:
            self.end_copies()
        assert self.look().step is step
