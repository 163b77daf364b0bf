"""Unseal a vault on its host, and look at one that is sealed. For the operator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from keys.rootkey import RootSlot
from vault.access.entries import HOST, Request, own_origin
from vault.access.roots import Roots, in_force
from vault.access.unsealing import SealState, unseal
from vault.assembly.opening import sealed_with
from vault.assembly.unlocking import recovered
from vault.assembly.wrapping import Ask, nobody, wrapper_of
from vault.domain.errors import ConflictError
from vault.service.vault import Counts, system_clock
from vault.settings import Settings
from vault.storage.database import Counter, Database
from vault.storage.roots import RootRow, read_roots


@dataclass(frozen=True, slots=True)
class HostUnseal:
    """What an unseal on the host has done."""

    log_index: int
    by_people: bool
    """Whether each server still has to be given its passphrase or shares; others open by themselves."""


@dataclass(frozen=True, slots=True)
class Shut:
    """What can be said of a vault without a key."""

    vault_id: str
    database: str
    counts: Counts
    state: SealState


def unseal_on_host(
    settings: Settings,
    *,
    ask: Ask = nobody,
    from_recovery: bool = False,
    recovery_file: Path | None = None,
    clock: Callable[[], datetime] = system_clock,
) -> HostUnseal:
    """Open the root key here, and clear the seal of the vault of ``settings`` with its entry in the log.

    ``from_recovery`` opens it by its copy for recovery. Raises ConflictError
    when the vault is not sealed, UnavailableError when the root key does not open.
    """
    roots = Roots(partial(wrapper_of, settings, ask), clock)
    with closing(sealed_with(settings, roots, clock)) as vault:
        database = vault.changes.database
        state = vault.unsealing.state()
        if not vault.counts().sealed_everywhere:
            waits = "; a server that waits for its passphrase or shares: piivault unseal --url …"
            raise ConflictError(f"the vault is not sealed{waits if state.by_people else ''}")
        row, begun = _copy(database, RootSlot.RECOVERY if from_recovery else RootSlot.LIVE)
        vault_id = begun.vault_id
        root = recovered(row, vault_id, recovery_file, ask)[0] if from_recovery else roots.open(row, vault_id)
        request = Request(actor=HOST, origin=own_origin(), now_us=vault.now_us())
        target = {"holder": row.kind, "copy": row.slot}
        _, index = unseal(database, vault.standings, root, request, target=target, begun=begun)
        return HostUnseal(index, state.by_people)


def look_at_sealed(settings: Settings) -> Shut:
    """Return what a vault is that opens for nobody now. Raises UnavailableError, SchemaError."""
    roots = Roots(partial(wrapper_of, settings, nobody), system_clock)
    with closing(sealed_with(settings, roots, system_clock)) as vault:
        database = vault.changes.database
        with database.reading() as connection:
            vault_id = database.counter(connection).vault_id
        return Shut(vault_id.hex(), database.dialect, vault.counts(), vault.unsealing.state())


def _copy(database: Database, slot: RootSlot) -> tuple[RootRow, Counter]:
    with database.reading() as connection:
        return in_force(read_roots(connection), slot), database.counter(connection)
