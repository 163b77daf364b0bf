"""A vault whose keys are rotated, resealed, counted and ended: the short ways to it."""

from __future__ import annotations

from tests.conformance.counter import Counter
from vault.domain.model import Role
from vault.rotation.census import Hanging
from vault.rotation.epochs import Rotated
from vault.rotation.jobs import JobView
from vault.service.vault import Vault
from vault.storage import tables


def second_administrator(counter: Counter) -> None:
    """Add the administrator who approves what the first one proposes."""
    office = counter.furnished
    office.hire(counter.actor("admin"), "second", Role.ADMINISTRATOR)
    office.approve_all(counter.actor("officer"))
    office.actors["second"] = office.login("second")


def rotate(counter: Counter, kind: str, *, scope: str = "") -> Rotated:
    """Put the next version of a key in force."""
    request = counter.furnished.request(counter.actor("admin"))
    return counter.vault.keys.rotate(request, kind=kind, scope=scope).value


def start_reseal(counter: Counter, kind: str) -> JobView:
    """Start the job."""
    return counter.vault.keys.reseal(counter.furnished.request(counter.actor("admin")), kind).value


def job(counter: Counter) -> JobView:
    """Return the reseal that ran last."""
    jobs = counter.vault.keys.jobs(counter.furnished.request(counter.actor("admin"))).value
    return next(found for found in jobs if found.kind == "reseal")


def reseal(counter: Counter, kind: str, *, size: int = 3, at: Vault | None = None) -> JobView:
    """Do the whole of a reseal."""
    start_reseal(counter, kind)
    worker = (at or counter.vault).worker
    for _ in range(1_000):
        if worker.portion(size=size) is None:
            return job(counter)
    raise AssertionError("the job does not end")


def census(counter: Counter, kind: str, version: int = 1) -> Hanging:
    """Count what hangs on one key."""
    found = counter.vault.keys.census(counter.furnished.request(counter.actor("admin"))).value
    return next(hanging for hanging in found if (hanging.kind, hanging.version) == (kind, version))


def propose(counter: Counter, kind: str, version: int = 1) -> str:
    """Propose the end of a key; return the approval."""
    request = counter.furnished.request(counter.actor("admin"))
    keys = counter.vault.keys
    made = keys.destroy(request, kind=kind, scope="", version=version, reason="replaced")
    return made.value.approval_id


def approve(counter: Counter, approval_id: str) -> None:
    """Let the other administrator approve."""
    request = counter.furnished.request(counter.actor("second"))
    counter.vault.approvals.decide(request, approval_id, approve=True)


def destroy(counter: Counter, kind: str, version: int = 1) -> None:
    """End a key, by both administrators."""
    approve(counter, propose(counter, kind, version))


def state_of(counter: Counter, kind: str, version: int = 1) -> str:
    """Return the state of a key as it is stored."""
    return str(counter.row(tables.key, kind=kind, version=version)["state"])
