"""Grants, and the approvals that bring the strong ones into force."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

import typer

from cli.command import group
from cli.output import Output, moment
from cli.remote.command import add_remote, tell
from cli.remote.server import Server
from vault.domain.errors import InvalidInputError
from vault.domain.model import Reveal


def add_to(app: typer.Typer) -> None:
    """Add the groups ``grant`` and ``approval``."""
    grant = group("grant", "Who may do what with which fields, for which purpose.", parent=app)
    add_remote(
        grant,
        "propose",
        propose,
        "piivault grant propose service:svc_0123456789abcdef0123 --action token:tokenize \\",
        "    --field member.phone --purpose inquiry --reason 'shop goes live'",
        "piivault grant propose staff:stf_0123456789abcdef0123 --action token:detokenize \\",
        "    --field member.phone --purpose inquiry --reveal plain --days 30 --reason 'call centre'",
    )
    add_remote(grant, "list", list_grants, "piivault grant list")
    add_remote(grant, "revoke", revoke, "piivault grant revoke grt_0123456789abcdef0123")
    approval = group("approval", "What waits for a second person.", parent=app)
    add_remote(approval, "list", list_approvals, "piivault approval list", "piivault approval list --all")
    add_remote(approval, "approve", approve, "piivault approval approve apr_0123456789abcdef0123")
    add_remote(approval, "refuse", refuse, "piivault approval refuse apr_0123456789abcdef0123")


def propose(  # noqa: PLR0913 - one parameter for each term of a grant
    server: Server,
    out: Output,
    holder: Annotated[
        str, typer.Argument(help="staff:ID, service:ID, team:CODE or role:NAME.", metavar="KIND:ID")
    ],
    *,
    action: Annotated[list[str], typer.Option("--action", help="Such as token:detokenize; may be repeated.")],
    field: Annotated[list[str], typer.Option("--field", help="Field of the policy; may be repeated.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; no personal data of customers in it.")],
    purpose: Annotated[
        list[str] | None, typer.Option("--purpose", help="Purpose of the policy; may be repeated.")
    ] = None,
    reveal: Annotated[
        Reveal | None, typer.Option("--reveal", help="For token:detokenize: masked, or plain too.")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option("--network", help="Network it is limited to; may be repeated.")
    ] = None,
    days: Annotated[int | None, typer.Option("--days", help="Days until it ends.")] = None,
) -> None:
    """Propose a grant.

    For administrators. One that can yield plaintext, or lets a service see,
    find, restrict, revoke or erase anything, waits for the officer; a narrower
    one is in force at once.
    """
    kind, identity = _holder(holder)
    body = {
        "actor_kind": kind,
        "actor_id": identity,
        "actions": action,
        "fields": field,
        "purposes": purpose or [],
        "reveal": reveal,
        "networks": network,
        "valid_days": days,
        "reason": reason,
    }
    answer = server.post("/v1/grants", body)
    grant, approval = answer.body["grant_id"], answer.body["approval_id"]
    waits = f"{grant} waits for the officer: piivault approval approve {approval}"
    tell(out, answer, waits if approval else f"{grant} is in force.")


def _holder(text: str) -> tuple[str, str]:
    """Return kind and id of a holder. Raises InvalidInputError."""
    kind, colon, identity = text.partition(":")
    if not (colon and kind and identity):
        raise InvalidInputError("a holder is KIND:ID, such as staff:stf_…", field="holder", rule="shape")
    return kind, identity


def list_grants(server: Server, out: Output) -> None:
    """List every grant and its state."""
    answer = server.get("/v1/grants")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("id", "holder", "actions", "fields", "purposes", "reveal", "state", "until"),
        (
            (
                item["id"],
                f"{item['actor_kind']}:{item['actor_id']}",
                item["actions"],
                item["fields"],
                item["purposes"],
                item["reveal"],
                item["state"],
                moment(item["valid_until"]),
            )
            for item in answer.body["items"]
        ),
    )


def revoke(
    server: Server,
    out: Output,
    grant_id: Annotated[str, typer.Argument(metavar="GRANT_ID", help="Id of the grant, grt_…")],
) -> None:
    """End a grant, or withdraw one that waits.

    Nothing is released under it once this returns.
    """
    answer = server.post(f"/v1/grants/{quote(grant_id, safe='')}/revoke")
    tell(out, answer, f"{grant_id} is revoked.")


def list_approvals(
    server: Server,
    out: Output,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also what was decided.")] = False,
) -> None:
    """List what waits for a second person."""
    answer = server.get("/v1/approvals")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("id", "what", "about", "proposed by", "when", "state", "decided by"),
        (
            (
                item["id"],
                item["kind"],
                item["target"],
                item["proposed_by"],
                moment(item["proposed_at"]),
                item["state"],
                item["decided_by"],
            )
            for item in answer.body["items"]
            if every or item["state"] == "open"
        ),
        none="nothing waits",
    )


ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL_ID", help="Id of the approval, apr_…")]


def approve(server: Server, out: Output, approval_id: ApprovalId) -> None:
    """Approve what waits: an enrolment, a grant, an erasure, the end of a key.

    For officers; the end of a key for administrators. Nobody approves their own.
    """
    _decide(server, out, approval_id, "approve")


def refuse(server: Server, out: Output, approval_id: ApprovalId) -> None:
    """Refuse what waits.

    For officers; the end of a key for administrators.
    """
    _decide(server, out, approval_id, "refuse")


_CARRIED_OUT: Final = {
    "key": " The key {} is destroyed.",
    "erasure": " The subject is erased.",
    "lifting": " The restriction is lifted.",
}
"""What an approval has done at once, by its kind."""


def _decide(server: Server, out: Output, approval_id: str, decision: str) -> None:
    answer = server.post(f"/v1/approvals/{quote(approval_id, safe='')}", {"decision": decision})
    told = f"{approval_id} is {'approved' if decision == 'approve' else 'refused'}."
    about = answer.body["approval"]
    if decision == "approve":
        told += _CARRIED_OUT.get(about["kind"], "").format(about["target"])
    tell(out, answer, told)
