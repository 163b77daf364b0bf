"""The log for reviewers: list, show, export, and the key it is verified with."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import Output, cell, moment
from cli.remote.command import add_remote, tell
from cli.remote.server import Server
from vault.domain.errors import ConflictError, UnavailableError

Filter = Annotated[str | None, typer.Option(help="Only entries with this value.")]


def add_to(audit: typer.Typer) -> None:
    """Add the commands of the group ``audit`` that ask a server."""
    add_remote(
        audit,
        "list",
        list_entries,
        "piivault audit list --limit 20",
        "piivault audit list --action token:detokenize --outcome refused",
        "piivault audit list --request req_0123456789abcdef0123456789abcdef",
    )
    add_remote(audit, "show", show, "piivault audit show 812")
    add_remote(audit, "export", export, "piivault audit export log-2026-12")
    add_remote(audit, "key", key, "piivault audit key --url https://vault.example:8443")


def list_entries(  # noqa: PLR0913 - one parameter for each filter
    server: Server,
    out: Output,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Entries on a page.")] = 50,
    before: Annotated[int | None, typer.Option("--before", help="Only entries before this index.")] = None,
    actor: Filter = None,
    action: Filter = None,
    outcome: Filter = None,
    request: Filter = None,
    purpose: Filter = None,
) -> None:
    """List entries of the log, the newest first.

    For reviewers. Reading the log is logged.
    """
    filters = {"actor": actor, "action": action, "outcome": outcome, "request": request, "purpose": purpose}
    answer = server.get("/v1/audit/entries", params={"limit": limit, "before": before, **filters})
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("index", "time", "actor", "action", "outcome", "purpose", "error"),
        (
            (
                entry["index"],
                moment(entry["time"]),
                entry["actor"]["name"] or entry["actor"]["kind"],
                entry["action"],
                entry["outcome"],
                entry["purpose"] or None,
                entry["error"] or None,
            )
            for entry in answer.body["items"]
        ),
        none="no entry",
    )
    if answer.body.get("next") is not None:
        out.note(f"more: --before {answer.body['next']}")


def show(
    server: Server, out: Output, index: Annotated[int, typer.Argument(min=0, help="Index of the entry.")]
) -> None:
    """Show one entry whole, with the reason given.

    For reviewers.
    """
    answer = server.get(f"/v1/audit/entries/{index}")
    if out.as_json:
        tell(out, answer)
        return
    out.pairs((name, _member(name, value)) for name, value in answer.body.items())


def export(
    server: Server,
    out: Output,
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
) -> None:
    """Write the whole log into a folder.

    For reviewers. "audit verify" takes the folder.
    """
    written = run_export(server, out, folder)
    if out.as_json:
        out.document({**written, "folder": str(folder)})
    else:
        out.line(f"{written['entries']:,} entries, {written['checkpoints']:,} checkpoints in {folder}.")
        out.line(f"Verify it, offline: piivault audit verify {folder} --key VKEY")


def key(server: Server, out: Output) -> None:
    """Print the public key of the log.

    Keep it apart from the exports it verifies.
    """
    answer = server.get("/v1/audit/key", public=True)
    tell(out, answer, str(answer.body["vkey"]))


def run_export(server: Server, out: Output, folder: Path) -> dict[str, int]:
    """Write the whole log into ``folder``, with progress; return how many entries and checkpoints."""
    # The writer comes with the whole of the vault's log: slow to load, needed only here.
    from vault.service.audit import write_export

    if folder.exists() and any(folder.iterdir()):
        raise ConflictError(f"the folder {folder} is not empty")
    first = server.get("/v1/audit/export", params={"start": 0}).body
    with out.progress("entries") as progress:
        task = progress.add_task("exporting", total=first["size"])

        def watched() -> Iterator[bytes]:
            for entry in _entries(server, first):
                progress.advance(task)
                yield entry

        written = write_export(folder, watched(), first["checkpoints"])
    return {"entries": written.entries, "checkpoints": written.checkpoints}


def _entries(server: Server, first: dict[str, Any]) -> Iterator[bytes]:
    """Yield the stored bytes of every entry the first page's checkpoints cover."""
    page, index, size = first, 0, first["size"]
    while index < size:
        if not page["entries"]:
            raise UnavailableError(f"the server stopped at entry {index} of {size}")
        for text in page["entries"]:
            yield base64.b64decode(text, validate=True)
        index += len(page["entries"])
        if index < size:
            page = server.get("/v1/audit/export", params={"start": index}).body


def _member(name: str, value: Any) -> str:
    return moment(value) if name == "time" else cell(value)
