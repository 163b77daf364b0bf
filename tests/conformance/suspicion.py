"""Keys that somebody else may have: suspend them, say so, and have done what follows."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from keys.envelope import generation_of
from tests.conformance.counter import Counter, phone
from tests.support.furnished import phones
from vault.rotation.census import Hanging
from vault.rotation.compromise import Compromised
from vault.rotation.jobs import JobView
from vault.rotation.suspension import Doubted
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.errors import RolledBackError, StaleRevisionError

WHY = "a disk was sold"


def compromise(
    counter: Counter, version: int = 1, *, kind: str = "wrapping", at: Vault | None = None, **more: Any
) -> Compromised:
    """Say that somebody else may have a key; ``more``: scope, reason, everybody, by."""
    request = counter.furnished.request(counter.actor(more.pop("by", "admin")))
    asked = {"scope": "", "reason": WHY, **more}
    return (at or counter.vault).keys.compromise(request, kind=kind, version=version, **asked).value


def suspend(counter: Counter, version: int = 1, *, at: Vault | None = None, **more: Any) -> Doubted:
    """Have nothing open under an epoch; ``more``: kind, reason, by."""
    request = counter.furnished.request(counter.actor(more.pop("by", "admin")))
    asked = {"kind": "wrapping", "reason": WHY, **more}
    return (at or counter.vault).keys.suspend(request, version=version, **asked).value


def resume(counter: Counter, version: int = 1, *, at: Vault | None = None, **more: Any) -> Doubted:
    """Have what hangs on an epoch open again; ``more`` as above."""
    request = counter.furnished.request(counter.actor(more.pop("by", "admin")))
    asked = {"kind": "wrapping", "reason": WHY, **more}
    return (at or counter.vault).keys.resume(request, version=version, **asked).value


def job_of(counter: Counter, kind: str = "reencrypt") -> JobView:
    """Return the job of a kind that ran last."""
    jobs = counter.vault.keys.jobs(counter.furnished.request(counter.actor("admin"))).value
    (job,) = [job for job in jobs if job.kind == kind]
    return job


def finish(counter: Counter, *, size: int = 4, at: Vault | None = None, kind: str = "reencrypt") -> JobView:
    """Have one node do all there is to do."""
    for _ in range(1_000):
        with suppress(StaleRevisionError, RolledBackError):
            if (at or counter.vault).worker.portion(size=size) is None:
                return job_of(counter, kind)
    raise AssertionError("the job does not end")


def fill(counter: Counter, count: int) -> list[str]:
    """Store so many telephone numbers of as many people; return their tokens."""
    return [answer["token"] for answer in counter.tokenize(*map(phone, phones(count)))["items"]]


def census(counter: Counter) -> dict[str, Hanging]:
    """Return what hangs on each key."""
    found = counter.vault.keys.census(counter.furnished.request(counter.actor("admin"))).value
    return {f"{hanging.kind}/{hanging.scope}/{hanging.version}": hanging for hanging in found}


def generations(counter: Counter, subject_id: int | None = None) -> list[tuple[int, int]]:
    """Return generation and epoch of each data key, of one subject or of all."""
    rows = counter.rows(tables.data_key, order_by="subject_id")
    return sorted(
        (row["generation"], row["epoch"]) for row in rows if subject_id in {None, row["subject_id"]}
    )


def generation_under(counter: Counter, token: str) -> int:
    """Return the generation that a token's value is sealed under."""
    return generation_of(bytes(counter.row_of(token)["envelope"]))


def values_of(counter: Counter, *tokens: str, at: Vault | None = None) -> list[str]:
    """Return what each token gives: its value, or the code of the refusal."""
    answers = counter.detokenize(*tokens, at=at)["items"]
    return [answer["value"] if "value" in answer else answer["error"]["code"] for answer in answers]


def shut_of(counter: Counter, tokens: Iterable[str]) -> set[str]:
    """Return the tokens whose data key hangs on a suspended epoch, by what is stored."""
    keys = counter.rows(tables.key, order_by="version")
    epochs = {row["version"] for row in keys if (row["kind"], row["state"]) == ("wrapping", "suspended")}
    hanging = {
        (row["subject_id"], row["generation"])
        for row in counter.rows(tables.data_key, order_by="subject_id")
        if row["epoch"] in epochs
    }
    if not hanging:
        return set()
    rows = {token: counter.row_of(token) for token in tokens}
    return {
        token
        for token, row in rows.items()
        if (row["subject_id"], generation_of(bytes(row["envelope"]))) in hanging
    }
