"""The root key, for the operator on the host: change it, and drill its recovery."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.command import add, group
from cli.local.homes import Home, home_of
from cli.local.unsealing import UnsealFd, asker, holder, tell_shares, words
from cli.output import Output
from vault.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from vault.assembly.rootkeys import RootChange

NewRootKey = Annotated[
    str | None,
    typer.Option("--root-key", metavar="HOLDER", help="What seals it; else what sealed the one before."),
]
NewRecovery = Annotated[
    str | None,
    typer.Option("--recovery", metavar="HOLDER", help="What seals its copy; else what did before."),
]
Why = Annotated[str, typer.Option("--reason", help="Why; sealed beside the entry in the log.")]
RecoveryFile = Annotated[
    Path | None, typer.Option("--recovery-file", help="The key file, if one seals the copy for recovery.")
]
FromRecovery = Annotated[
    bool, typer.Option("--from-recovery", help="Open the old root key by its copy for recovery.")
]


def add_to(app: typer.Typer, keys: typer.Typer) -> None:
    """Add ``keys root rotate`` and ``drill recovery``."""
    root = group("root", "The root key, on this host.", parent=keys)
    add(
        root,
        "rotate",
        rotate,
        "piivault keys root rotate --home /srv/piivault",
        "piivault keys root rotate --root-key openbao --recovery shamir:3/5",
        "piivault keys root rotate --from-recovery --reason 'the disk with root.key is lost'",
    )
    drill = group("drill", "Prove on this host that what is for bad days works.", parent=app)
    add(
        drill,
        "recovery",
        recover,
        "piivault drill recovery --home /srv/piivault",
        "piivault drill recovery --unseal-fd 3 3< shares.txt",
        "piivault drill recovery --recovery-file /media/safe/recovery.key",
    )


def rotate(
    out: Output,
    *,
    home: Home = None,
    root_key: NewRootKey = None,
    recovery: NewRecovery = None,
    from_recovery: FromRecovery = False,
    recovery_file: RecoveryFile = None,
    reason: Why = "",
    unseal_fd: UnsealFd = None,
) -> None:
    """Draw a new root key and seal every key under it.

    Run on the host. It happens as a whole or not at all, and the vault may be
    in use meanwhile. What opened the old root key opens nothing any more;
    destroy every copy of it. Prints the shares for recovery, this once. With
    --from-recovery the old root key is opened by its copy for recovery: for
    the day that the other one cannot be opened.
    """
    from vault.assembly import Sealing, Settings, change_root_key

    ask = asker(unseal_fd)
    sealing = Sealing(
        root=None if root_key is None else holder(root_key, option="--root-key"),
        recovery=None if recovery is None else holder(recovery, option="--recovery"),
        ask=ask,
    )
    if recovery_file is not None and not from_recovery:
        raise InvalidInputError(
            "goes with --from-recovery; a file for the new copy is --recovery file:PATH",
            field="--recovery-file",
            rule="exclusive",
        )
    changed = change_root_key(
        Settings.load(home_of(home)),
        sealing,
        partial(announce, out),
        ask=ask,
        from_recovery=from_recovery,
        recovery_file=recovery_file,
        reason=reason,
    )
    _tell(out, changed)


def _tell(out: Output, changed: RootChange) -> None:
    if out.as_json:
        out.document(document_of(changed))
        return
    out.line(f"\nRoot key {changed.new} is in force; {changed.old} opens nothing any more.")
    if changed.old_file is not None:
        out.note(f"Destroy {changed.old_file} with every copy: it still opens older copies of the database.")


def document_of(changed: RootChange) -> dict[str, Any]:
    """Return what a program is told of a change, the new shares included."""
    return {
        "old": changed.old,
        "new": changed.new,
        "root_key": {"sealed_by": changed.root_key, "shares": words(changed.shares)},
        "recovery": {"sealed_by": changed.recovery, "shares": words(changed.recovery_shares)},
        "old_file": None if changed.old_file is None else str(changed.old_file),
    }


def announce(out: Output, change: RootChange) -> None:
    """Print the shares before the change is made: nobody may be left with a root key and no shares."""
    out.note(f"Root key {change.new}. What follows holds once it is said to be in force.")
    say = out.note if out.as_json else out.line
    tell_shares(say, "It is sealed by", change.root_key, change.shares)
    tell_shares(say, "A copy of it, for recovery, by", change.recovery, change.recovery_shares)
    if change.by_people:
        out.note("From then on every running server is sealed until it has that: piivault unseal, at each.")
    sys.stdout.flush()


def recover(
    out: Output, *, home: Home = None, recovery_file: RecoveryFile = None, unseal_fd: UnsealFd = None
) -> None:
    """Open every key with the copy for recovery, and with nothing else.

    Run on the host. Changes nothing but the log, which says that it was done.
    """
    from vault.assembly import Settings, drill_recovery

    shown = drill_recovery(Settings.load(home_of(home)), file=recovery_file, ask=asker(unseal_fd))
    if out.as_json:
        out.document(
            {
                "version": shown.version,
                "keys": shown.keys,
                "sealed_by": shown.sealed_by,
                "log_index": shown.log_index,
            }
        )
    else:
        out.line(f"Recovery works: root key {shown.version}, opened by {shown.sealed_by},")
        out.line(f"opens all {shown.keys} keys.")
