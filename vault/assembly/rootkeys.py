"""Change the root key, and prove that the copy for recovery opens. For the operator on the host."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from keys.errors import KeysError
from keys.keyring import KeyRecord, Keyring, root_context
from keys.rootkey import RootKey, RootSlot
from keys.secret import SecretText
from keys.states import KeyState
from vault.access.entries import HOST, Request, Said, entry, own_origin, with_said
from vault.access.roots import Roots, in_force, opened
from vault.access.standing import PEOPLE
from vault.assembly.copies import both_wrappers, reseal_all, sealed_copies, sealing_faults
from vault.assembly.oldcopies import require_apart
from vault.assembly.opening import open_vault, open_with
from vault.assembly.unlocking import recovered
from vault.assembly.wrapping import (
    PRINTED_SHARES,
    Ask,
    Made,
    New,
    Sealing,
    key_file,
    nobody,
    wrapper_of,
)
from vault.audit.journal import Journal
from vault.domain.actions import Action
from vault.domain.errors import (
    ConflictError,
    InvalidInputError,
    OutcomeUnknownError,
    UnavailableError,
    VaultError,
)
from vault.fields.notes import normalise_note
from vault.service.vault import Vault, system_clock
from vault.settings import FILE, Settings
from vault.storage import keys as key_rows
from vault.storage.database import Database
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.migrate import require_current
from vault.storage.roots import RootRow, insert_roots, read_roots, retire_roots

ATTEMPTS: Final = 8
"""Others may change things while somebody types."""

_KEEP: Final = "keep every key file and every share, old and new, until piivault status shows which opens"


@dataclass(frozen=True, slots=True)
class RootChange:
    """A root key that takes the place of another."""

    old: int
    new: int
    root_key: str
    """What seals it."""
    shares: tuple[SecretText, ...]
    recovery: str
    recovery_shares: tuple[SecretText, ...]
    old_file: Path | None
    """The key file of the one before, which seals nothing any more; None when no file did."""
    by_people: bool
    """Whether every running server has to be given what opens the new one."""


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill has shown."""

    version: int
    keys: int
    """Named keys that the recovered root key opened: all there are."""
    sealed_by: str
    log_index: int


