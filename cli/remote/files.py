"""The commands that take whole files: ``import`` and ``export``."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import exit_code_of
from cli.output import Output
from cli.remote.command import add_remote
from cli.remote.exporting import run_export
from cli.remote.importing import REFERENCE, Order, Tally, Watch, run_import
from cli.remote.retrying import Patience
from cli.remote.server import Server

Purpose = Annotated[str, typer.Option("--purpose", help="Purpose of the policy.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why, for the log.")]
Audience = Annotated[
    str | None,
    typer.Option("--audience", help="Recipient of the policy: its own token for each row and field."),
]


def add_to(app: typer.Typer) -> None:
    """Add ``import`` and ``export``."""
    add_remote(
        app,
        "import",
        import_file,
        "piivault import members.csv --purpose member_communication --kind member",
        "piivault import partners.csv --purpose partner --kind partner --encoding cp949 \\",
        "    --out partners.tokens.csv --rejects partners.rejects.csv",
        "piivault import members.csv --purpose member_communication --kind member \\",
        "    --audience message_sender --out members.message_sender.csv",
        service=True,
    )
    add_remote(
        app,
        "export",
        export_file,
        "piivault export members.tokens.csv --purpose member_communication --out members.masked.csv",
        service=True,
    )


def import_file(  # noqa: PLR0913 - one parameter for each option
    server: Server,
    out: Output,
    file: Annotated[Path, typer.Argument(help="CSV with a header; columns are fields.", metavar="FILE.csv")],
    *,
    purpose: Purpose,
    kind: Annotated[str, typer.Option("--kind", help="Kind of subject: the part of a field before the dot.")],
    tokens: Annotated[
        Path | None, typer.Option("--out", help="Where the tokens go; else FILE.tokens.csv.")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="Where the rejects go; else FILE.rejects.csv.")
    ] = None,
    ref_column: Annotated[
        str, typer.Option("--ref-column", help="Column with your own id of the row.")
    ] = REFERENCE,
    encoding: Annotated[str, typer.Option("--encoding", help="Of the file: utf-8, cp949, …")] = "utf-8-sig",
    audience: Audience = None,
    reason: Reason = None,
) -> None:
    """Tokenize the values of a CSV file.

    One subject for each row, one token for each value. Run it again after
    whatever stopped it: rows are known by their own id, and get the tokens they
    have. Rejected values are named by row, field and rule in the rejects file;
    the others of their row are kept. The header is row 1.
    """
    order = Order(
        file=file,
        tokens=tokens or file.with_suffix(".tokens.csv"),
        rejects=rejects or file.with_suffix(".rejects.csv"),
        purpose=purpose,
        kind=kind,
        reason=reason,
        reference=ref_column,
        encoding=encoding,
        audience=audience,
    )
    _warn_if_open(out, file)
    with watched(out, "importing") as watch:
        tally = run_import(server, order, Patience(say=out.note), watch)
    if out.as_json:
        written = {"tokens_file": str(order.tokens), "rejects_file": str(order.rejects)}
        out.document({**asdict(tally), **written})
        return
    _tell(out, tally, order)


def _tell(out: Output, tally: Tally, order: Order) -> None:
    out.line(
        f"{tally.rows:,} rows: {tally.tokenized:,} values tokenized, {tally.existing:,} had their token,"
    )
    out.line(f"{tally.rejected:,} rejected. Tokens in {order.tokens}, rejects in {order.rejects}.")
    if tally.warned:
        out.note(f"{tally.warned:,} values were accepted but look odd.")


def export_file(
    server: Server,
    out: Output,
    file: Annotated[Path, typer.Argument(help="CSV with tokens, such as import writes.", metavar="FILE.csv")],
    *,
    purpose: Purpose,
    target: Annotated[Path, typer.Option("--out", help="Where tokens and masked values go; mode 0600.")],
    reason: Reason = None,
) -> None:
    """Write the masked values of a file of tokens. Plain values are not exported.

    Ends with the code of the first token that could not be shown, after the rest.
    To be shown masked is to be opened: one-time tokens in the file are spent.
    """
    terms = {"purpose": purpose, "reason": reason}
    with watched(out, "exporting") as watch:
        shown = run_export(server, file, target, terms=terms, patience=Patience(say=out.note), watch=watch)
    if out.as_json:
        out.document({"detokenized": shown.detokenized, "failed": shown.failed, "file": str(target)})
    else:
        out.line(f"{shown.detokenized:,} masked values in {target}, {shown.failed:,} failed.")
    if shown.failed:
        raise typer.Exit(exit_code_of(shown.first_error))


@contextmanager
def watched(out: Output, verb: str) -> Iterator[Watch]:
    """Show how far a file is, in bytes, and how many values that were."""
    with out.progress("values", of_bytes=True) as progress:
        task = progress.add_task(verb, total=None, done=0)

        def watch(position: int, size: int, values: int) -> None:
            progress.update(task, completed=position, total=size, done=values)

        yield watch


def _warn_if_open(out: Output, file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # Said in full when it is opened.
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        out.note(f"warning: others on this host may read {file}")
