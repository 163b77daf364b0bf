"""Keys that somebody else may have: shut them, say so, and seal anew what hangs on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cli.output import Output
from cli.remote.command import add_remote, tell
from cli.remote.keys import Kind, Scope, Wait, Why, see_through
from cli.remote.server import Server
from vault.domain.errors import InvalidInputError


def add_to(keys: typer.Typer) -> None:
    """Add what goes over HTTP to the group ``keys``."""
    add_remote(
        keys,
        "compromise",
        compromise,
        "piivault keys compromise 1 --reason 'a disk of the old server was sold'",
        "piivault keys compromise 1 --all --reason 'the disk was sold before the re-wrap'",
        "piivault keys compromise --subject sub_… --reason 'a data key was in a core dump'",
        "piivault keys compromise 1 --kind lookup --scope member.phone --reason 'was in a core dump'",
    )
    add_remote(keys, "reencrypt", reencrypt, "piivault keys reencrypt")
    add_remote(
        keys, "suspend", suspend, "piivault keys suspend 1 --reason 'a disk of the old server is missing'"
    )
    add_remote(keys, "resume", resume, "piivault keys resume 1 --reason 'the disk was found, unread'")


Version = Annotated[
    int | None, typer.Argument(min=1, help="Version of the key; of a wrapping key, its epoch.")
]
Subject = Annotated[str, typer.Option("--subject", help="A subject, for its data keys alone.")]
Everybody = Annotated[
    bool, typer.Option("--all", help="Replace every data key: the epoch was known before an earlier re-wrap.")
]


def compromise(
    server: Server,
    out: Output,
    *,
    reason: Why,
    version: Version = None,
    kind: Kind = "wrapping",
    scope: Scope = "",
    subject: Subject = "",
    everybody: Everybody = False,
) -> None:
    """Say that somebody else may have a key.

    For administrators. At once nothing new hangs on it, on any node, and a
    successor is in force. Whoever has an epoch may have each data key that hung
    on it, so those are replaced and every value under them is sealed anew, in
    the background. It covers the data keys that hang on the epoch now: those
    that a re-wrap moved away earlier only with --all.
    """
    if (version is None) == (not subject):
        raise InvalidInputError("a VERSION, or --subject", field="version", rule="required")
    body: dict[str, object] = {"reason": reason, "subject": subject}
    if version is not None:
        body = {"reason": reason, "kind": kind, "scope": scope, "version": version, "all": everybody}
    answer = server.post("/v1/keys/compromise", body)
    tell(out, answer, *_told(answer.body, scope=scope))
    if version is not None and kind == "wrapping" and not everybody:
        out.note(
            "Data keys that left this epoch in an earlier re-wrap are not among them. If it was known before"
            " that, say so with: --all"
        )


def _told(done: dict[str, Any], *, scope: str) -> Iterator[str]:
    if done["key"]:
        after = f"; version {done['successor']} is in force" if done["successor"] else ""
        yield f"{done['key']} is compromised{after}."
    if scope:
        yield f"{done['suspect']:,} digests move. Watch, or start it, with: piivault keys redigest {scope}"
    else:
        yield f"{done['suspect']:,} data keys are being replaced. Watch with: piivault keys reencrypt"


def reencrypt(server: Server, out: Output, *, wait: Wait = True) -> None:
    """Replace suspect data keys and seal anew what hangs on them.

    For administrators. It has begun by itself with "keys compromise": run this
    to watch, or to go on where something did not open. See "keys rewrap".
    """
    see_through(server, out, server.post("/v1/keys/reencrypt"), wait=wait)


Epoch = Annotated[int, typer.Argument(metavar="EPOCH", min=1, help="Epoch of the wrapping key.")]


def suspend(server: Server, out: Output, *, epoch: Epoch, reason: Why) -> None:
    """Have nothing open under a wrapping key while nobody knows whether it is safe.

    For administrators. At once, on every node, what hangs on it is refused; a
    successor is in force. End it with "keys resume", or "keys compromise".
    """
    answer = server.post("/v1/keys/suspend", {"version": epoch, "reason": reason})
    done = answer.body
    after = f"; version {done['successor']} is in force" if done["successor"] else ""
    tell(
        out,
        answer,
        f"{done['key']} is suspended{after}.",
        f"Nothing opens under its {done['data_keys']:,} data keys until: piivault keys resume {epoch}, or"
        f" piivault keys compromise {epoch}",
    )


def resume(server: Server, out: Output, *, epoch: Epoch, reason: Why) -> None:
    """Have what hangs on a suspended wrapping key open again.

    For administrators. It only unwraps, as a key that was replaced does: go on
    with "keys rewrap".
    """
    answer = server.post("/v1/keys/resume", {"version": epoch, "reason": reason})
    done = answer.body
    tell(
        out,
        answer,
        f"{done['key']} unwraps again; {done['data_keys']:,} data keys hang on it.",
        "Go on with: piivault keys rewrap",
    )
