"""End older root keys, so that old copies of the database are dead. For the operator on the host."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from vault.access.entries import HOST, Request, Said, entry, own_origin, with_said
from vault.assembly.oldcopies import Ending, OldCopy, end_copy, old_copy
from vault.assembly.opening import open_vault
from vault.assembly.rootkeys import alone, drill_recovery, require_all_open
from vault.assembly.wrapping import Ask, nobody
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError
from vault.fields.notes import normalise_note
from vault.rotation.retirement import (
    Facts,
    Remaining,
    Step,
    read_facts,
    remaining,
    remaining_before,
    step_due,
)
from vault.service.vault import Vault, system_clock
from vault.settings import Settings
from vault.storage import keys as key_rows
from vault.storage import roots as root_rows
from vault.storage.database import Database
from vault.storage.migrate import require_current
from vault.storage.roots import RootRow

_NO_CODE: Final = re.compile(r"[^A-Za-z0-9._:/,*-]+")
_LONGEST: Final = 200
"""What the log takes for a name (docs/formats/log-entry.md 3)."""


@dataclass(frozen=True, slots=True)
class Retirement:
    """How far the end of everything from before one moment is."""

    vault_id: str
    before_us: int
    """When the newest wrapping epoch was made, or as was asked."""
    step: Step
    rest: Remaining
    copies: tuple[OldCopy, ...]
    """Of the root keys in ``rest`` that are replaced: what may still open them."""
    root_key: int
    """The version in force."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A copy that nothing opens any more, as far as anybody knows."""

    name: str
    ending: Ending


def look(
    settings: Settings,
    *,
    before: datetime | None = None,
    clock: Callable[[], datetime] = system_clock,
) -> Retirement:
    """Return what still opens copies of the database from before the newest wrapping epoch.

    With ``before``, what opens the one that was made just before that moment. Opens
    nothing but the database, and is not logged. Raises SchemaError,
    UnavailableError.
    """
    now_us = _microseconds(clock())
    with closing(Database.open(settings.database_url)) as database:
        require_current(database)
        with database.reading() as connection:
            vault_id = database.counter(connection).vault_id.hex()
            facts = read_facts(connection)
    return _retirement(settings, vault_id, facts, before=before, now_us=now_us)


def _retirement(
    settings: Settings, vault_id: str, facts: Facts, *, before: datetime | None, now_us: int
) -> Retirement:
    if before is None:
        before_us = facts.begun_us
        rest = remaining_before(facts, before_us, now_us)
    else:
        before_us = _microseconds(before)
        rest = remaining(facts, before_us, now_us)
    copies = tuple(
        old_copy(settings, row)
        for root in rest.roots
        if root.replaced_us is not None
        for row in root.copies
        if row.ended_at is None
    )
    in_force = facts.roots[0].version
    return Retirement(vault_id, before_us, step_due(facts, now_us), rest, copies, in_force)


def end_copies(
    settings: Settings,
    names: Collection[str],
    *,
    by: str,
    reason: str = "",
    ask: Ask = nobody,
    recovery_file: Path | None = None,
    delete_in_kms: bool = False,
    clock: Callable[[], datetime] = system_clock,
) -> tuple[Ended, ...]:
    """End the copies of older root keys that are called ``names``, as ``by`` has confirmed.

    First both copies of the root key in force are opened, and every key under it:
    nothing is ended that may be needed. What this host reaches is ended before
    the entry says so, so whoever is stopped in between does the same again.
    ``reason`` is kept as a sealed note beside each entry. Raises InvalidInputError
    for a name of none or a reason that holds what the log must not, ConflictError
    while keys of before are left or a copy is still there, UnavailableError.
    """
    said = Said(reason=normalise_note(reason, field="reason") if reason else "")
    with alone(settings):
        now = look(settings, clock=clock)
        if now.step is not Step.COPIES:
            raise ConflictError(f"no copy can be ended now: the step that is due is {now.step}")
        wanted = _wanted(now.copies, names)
        with closing(open_vault(settings, ask=ask, clock=clock)) as vault:
            _require_safe(settings, vault, ask=ask, recovery_file=recovery_file, clock=clock)
            return _end(settings, vault, wanted, by=by, said=said, delete_in_kms=delete_in_kms)


def _wanted(copies: Sequence[OldCopy], names: Collection[str]) -> list[OldCopy]:
    known = {copy.name for copy in copies}
    for name in names:
        if name not in known:
            raise InvalidInputError(
                "no older root key has a copy of this name", field="--confirm", rule="unknown"
            )
    return [copy for copy in copies if copy.name in names]


def _require_safe(
    settings: Settings,
    vault: Vault,
    *,
    ask: Ask,
    recovery_file: Path | None,
    clock: Callable[[], datetime],
) -> None:
    """Return if the root key in force opens every key, by each of its two copies. Raises UnavailableError."""
    root = vault.standings.roots.held
    with vault.changes.database.reading() as connection:
        vault_id = vault.changes.database.counter(connection).vault_id
        require_all_open(root, vault_id, key_rows.read_keys(connection))
    drilled = drill_recovery(settings, file=recovery_file, ask=ask, clock=clock)
    if drilled.version != root.version:
        raise ConflictError("the root key was changed meanwhile: begin again")


def _end(
    settings: Settings,
    vault: Vault,
    wanted: Sequence[OldCopy],
    *,
    by: str,
    said: Said,
    delete_in_kms: bool,
) -> tuple[Ended, ...]:
    proved = vault.standings.roots.held.version
    ended: list[Ended] = []
    for copy in wanted:
        # One by one: what is ended is written down before the next one can fail.
        in_force = _in_force(vault, proved)
        ending = end_copy(settings, copy.row, in_force, delete_in_kms=delete_in_kms)
        _write_down(vault, copy, ending, by=by, said=said)
        ended.append(Ended(copy.name, ending))
    return tuple(ended)


def _in_force(vault: Vault, proved: int) -> list[RootRow]:
    """Return the copies in force, right before one of others ends. Raises ConflictError.

    On another host the root key may have been changed since both of its copies were proved.
    """
    with vault.changes.database.reading() as connection:
        in_force = [row for row in root_rows.read_roots(connection) if row.state == "active"]
    if any(row.version != proved for row in in_force):
        raise ConflictError("the root key was changed meanwhile: begin again")
    return in_force


def _write_down(vault: Vault, copy: OldCopy, ending: Ending, *, by: str, said: Said) -> None:
    now_us = vault.now_us()
    target = {
        "root_key": str(copy.row.version),
        "slot": copy.row.slot,
        "holder": copy.row.kind,
        "copy": _NO_CODE.sub("-", copy.name)[:_LONGEST],
        "how": ending.how,
        "confirmed_by": by,
    }
    request = Request(actor=HOST, origin=own_origin(), now_us=now_us)
    before = entry(request, Action.KEY_RETIRE, target=target)
    told, notes = with_said(vault.standings.current.keyring, before, said)
    with vault.changes.journal.unit() as unit:
        ended_at = now_us if ending.at_us is None else ending.at_us
        changed = root_rows.end_copy(unit.connection, copy.row.version, copy.row.slot, ended_at=ended_at)
        if not changed:
            raise ConflictError("this copy was ended by others at the same time; look again")
        unit.append([told], revision=None, revise=False, notes=notes)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
