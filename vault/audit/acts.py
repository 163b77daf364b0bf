"""Which entries of the log say that something was done to a data subject for good.

Each of them has a tombstone, written in its transaction. An entry without one
means that somebody deleted the tombstone, so that no file would ever name it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson

from vault.domain.errors import TamperDetectedError
from vault.storage.certificates import acts_at
from vault.storage.database import Connection
from vault.storage.log import EntryRow
from vault.storage.tombstones import ERASE, LIFT, RESTRICT

_MARK: Final = b'"action":"subject:'
"""In no entry but those: within a text a quotation mark is escaped (log-entry.md 2.4)."""

_AT_ONCE: Final = {"subject:restrict": RESTRICT}
_APPROVED: Final = {"subject:erase": ERASE, "subject:lift": LIFT}
_APPROVER: Final = "approved_by"
"""In the target of an entry that says that it was carried out; one that only proposes it names nobody."""


def act_of(body: bytes) -> str | None:
    """Return the act that the entry ``body`` says was done, as a tombstone names it; None for any other."""
    if _MARK not in body:
        return None
    entry = orjson.loads(body)
    if entry["outcome"] != "done" or entry["part"][0] != 1:
        return None
    if _APPROVER in entry["target"]:
        return _APPROVED.get(entry["action"])
    return _AT_ONCE.get(entry["action"])


def require_tombstones(connection: Connection, entries: Iterable[EntryRow]) -> None:
    """Return if every act in ``entries`` has its tombstone. Raises TamperDetectedError naming the entry."""
    said = {entry.idx: act for entry in entries if (act := act_of(entry.body)) is not None}
    if not said:
        return
    left = acts_at(connection, said)
    for index, act in said.items():
        if (index, act) not in left:
            raise TamperDetectedError(
                "an entry has no tombstone", reference=f"log.{index}", table="tombstone"
            )
