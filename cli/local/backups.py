"""Back the vault up, and put a copy back, for the operator on the host."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from cli import asking
from cli.command import add
from cli.local.homes import Home, home_of
from cli.local.setup import DatabaseUrl, DatabaseUrlFile, database_url_of
from cli.local.unsealing import RootKeySettings, UnsealFd, asker, tables
from cli.output import Output
from vault.domain.errors import InvalidInputError
from vault.domain.model import Role

if TYPE_CHECKING:
    from vault.assembly.backups import Gap, Restored, Shown, Vouch

TOLD_EVERY: Final = 100_000

Out = Annotated[Path, typer.Argument(help="Folder to write; must not exist, and never beside the vault.")]
To = Annotated[
    list[str] | None, typer.Option("--to", metavar="AGE", help="Who opens both sets; may be repeated.")
]
ValuesTo = Annotated[
    list[str] | None,
    typer.Option("--values-to", metavar="AGE", help="Who opens the set of values; may be repeated."),
]
KeysTo = Annotated[
    list[str] | None,
    typer.Option("--keys-to", metavar="AGE", help="Who opens the set of keys; may be repeated."),
]
FromRecovery = Annotated[
    bool, typer.Option("--from-recovery", help="Open the root key by its copy for recovery.")
]
RecoveryFile = Annotated[
    Path | None, typer.Option("--recovery-file", help="The key file, if one seals the copy for recovery.")
]
From = Annotated[Path | None, typer.Argument(metavar="FROM", help="Folder that backup wrote.")]
Identity = Annotated[
    list[Path] | None,
    typer.Option("--identity", help="File of age identities that opens a set; may be repeated."),
]
Raw = Annotated[
    bool, typer.Option("--raw", help="A copy of the database was put back by other means: settle it.")
]
Tombstones = Annotated[
    Path | None, typer.Option("--tombstones", help="Newest copy of log/tombstones, its head beside it.")
]
CheckpointFile = Annotated[
    Path | None, typer.Option("--checkpoint", help="Newest checkpoint of the log that anybody kept.")
]
LogKey = Annotated[
    list[str] | None,
    typer.Option("--log-key", metavar="VKEY", help="Public key of the log younger than the copy."),
]
AcceptGap = Annotated[
    bool,
    typer.Option("--accept-gap", help="Where the tombstones fall short: ask administrator and officer."),
]
Officer = Annotated[
    str,
    typer.Option("--officer", metavar="LOGIN", help="Who lets the others in, if the copy has several."),
]
CredentialsFd = Annotated[
    int | None,
    typer.Option(
        "--credentials-fd",
        min=0,
        help="File descriptor with login, password and code of administrator, then officer, a line each.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add ``backup`` and ``restore``."""
    add(
        app,
        "backup",
        backup,
        "piivault backup /mnt/backup/2026-12-01 --values-to age1… --keys-to age1…",
        "piivault backup /mnt/backup/2026-12-01 --to age1… --to age1… --home /srv/piivault",
    )
    add(
        app,
        "restore",
        restore,
        "piivault restore /mnt/backup/2026-12-01 --home /srv/new --identity values.txt \\",
        "    --identity keys.txt --tombstones /mnt/log/tombstones --checkpoint /mnt/log/checkpoint",
        "piivault restore --raw --home /srv/piivault",
    )


def backup(  # noqa: PLR0913 - an option for each thing that can be chosen
    out: Output,
    folder: Out,
    *,
    home: Home = None,
    to: To = None,
    values_to: ValuesTo = None,
    keys_to: KeysTo = None,
    from_recovery: FromRecovery = False,
    recovery_file: RecoveryFile = None,
    unseal_fd: UnsealFd = None,
) -> None:
    """Write a backup of the vault, which may be in use meanwhile.

    Values and keys are two files, each sealed to its own recipients (age):
    whoever opens one of them alone has no value and no key. What seals the
    root key is in neither; keep that apart from both.
    """
    from vault.assembly import Settings
    from vault.assembly.backups import Unlocking
    from vault.assembly.backups import backup as write

    written = write(
        Settings.load(home_of(home)),
        folder.expanduser(),
        values_to=[*(to or ()), *(values_to or ())],
        keys_to=[*(to or ()), *(keys_to or ())],
        unlocking=Unlocking(asker(unseal_fd), from_recovery, recovery_file),
        progress=_Progress(out, "rows"),
    )
    if out.as_json:
        out.document(
            {
                "backup": written.backup,
                "folder": str(folder),
                "log_index": written.log_index,
                "log_size": written.log_size,
                "rows": written.rows,
            }
        )
        return
    out.line(f"Backup {written.backup}: {written.rows:,} rows, the log up to entry {written.log_size - 1:,}.")
    out.note("Keep log/tombstones, its head and log/checkpoint outside too, newer than any backup.")


