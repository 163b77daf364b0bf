"""The steps of ``keys retire`` on the host: what is left, a new root key, the end of older ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.local.roots import announce, document_of
from cli.local.unsealing import asker, holder
from cli.output import Output

if TYPE_CHECKING:
    from vault.assembly import Retirement


@dataclass(frozen=True, slots=True)
class Holders:
    """What the options say of holders, old and new."""

    root_key: str | None = None
    recovery: str | None = None
    from_recovery: bool = False
    recovery_file: Path | None = None
    unseal_fd: int | None = None
    delete_in_kms: bool = False

    @property
    def file_in_force(self) -> Path | None:
        """The file of the copy for recovery once the root key was changed; None for another holder."""
        new = None if self.recovery is None else holder(self.recovery, option="--recovery").file
        if new is not None and (self.from_recovery or self.recovery_file is None):
            # Where it was written a moment ago: --recovery-file is what opened the root key before.
            return new
        return self.recovery_file


def state(home: Path, before: datetime | None = None) -> dict[str, Any]:
    """Return what still opens copies of the database from before the newest wrapping epoch.

    With ``before``, what opens the one that was made just before that moment.
    Raises InvalidInputError when there is no vault, UnavailableError.
    """
    from vault.assembly import Settings, look

    return _document(look(Settings.load(home), before=before))


def _document(found: Retirement) -> dict[str, Any]:
    waits = [at for root in found.rest.roots if (at := _ends_at(root.copies)) is not None]
    return {
        "vault_id": found.vault_id,
        "before": _moment(found.before_us),
        "step": found.step.value,
        "keys": [
            {"kind": key.kind, "scope": key.scope, "version": key.version, "state": key.state}
            for key in found.rest.keys
        ],
        "root_keys": [
            {
                "version": root.version,
                "in_force": root.replaced_us is None,
                "created_at": _moment(root.created_us),
                "ends_at": _ends_at(root.copies),
            }
            for root in found.rest.roots
        ],
        "copies": [
            {
                "name": copy.name,
                "root_key": copy.row.version,
                "slot": copy.row.slot,
                "holder": copy.row.kind,
                "to_do": copy.to_do,
            }
            for copy in found.copies
        ],
        "ends_at": max(waits, default=None),
    }


def _ends_at(copies: Iterable[Any]) -> str | None:
    """Return when the last of these copies is going to end by itself; None where none is."""
    now_us = datetime.now(UTC).timestamp() * 1_000_000
    ends = [copy.ended_at for copy in copies if copy.ended_at is not None and copy.ended_at > now_us]
    return _moment(max(ends)) if ends else None


def change_root_key(home: Path, out: Output, holders: Holders, *, reason: str) -> dict[str, Any]:
    """Put the next root key in force, under nothing that opens the one before; return what to tell of it."""
    from vault.assembly import Sealing, Settings
    from vault.assembly import change_root_key as change

    ask = asker(holders.unseal_fd)
    sealing = Sealing(
        root=None if holders.root_key is None else holder(holders.root_key, option="--root-key"),
        recovery=None if holders.recovery is None else holder(holders.recovery, option="--recovery"),
        ask=ask,
    )
    changed = change(
        Settings.load(home),
        sealing,
        partial(announce, out),
        ask=ask,
        from_recovery=holders.from_recovery,
        recovery_file=holders.recovery_file if holders.from_recovery else None,
        apart=True,
        reason=reason,
    )
    return document_of(changed)


def end_copies(
    home: Path, names: Collection[str], holders: Holders, *, by: str, reason: str
) -> list[dict[str, str]]:
    """End the copies of these names, after the root key in force was proved; return how each ended."""
    from vault.assembly import Settings
    from vault.assembly import end_copies as end

    ended = end(
        Settings.load(home),
        names,
        by=by,
        reason=reason,
        ask=asker(holders.unseal_fd),
        recovery_file=holders.file_in_force,
        delete_in_kms=holders.delete_in_kms,
    )
    return [{"name": copy.name, "how": copy.ending.how} for copy in ended]


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat()
