"""Data subjects: show what is kept, restrict, lift, erase."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import typer

from cli.command import group
from cli.output import Output, moment
from cli.remote.command import add_remote, tell
from cli.remote.server import Server
from cli.remote.tokens import OfPurpose, Reason
from vault.service.subjects import GROUNDS

Grounds = StrEnum("Grounds", {name.upper(): name for name in GROUNDS})  # type: ignore[misc]  # names that are not written out
"""Why; the codes of the façade."""

SubjectText = Annotated[str, typer.Argument(metavar="SUBJECT", help="Id of the data subject, sub_…")]
Ground = Annotated[Grounds, typer.Option("--ground", help="On what ground.")]


def add_to(app: typer.Typer) -> None:
    """Add the group ``subject``."""
    subject = group("subject", "Data subjects: what is kept, restriction and erasure.", parent=app)
    add_remote(subject, "show", show, "piivault subject show sub_3f…", service=True)
    add_remote(
        subject,
        "erase",
        erase,
        "piivault subject erase sub_3f… --ground subject_request --reason 'letter of 3 May'",
        service=True,
    )
    add_remote(
        subject,
        "restrict",
        restrict,
        "piivault subject restrict sub_3f… --ground subject_request",
        service=True,
    )
    add_remote(subject, "lift", lift, "piivault subject lift sub_3f… --ground subject_request", service=True)


def show(server: Server, out: Output, subject: SubjectText, *, purpose: OfPurpose = None) -> None:
    """Show state and number of live tokens, without a value."""
    answer = server.get(_path(subject), params={"purpose": purpose})
    if out.as_json:
        tell(out, answer)
        return
    body = answer.body
    told: list[tuple[str, object]] = [(key, body[key]) for key in ("subject", "kind", "state")]
    told += [("since", moment(body["since"])), ("created", moment(body["created_at"]))]
    told += [(item["field"], f"{item['live']:,} live") for item in body["fields"]]
    if body["state"] == "erased":
        told.append(("certificate", body["certificate"]))
    out.pairs(told)


def erase(
    server: Server,
    out: Output,
    subject: SubjectText,
    *,
    ground: Ground,
    purpose: OfPurpose = None,
    reason: Reason = None,
) -> None:
    """Ask the officer to erase a data subject.

    Once approved, keys, values and digests are destroyed for good.
    """
    body = _body(ground, purpose, reason)
    _propose(server, out, f"{_path(subject)}/erase", body=body, becomes="is erased")


def lift(
    server: Server,
    out: Output,
    subject: SubjectText,
    *,
    ground: Ground,
    purpose: OfPurpose = None,
    reason: Reason = None,
) -> None:
    """Ask the officer to lift a restriction."""
    _propose(
        server, out, f"{_path(subject)}/lift", body=_body(ground, purpose, reason), becomes="is open again"
    )


def restrict(
    server: Server,
    out: Output,
    subject: SubjectText,
    *,
    ground: Ground,
    purpose: OfPurpose = None,
    reason: Reason = None,
) -> None:
    """Restrict the processing of a data subject.

    At once: nothing of the person is released once this returns.
    """
    answer = server.post(f"{_path(subject)}/restrict", _body(ground, purpose, reason))
    tell(out, answer, f"{answer.body['subject']} is restricted.")


def _path(subject: str) -> str:
    return f"/v1/subjects/{quote(subject, safe='')}"


def _body(ground: str, purpose: str | None, reason: str | None) -> dict[str, str | None]:
    return {"ground": str(ground), "purpose": purpose or "", "reason": reason}


def _propose(server: Server, out: Output, path: str, *, body: dict[str, str | None], becomes: str) -> None:
    answer = server.post(path, body)
    subject, approval = answer.body["subject"], answer.body["approval_id"]
    tell(
        out,
        answer,
        f"{subject} {becomes} when the officer approves: piivault approval approve {approval}",
    )