def restore(  # noqa: PLR0913 - an option for each thing that can be chosen
    out: Output,
    folder: From = None,
    *,
    home: Home = None,
    database_url: DatabaseUrl = None,
    database_url_file: DatabaseUrlFile = None,
    identity: Identity = None,
    raw: Raw = False,
    tombstones: Tombstones = None,
    checkpoint: CheckpointFile = None,
    log_key: LogKey = None,
    accept_gap: AcceptGap = False,
    credentials_fd: CredentialsFd = None,
    officer: Officer = "",
    root_key_settings: RootKeySettings = None,
    from_recovery: FromRecovery = False,
    recovery_file: RecoveryFile = None,
    unseal_fd: UnsealFd = None,
) -> None:
    """Put a backup into an empty folder and database, or settle a raw copy.

    Before anything is served, whoever was erased since is erased again; sessions,
    secrets and invitations end; grants and everybody but one officer wait for the
    officer; the log has a new key. A key file goes into keys/ first, without --raw.
    """
    from vault.assembly import Settings, backups

    _require_one(folder, raw=raw)
    options = backups.Options(
        unlocking=backups.Unlocking(asker(unseal_fd), from_recovery, recovery_file),
        checkpoint=checkpoint,
        tombstones=tombstones,
        log_keys=tuple(log_key or ()),
        vouch=_vouch(out, credentials_fd) if accept_gap else None,
        officer=officer,
        progress=_Progress(out, "rows and digests"),
    )
    if folder is None:
        restored = backups.restore_raw(Settings.load(home_of(home)), options=options)
    else:
        restored = backups.restore(
            folder.expanduser(),
            home_of(home),
            identities=backups.read_identities(identity or ()),
            database_url=database_url_of(database_url, database_url_file),
            tables=tables(root_key_settings),
            options=options,
        )
    _tell(out, restored, given=tombstones is not None)


def _require_one(folder: Path | None, *, raw: bool) -> None:
    if raw is (folder is not None):
        raise InvalidInputError("a folder, or --raw", field="FROM", rule="exclusive")


def _tell(out: Output, restored: Restored, *, given: bool) -> None:
    gap = restored.gap
    if not restored.newer:
        out.note(
            "WARNING: the tombstones tell of nothing after the copy. Whoever was erased after they were"
            " written IS BACK. If a newer copy of log/tombstones exists anywhere, restore again with"
            " --tombstones."
        )
    if out.as_json:
        out.document(
            {
                "home": str(restored.home),
                "vault_id": restored.vault_id,
                "log_index": restored.log_index,
                "log_key": restored.log_key,
                "log_before": restored.log_before,
                "replayed": dict(restored.replayed),
                "ended": dict(restored.ended),
                "undigested": restored.undigested,
                "officer": restored.officer,
                "unanswered": list(restored.unanswered),
                "gap": None if gap is None else {"log": gap.log, "from": gap.start, "to": gap.stop},
                "tombstones_given": given,
                "tombstones_newer": restored.newer,
            }
        )
        return
    out.line(f"Restored in {restored.home}; the log says so in entry {restored.log_index:,}.")
    out.line(f"Done again: {_counts(restored.replayed)}. Ended or waiting: {_counts(restored.ended)}.")
    if restored.undigested:
        out.line(f"{restored.undigested:,} values did not open, and are not found by search.")
    if restored.unanswered:
        out.line(f"Erasures that waited, to be proposed again: {', '.join(restored.unanswered)}.")
    if gap is not None:
        out.line(f"Accepted gap: entries {gap.start} to {gap.stop - 1} of {gap.log}.")
    out.line(f"The log goes on from {restored.log_before} as:\n  {restored.log_key}")
    if restored.officer:
        out.line(
            f"Active: {restored.officer} (officer), and nobody else. If they have left, restore again with"
            " another --officer, before it is served."
        )
    else:
        out.line(
            "No officer was active in the copy: everybody who was is active, whoever left since as well."
        )
    out.line(
        "Next: piivault serve; the officer approves who is still there, refuses who left, and decides about"
        " the grants; services get new secrets."
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items()) or "nothing"


class _Progress:
    """Says now and then how many rows it were: questions may come in between, so it draws nothing."""

    def __init__(self, out: Output, what: str) -> None:
        self._out = out
        self._what = what
        self._rows = 0

    def __call__(self, rows: int) -> None:
        before, self._rows = self._rows, self._rows + rows
        if before // TOLD_EVERY != self._rows // TOLD_EVERY:
            self._out.note(f"{self._rows:,} {self._what}")


def _vouch(out: Output, descriptor: int | None) -> Vouch:
    """Return what asks both people: a file descriptor, else the terminal."""
    from vault.assembly.backups import shown

    lines = None if descriptor is None else _lines(descriptor)

    def ask(question: str, *, secret: bool = False) -> str:
        if lines is not None:
            return next(lines, "")
        way = asking.ask_secret if secret else asking.ask
        return way(question, option="--credentials-fd")

    def one(gap: Gap, role: Role) -> Shown:
        if role is Role.ADMINISTRATOR:
            out.note(
                f"Of entries {gap.start} to {gap.stop - 1} of {gap.log} nothing is known: whoever they erased"
                " is back. Administrator and officer accept that by name:"
            )
        login = ask(f"{role.value.capitalize()}, login")
        password = ask("Password", secret=True)
        return shown(login, password, ask("Code"))

    return one


def _lines(descriptor: int) -> Iterator[str]:
    """Return lines, read as they are asked for: a code is not good for as long as a restore may take."""
    try:
        # Taken at once: a number that is no open file now may be another one later.
        file = os.fdopen(os.dup(descriptor), "r", encoding="utf-8")
    except OSError:
        raise _unreadable() from None
    return _read(file)


def _read(file: IO[str]) -> Iterator[str]:
    with file:
        try:
            while line := file.readline():
                yield line.rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise _unreadable() from None


def _unreadable() -> InvalidInputError:
    return InvalidInputError(
        "the file descriptor cannot be read", field="--credentials-fd", rule="unreadable"
    )