def change_root_key(  # noqa: PLR0913 - one parameter for each thing that can be chosen
    settings: Settings,
    sealing: Sealing,
    announce: Callable[[RootChange], None] = lambda _change: None,
    *,
    ask: Ask = nobody,
    from_recovery: bool = False,
    recovery_file: Path | None = None,
    apart: bool = False,
    reason: str = "",
    clock: Callable[[], datetime] = system_clock,
) -> RootChange:
    """Draw a new root key, seal every named key under it and store both its copies, in one transaction.

    Whatever stops it, either the old root key or the new one opens the vault,
    and ``announce`` was called with the shares before that was decided. Other
    nodes take the new one from its log index on, if their settings find what
    seals it; those that need a person for it are sealed until one unseals them.
    ``ask`` opens the old one, by its copy for recovery if that is asked for;
    ``sealing.ask`` is asked for the new. No passphrase that has not ended may seal
    it, and with ``apart`` nothing that opens the old one too. ``reason`` is kept as
    a sealed note. Raises UnavailableError, ConflictError, InvalidInputError.
    """
    reason = normalise_note(reason, field="reason") if reason else ""
    files: list[Path] = []
    change: RootChange | None = None
    copies: list[RootRow] = []
    with ExitStack() as stack:
        stack.enter_context(alone(settings))
        vault = _old(settings, ask, clock, from_recovery=from_recovery, file=recovery_file)
        stack.enter_context(closing(vault))
        old = vault.standings.roots.held
        new = RootKey.generate(old.version + 1)
        try:
            with sealing_faults():
                # Whoever is asked takes their time, and a server may: no transaction is open meanwhile.
                sealers = both_wrappers(settings, _as_before(vault, sealing), new.version, files)
                _require_apart(vault, sealers, all_kinds=apart)
                copies = _copies(vault, new, sealers)
            change = _change(settings, vault, new, sealers)
            announce(change)
            _replace(vault, old, new, copies, reason=reason)
        except BaseException as error:
            if change is not None and _are_in_force(vault, copies, error):
                # The commit went through, and its answer was lost or nobody waited for it.
                return change
            for path in files:
                path.unlink(missing_ok=True)
            raise
    return change


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
    not open, or names the key that does not open under it.
    """
    with closing(Database.open(settings.database_url)) as database:
        require_current(database)
        with database.reading() as connection:
            vault_id = database.counter(connection).vault_id
            row = in_force(read_roots(connection), RootSlot.RECOVERY)
            records = key_rows.read_keys(connection)
        root, told = recovered(row, vault_id, file, ask)
        opened_keys = require_all_open(root, vault_id, records)
        keyring = Keyring.unlock(vault_id, records, root)
        now_us = int(clock().timestamp() * 1_000_000)
        with Journal(database, lambda: keyring).unit() as unit:
            target = {"version": str(root.version), "keys": str(opened_keys), "recovery": row.kind}
            request = Request(actor=HOST, origin=own_origin(), now_us=now_us)
            said = entry(request, Action.DRILL_RECOVERY, target=target)
            unit.append([said], revision=None, revise=False)
        return Drilled(root.version, opened_keys, told, unit.receipts[0].index)


def require_all_open(root: RootKey, vault_id: bytes, records: list[KeyRecord]) -> int:
    """Open every key that has not ended under ``root``, and return how many. Raises UnavailableError."""
    there = [record for record in records if record.state is not KeyState.DESTROYED]
    for record in there:
        # Also those that a keyring leaves alone in their state: they may come back into use.
        try:
            root.unwrap(record.wrapped, root_context(vault_id, record))
        except KeysError:
            raise UnavailableError(f"the root key opens, and the key {record.name} not under it") from None
    return len(there)


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Keep a second change of the root key on this host out. Raises ConflictError."""
    with (settings.home / FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError("the root key is being changed on this host already") from None
        yield


def _old(
    settings: Settings,
    ask: Ask,
    clock: Callable[[], datetime],
    *,
    from_recovery: bool,
    file: Path | None,
) -> Vault:
    """Open the vault as it is; with the copy for recovery nothing is asked of what seals the other one."""
    if not from_recovery:
        return open_vault(settings, clock=clock, ask=ask)
    with closing(Database.open(settings.database_url)) as database, database.reading() as connection:
        vault_id = database.counter(connection).vault_id
        row = in_force(read_roots(connection), RootSlot.RECOVERY)
    root, told = recovered(row, vault_id, file, ask)
    roots = Roots(partial(wrapper_of, settings, nobody), clock)
    roots.hold(root, told)
    return open_with(settings, roots, clock)


def _as_before(vault: Vault, sealing: Sealing) -> Sealing:
    """Return ``sealing`` with the holders in use where it names none. Raises InvalidInputError."""
    with vault.changes.database.reading() as connection:
        kinds = {row.slot: row.kind for row in read_roots(connection) if row.state == "active"}
    root, recovery = sealing.root, sealing.recovery
    if root is None:
        if kinds[RootSlot.LIVE] == "shamir":
            raise InvalidInputError("say how many: shamir:K/N", field="root_key", rule="required")
        root = New(kinds[RootSlot.LIVE])
    if recovery is None:
        kind = kinds.get(RootSlot.RECOVERY, PRINTED_SHARES.kind)
        if kind == "file":
            raise InvalidInputError("say where: file:PATH", field="recovery", rule="required")
        recovery = PRINTED_SHARES if kind == PRINTED_SHARES.kind else New(kind)
    return replace(sealing, root=root, recovery=recovery)


def _require_apart(vault: Vault, sealers: Mapping[RootSlot, Made], *, all_kinds: bool) -> None:
    with vault.changes.database.reading() as connection:
        rows = read_roots(connection)
    wrappers = [sealer.wrapper for sealer in sealers.values()]
    require_apart(rows, wrappers, vault.standings.current.keyring.vault_id, all_kinds=all_kinds)


def _copies(vault: Vault, new: RootKey, sealers: Mapping[RootSlot, Made]) -> list[RootRow]:
    """Return both copies of ``new``, each opened once to see that it can be."""
    vault_id = vault.standings.current.keyring.vault_id
    wrappers = {slot: sealer.wrapper for slot, sealer in sealers.items()}
    copies = sealed_copies(new, wrappers, vault_id=vault_id, now_us=vault.now_us())
    for copy in copies:
        found, _ = opened(lambda row: wrappers[RootSlot(row.slot)], copy, vault_id)
        new.require_same(found)
    return copies


def _change(settings: Settings, vault: Vault, new: RootKey, sealers: Mapping[RootSlot, Made]) -> RootChange:
    live, spare = sealers[RootSlot.LIVE], sealers[RootSlot.RECOVERY]
    with vault.changes.database.reading() as connection:
        row = in_force(read_roots(connection), RootSlot.LIVE)
    return RootChange(
        old=row.version,
        new=new.version,
        root_key=live.wrapper.describe(),
        shares=live.shares,
        recovery=spare.wrapper.describe(),
        recovery_shares=spare.shares,
        old_file=key_file(settings, row.version) if row.kind == "file" else None,
        by_people=live.wrapper.kind in PEOPLE,
    )


def _replace(vault: Vault, old: RootKey, new: RootKey, copies: list[RootRow], *, reason: str) -> None:
    """Put ``new`` in the place of ``old``. Raises ConflictError when another root key was faster."""
    for _ in range(ATTEMPTS):
        standing = vault.standings.refresh()
        if vault.standings.roots.held.version != old.version:
            break
        try:
            _replace_once(vault, old, new, copies, reason=reason, revision=standing.revision)
        except (StaleRevisionError, RolledBackError):
            continue
        return
    raise ConflictError("the vault was changed by others at the same time; ask again")


def _replace_once(
    vault: Vault, old: RootKey, new: RootKey, copies: list[RootRow], *, reason: str, revision: int
) -> None:
    kinds = {copy.slot: copy.kind for copy in copies}
    target = {"from": str(old.version), "to": str(new.version)}
    target |= {"root_key": kinds[RootSlot.LIVE], "recovery": kinds[RootSlot.RECOVERY]}
    request = Request(actor=HOST, origin=own_origin(), now_us=vault.now_us())
    keyring = vault.standings.current.keyring
    said, notes = with_said(keyring, entry(request, Action.KEY_ROOT, target=target), Said(reason=reason))
    with vault.changes.journal.unit() as unit:
        reseal_all(unit.connection, keyring.vault_id, old=old, new=new)
        retire_roots(unit.connection, old.version)
        insert_roots(unit.connection, copies)
        unit.append([said], revision=revision, revise=True, notes=notes)


def _are_in_force(vault: Vault, copies: list[RootRow], error: BaseException) -> bool:
    """Say whether ``copies`` were committed after all, by asking the database when it is done with them.

    The version alone would not tell: on another host somebody else may have taken it.

    Raises OutcomeUnknownError when it cannot be asked, or may have it otherwise
    after a failover: then nothing is taken away.
    """
    database = vault.changes.database
    try:
        with database.settled() as connection:
            there = set(copies) <= set(read_roots(connection))
            unconfirmed = there and database.waits_for_standby(connection)
    except (VaultError, KeyboardInterrupt):
        raise OutcomeUnknownError(
            f"whether the new root key is in force cannot be told now: {_KEEP}"
        ) from error
    if unconfirmed:
        raise OutcomeUnknownError(
            "the new root key is in force, and whether the synchronous standby has it was not heard:"
            f" a failover may bring the old one back: {_KEEP}"
        ) from error
    return there
