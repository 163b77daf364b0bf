"""Verify an export of the log: offline, with a public key and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.command import add
from cli.errors import exit_code
from cli.output import Output
from vault.audit.verify import ExportRejectedError, Report, verify_export
from vault.domain.errors import InvalidInputError, TamperDetectedError

SHOWN = 20
"""Findings told to people; --json has them all."""


def add_to(audit: typer.Typer) -> None:
    """Add ``verify`` to the group ``audit``."""
    add(
        audit,
        "verify",
        verify,
        "piivault audit verify log-2026-12 --key 'piivault/4f…+1a2b3c4d+AX…'",
        "piivault audit verify log-2026-12 --key-file log.vkey --known log-2026-11/checkpoint",
    )


def verify(
    out: Output,
    export: Annotated[Path, typer.Argument(help="Folder that audit export wrote.")],
    *,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="Public key of the log, from anywhere but the export; may be repeated, oldest first.",
        ),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="The same, in a file, a line for each.")
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option("--known", help="A checkpoint kept from an earlier export; may be repeated."),
    ] = None,
) -> None:
    """Check an export of the log, offline.

    That no entry was changed, left out, put in, moved or cut off. Ends with 6
    when the export does not verify. Keep the file "checkpoint" of each export
    that does, and give it with --known the next time: only that shows that the
    log was not shortened or rewritten since. When the log has had more than one
    key, give all of them.
    """
    vkeys = _keys(key, key_file)
    notes = [_read(path) for path in known or ()]
    if not export.is_dir():
        raise InvalidInputError(f"there is no folder {export}", field="export", rule="missing")
    try:
        report = _verify(out, export, vkeys, notes)
    except ExportRejectedError as error:
        _tell(out, error.report, verified=False)
        raise typer.Exit(exit_code(TamperDetectedError)) from None
    except ValueError:
        raise InvalidInputError("not the public key of a log", field="--key", rule="vkey") from None
    except OSError as error:
        raise InvalidInputError(
            f"{export} cannot be read: {error.strerror}", field="export", rule="unreadable"
        ) from None
    _tell(out, report, verified=True)


def _verify(out: Output, export: Path, vkeys: list[str], notes: list[str]) -> Report:
    with out.progress("entries") as progress:
        task = progress.add_task("verifying", total=None)
        return verify_export(
            export,
            *vkeys,
            known_checkpoints=notes,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _keys(keys: list[str] | None, key_file: Path | None) -> list[str]:
    if (not keys) == (key_file is None):
        raise InvalidInputError("give either --key or --key-file", field="--key", rule="exclusive")
    return keys or _read(Path(str(key_file))).split()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError(f"{path} cannot be read", field="file", rule="unreadable") from None


def _tell(out: Output, report: Report, *, verified: bool) -> None:
    if out.as_json:
        out.document(_document(report, verified=verified))
        return
    if verified:
        out.line(f"{report.origin}: verified.")
        out.line(f"{report.entries:,} entries, {report.checkpoints:,} checkpoints.")
        out.line(f"Latest checkpoint: size {report.size}, root {report.root.hex()}")
        return
    out.line(f"{report.origin}: DOES NOT VERIFY. {len(report.findings) + report.omitted:,} findings:")
    for finding in report.findings[:SHOWN]:
        where = "" if finding.index is None else f" at entry {finding.index}"
        out.line(f"  {finding.rule}{where}{': ' if finding.detail else ''}{finding.detail}")
    if len(report.findings) > SHOWN:
        out.line("  … and more; see --json")


def _document(report: Report, *, verified: bool) -> dict[str, Any]:
    return {
        "verified": verified,
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex(),
        "entries": report.entries,
        "checkpoints": report.checkpoints,
        "findings": [
            {"rule": finding.rule, "index": finding.index, "detail": finding.detail}
            for finding in report.findings
        ],
        "omitted": report.omitted,
    }
