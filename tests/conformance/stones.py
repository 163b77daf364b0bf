"""Acts on data subjects as the vault writes them, for the tests of what becomes of their tombstones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.conformance.counter import Counter
from vault.access.changes import Attempt, Change
from vault.audit.integrator import log_keys
from vault.audit.tombstones import Reading, Tombstone, read
from vault.domain.actions import Action
from vault.lifecycle import tombstones
from vault.lifecycle.tombstones import Act
from vault.service.vault import Vault

SUBJECT = 72057594037927937


def leave(
    counter: Counter, act: Act = "erase", subject: int = SUBJECT, *, facts: Mapping[str, Any] | None = None
) -> int:
    """Leave a tombstone, with facts a certificate too; return the log index of its entry."""

    def doing(attempt: Attempt) -> Change[None]:
        tombstones.leave(attempt, act, subject, facts=facts)
        return Change(None, {}, revises=True)

    request = counter.furnished.request(counter.actor("admin"))
    return counter.vault.changes.make(request, Action.VAULT_STATUS, doing).receipt.index


def round_of(vault: Vault) -> str:
    """Do one round of upkeep; return what was wrong."""
    vault.upkeep.round()
    return vault.upkeep.health.trouble


def filed(counter: Counter) -> Reading:
    """Read the file of this host as somebody with the public key does."""
    checkpoint = counter.furnished.settings.checkpoint
    return read(checkpoint.with_name("tombstones"), log_keys(counter.vault.standings.current.keyring))


def subjects(stones: list[Tombstone]) -> list[int]:
    """Return who they are about."""
    return [stone.subject_id for stone in stones]
