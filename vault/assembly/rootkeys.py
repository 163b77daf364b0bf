"""Change the root key, and prove that the copy for recovery opens. For the operator on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from keys.errors import KeysError
from keys.keyring import Keyring
from keys.rootkey import RootKey, RootSlot
from keys.secret import SecretText
from keys.states import KeyState
from vault.access.entries import HOST, Request, entry, own_origin
from vault.access.roots import Roots, in_force, opened
from vault.assembly.copies import both_wrappers, reseal_all, sealed_copies, sealing_faults
from vault.assembly.opening import open_vault, open_with
from vault.assembly.wrapping import Ask, Made, Sealing, key_file, nobody, recovery_of, wrapper_of
from vault.audit.journal import Journal
from vault.domain.actions import Action
from vault.domain.errors import OutcomeUnknownError, UnavailableError
from vault.service.vault import Vault, system_clock
from vault.settings import Settings
from vault.storage import keys as key_rows
from vault.storage.database import Database
from vault.storage.migrate import require_current
from vault.storage.roots import RootRow, insert_roots, read_roots, retire_roots


@dataclass(frozen=True, slots=True)
class RootChanged:
    """A root key that took the place of another."""

    old: int
    new: int
    root_key: str
    """What seals it."""
    shares: tuple[SecretText, ...]
    recovery: str
    recovery_shares: tuple[SecretText, ...]
    old_file: Path | None
    """The key file of the one before, which seals nothing any more; None when no file did."""


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill has shown."""

    version: int
    keys: int
    """Named keys that the recovered root key opened: all there are."""
    sealed_by: str
    log_index: int


def change_root_key(
    settings: Settings,
    sealing: Sealing,
    *,
    ask: Ask = nobody,
    from_recovery: bool = False,
    recovery_file: Path | None = None,
    clock: Callable[[], datetime] = system_clock,
) -> RootChanged:
    """Draw a new root key, seal every named key under it and store both its copies, in one transaction.

    Whatever stops it, either the old root key or the new one opens the vault.
    Other nodes take the new one from its log index on, if their settings find
    what seals it. ``ask`` opens the old one, by its copy for recovery if that is
    asked for; ``sealing.ask`` is asked for the new. Raises UnavailableError,
    InvalidInputError, StaleRevisionError.
    """
    files: list[Path] = []
    vault = (
        _open_from_recovery(settings, recovery_file, ask, clock)
        if from_recovery
        else open_vault(settings, clock=clock, ask=ask)
    )
    with closing(vault):
        old = vault.standings.roots.held
        new = RootKey.generate(old.version + 1)
        try:
            with sealing_faults():
                # Whoever is asked takes their time, and a server may: no transaction is open meanwhile.
                sealers = both_wrappers(settings, sealing, new.version, files)
                row = _replace(vault, old, new, sealers)
        except OutcomeUnknownError:
            # The new key file may be the one that opens the vault now.
            raise
        except BaseException:
            _take_away(files)
            raise
    live, spare = sealers[RootSlot.LIVE], sealers[RootSlot.RECOVERY]
    return RootChanged(
        old=old.version,
        new=new.version,
        root_key=live.wrapper.describe(),
        shares=live.shares,
        recovery=spare.wrapper.describe(),
        recovery_shares=spare.shares,
        old_file=key_file(settings, row.version) if row.kind == "file" else None,
    )


def drill_recovery(
    settings: Settings,
    *,
    file: Path | None = None,
    ask: Ask = nobody,
    clock: Callable[[], datetime] = system_clock,
) -> Drilled:
    """Open the vault's keys with the copy of the root key for recovery, and with nothing else.

    What seals the root key day by day is not asked, so the drill works on the
    day that matters. It is logged. Raises UnavailableError when the copy does
    not open, or any named key does not open under it.
    """
    with closing(Database.open(settings.database_url)) as database:
        require_current(database)
        with database.reading() as connection:
            vault_id = database.counter(connection).vault_id
            row = in_force(read_roots(connection), RootSlot.RECOVERY)
            records = key_rows.read_keys(connection)
        root, told = _recovered(row, vault_id, file, ask)
        try:
            keyring = Keyring.unlock(vault_id, records, root)
        except KeysError:
            raise UnavailableError("the copy for recovery opens, and not every key opens under it") from None
        usable = [record for record in records if record.state is not KeyState.DESTROYED]
        now_us = int(clock().timestamp() * 1_000_000)
        with Journal(database, lambda: keyring).unit() as unit:
            target = {"version": str(root.version), "keys": str(len(usable)), "recovery": row.kind}
            request = Request(actor=HOST, origin=own_origin(), now_us=now_us)
            said = entry(request, Action.DRILL_RECOVERY, target=target)
            unit.append([said], revision=None, revise=False)
        return Drilled(root.version, len(usable), told, unit.receipts[0].index)


def _recovered(row: RootRow, vault_id: bytes, file: Path | None, ask: Ask) -> tuple[RootKey, str]:
    return opened(lambda copy: recovery_of(copy, ask, file), row, vault_id)


def _open_from_recovery(
    settings: Settings, file: Path | None, ask: Ask, clock: Callable[[], datetime]
) -> Vault:
    """Open the vault with the copy for recovery. What seals the other one is not asked."""
    with closing(Database.open(settings.database_url)) as database, database.reading() as connection:
        vault_id = database.counter(connection).vault_id
        row = in_force(read_roots(connection), RootSlot.RECOVERY)
    root, told = _recovered(row, vault_id, file, ask)
    roots = Roots(partial(wrapper_of, settings, nobody))
    roots.hold(root, told)
    return open_with(settings, roots, clock)


def _replace(vault: Vault, old: RootKey, new: RootKey, sealers: Mapping[RootSlot, Made]) -> RootRow:
    """Put ``new`` in the place of ``old``, in one transaction; return the old copy for daily use."""
    standing, now_us = vault.standings.current, vault.now_us()
    vault_id = standing.keyring.vault_id
    wrappers = {slot: sealer.wrapper for slot, sealer in sealers.items()}
    copies = sealed_copies(new, wrappers, vault_id=vault_id, now_us=now_us)
    target = {"from": str(old.version), "to": str(new.version)}
    target |= {"root_key": wrappers[RootSlot.LIVE].kind, "recovery": wrappers[RootSlot.RECOVERY].kind}
    request = Request(actor=HOST, origin=own_origin(), now_us=now_us)
    with vault.changes.journal.unit() as unit:
        row = in_force(read_roots(unit.connection), RootSlot.LIVE)
        reseal_all(unit.connection, vault_id, old=old, new=new)
        retire_roots(unit.connection, old.version)
        insert_roots(unit.connection, copies)
        # Whatever changed since the vault was opened, another root key above all, makes this fail.
        unit.append([entry(request, Action.KEY_ROOT, target=target)], revision=standing.revision, revise=True)
    return row


def _take_away(files: list[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
