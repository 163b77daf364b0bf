"""Certificates of destruction: list them, and take one with you."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import Output, moment, private_file
from cli.remote.command import add_remote, tell
from cli.remote.server import Server
from vault.domain.errors import ConflictError, InvalidInputError


def add_to(certificate: typer.Typer) -> None:
    """Add the commands of the group ``certificate`` that ask a server."""
    add_remote(certificate, "list", list_certificates, "piivault certificate list")
    add_remote(
        certificate,
        "show",
        show,
        "piivault certificate show crt_66778899aabbccddeeff",
        "piivault certificate show crt_66778899aabbccddeeff --out crt_66778899aabbccddeeff.txt",
    )


def list_certificates(
    server: Server,
    out: Output,
    *,
    before: Annotated[
        int | None, typer.Option("--before", min=0, help="Only those of tombstones below this number.")
    ] = None,
) -> None:
    """List certificates of destruction, the newest first.

    For administrators, officers and reviewers.
    """
    answer = server.get("/v1/certificates", params={"before": before})
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("certificate", "subject", "ground", "decided", "log index", "signed"),
        (
            (
                item["id"],
                item["subject"] or "",
                item["ground"] or "",
                moment(item["decided_at"]) if item["verifies"] else "",
                item["log_index"] if item["verifies"] else "",
                _state(item),
            )
            for item in answer.body["items"]
        ),
        none="no certificate",
    )
    if answer.body.get("next") is not None:
        out.note(f"more: --before {answer.body['next']}")


def _state(item: dict[str, Any]) -> str:
    if not item["verifies"]:
        return "does not verify"
    return "yes" if item["signed"] else "not yet"


def show(
    server: Server,
    out: Output,
    *,
    certificate: Annotated[str, typer.Argument(metavar="ID", help="Id of the certificate.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="Write the signed text into this new file, as it is.")
    ] = None,
) -> None:
    """Show a certificate of destruction as it was signed.

    For administrators, officers and reviewers. Keep the file as it is: a changed
    character, a space at the end included, makes it worthless. Verify it with
    "certificate verify" and the log's public key, anywhere.
    """
    answer = server.get(f"/v1/certificates/{certificate}")
    note = answer.body["note"]
    if note is None:
        raise ConflictError("the certificate is not signed yet: ask again in a few seconds")
    if to is not None:
        _write(to, note)
    if out.as_json or to is None:
        tell(out, answer, *note.splitlines())
    else:
        out.line(f"{to}: written. Check it with: piivault certificate verify {to} --key …")


def _write(path: Path, note: str) -> None:
    if path.exists():
        raise InvalidInputError(f"{path} is there already", field="--out", rule="exists")
    try:
        with private_file(path) as file:
            file.write(note)
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written: {error.strerror}", field="--out", rule="unwritable"
        ) from None
