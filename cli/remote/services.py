"""Service accounts: programs with an owner, an expiry and secrets that are replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from cli.command import group
from cli.output import Output, moment
from cli.remote.command import add_remote, tell
from cli.remote.server import Answer, Server
from vault.domain.errors import ConflictError

ServiceId = Annotated[str, typer.Argument(metavar="SERVICE_ID", help="Id of the service, svc_…")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file", help="Write the secret into this new file of mode 0600 instead of showing it."
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the group ``service``."""
    service = group("service", "Service accounts and their secrets.", parent=app)
    add_remote(
        service,
        "create",
        create,
        "piivault service create shop --owner stf_0123456789abcdef0123",
        "piivault service create shop --owner stf_0123456789abcdef0123 \\",
        "    --network 10.2.0.0/16 --days 30 --secret-file shop.secret",
    )
    add_remote(service, "list", list_services, "piivault service list")
    add_remote(
        service,
        "rotate",
        rotate,
        "piivault service rotate svc_0123456789abcdef0123 --overlap-hours 2",
    )
    add_remote(service, "revoke", revoke, "piivault service revoke svc_0123456789abcdef0123")


def create(
    server: Server,
    out: Output,
    name: Annotated[str, typer.Argument(help="Name, as the log will have it.")],
    *,
    owner: Annotated[str, typer.Option("--owner", help="Id of the person who answers for it.")],
    network: Annotated[
        list[str] | None, typer.Option("--network", help="Network it may come from; may be repeated.")
    ] = None,
    days: Annotated[int | None, typer.Option("--days", help="Days until its secret ends.")] = None,
    secret_file: SecretFile = None,
) -> None:
    """Register a service and print its first secret.

    For administrators. The secret is shown once. A service may do nothing
    before it has a grant.
    """
    _require_absent(secret_file)
    body = {"name": name, "owner": owner, "networks": network, "expires_in_days": days}
    _tell_secret(out, server.post("/v1/services", body), secret_file)


def list_services(server: Server, out: Output) -> None:
    """List every service, revoked ones included."""
    answer = server.get("/v1/services")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("id", "name", "owner", "networks", "state", "secrets"),
        (
            (
                item["id"],
                item["name"],
                item["owner"],
                item["networks"],
                item["state"],
                [_credential(held) for held in item["credentials"]],
            )
            for item in answer.body["items"]
        ),
    )


def rotate(
    server: Server,
    out: Output,
    service_id: ServiceId,
    *,
    overlap_hours: Annotated[
        int | None,
        typer.Option("--overlap-hours", help="Hours the secret before it stays good; 0 ends it now."),
    ] = None,
    days: Annotated[int | None, typer.Option("--days", help="Days until the new secret ends.")] = None,
    secret_file: SecretFile = None,
) -> None:
    """Print the next secret of a service.

    For administrators. The one before it stays good for a while.
    """
    _require_absent(secret_file)
    body = {"overlap_hours": overlap_hours, "expires_in_days": days}
    answer = server.post(f"/v1/services/{quote(service_id, safe='')}/rotate", body)
    _tell_secret(out, answer, secret_file)


def revoke(server: Server, out: Output, service_id: ServiceId) -> None:
    """Stop a service for good.

    For administrators. Its secrets, access tokens and grants end with it.
    """
    answer = server.post(f"/v1/services/{quote(service_id, safe='')}/revoke")
    tell(out, answer, f"{service_id} is revoked.")


def _credential(held: dict[str, object]) -> str:
    if held["ended"]:
        return f"{held['id']} ended"
    return f"{held['id']} until {moment(held['ends_at'] or held['expires_at'])}"


def _require_absent(secret_file: Path | None) -> None:
    # Before the secret is made: it is shown once, and would be lost.
    if secret_file is not None and secret_file.exists():
        raise ConflictError(f"{secret_file} exists already")


def _tell_secret(out: Output, answer: Answer, secret_file: Path | None) -> None:
    body = answer.body
    if secret_file is not None:
        descriptor = os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{body['client_secret']}\n")
        if out.as_json:
            out.document({**body, "client_secret": None, "client_secret_file": str(secret_file)})
            return
    elif out.as_json:
        tell(out, answer)
        return
    shown = str(secret_file) if secret_file is not None else f"{body['client_secret']} (shown this once)"
    pairs = [("client id", body["service_id"]), ("client secret", shown)]
    out.pairs([*pairs, ("credential", body["credential_id"]), ("ends", moment(body["expires_at"]))])
