"""Seal a vault at once, and unseal it: over HTTP, or on its host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import ProblemError
from cli.local.sealing import unseal_here
from cli.local.unsealing import UnsealFd, asker
from cli.output import Output
from cli.remote.command import add_remote, add_targeted, tell
from cli.remote.server import Server, Target, connect
from vault.domain.errors import ConflictError, InvalidInputError, UnavailableError

PATH = "/v1/unseal"

Reason = Annotated[str, typer.Option("--reason", help="Why; kept beside the log, sealed.")]
HereOnly = Annotated[
    Path | None,
    typer.Option("--home", help="Unseal the vault in this folder of this host, not a server."),
]
Afresh = Annotated[bool, typer.Option("--afresh", help="Drop the shares given before, and begin again.")]
FromRecovery = Annotated[
    bool, typer.Option("--from-recovery", help="With --home: open the root key by its copy for recovery.")
]
RecoveryFile = Annotated[
    Path | None, typer.Option("--recovery-file", help="The key file, if one seals the copy for recovery.")
]


def add_to(app: typer.Typer) -> None:
    """Add ``seal`` and ``unseal``."""
    add_remote(app, "seal", seal, "piivault seal", "piivault seal --reason 'a laptop is missing'")
    add_targeted(
        app,
        "unseal",
        unseal,
        "piivault unseal --url https://vault.example:8443",
        "piivault unseal --url http://127.0.0.1:8443 --unseal-fd 3 3< shares.txt",
        "piivault unseal --home /srv/piivault",
    )


def seal(server: Server, out: Output, *, reason: Reason = "") -> None:
    """Seal the vault on every node, at once.

    For administrators; one is enough. Nothing is given out after this entry of
    the log, and every node drops its keys within a second. Only a person opens
    it again: piivault unseal.
    """
    answer = server.post("/v1/seal", {"reason": reason})
    tell(
        out, answer, f"Sealed, from log index {answer.body['log_index']:,} on. Open it with: piivault unseal"
    )


def unseal(
    target: Target,
    out: Output,
    *,
    home: HereOnly = None,
    unseal_fd: UnsealFd = None,
    afresh: Afresh = False,
    from_recovery: FromRecovery = False,
    recovery_file: RecoveryFile = None,
) -> None:
    """Give a sealed server its passphrase or one share, or unseal the vault of this host.

    Typed without echo. Each keeper of a share runs it once; the server keeps
    what it was given for ten minutes. With --unseal-fd it gives every line.
    With --home the seal is cleared here, with the root key's own holder; servers
    whose holder needs no person are open a moment later.
    """
    if home is not None:
        if afresh:
            raise InvalidInputError("is for a server", field="--afresh", rule="exclusive")
        done = unseal_here(
            home.expanduser().absolute(),
            unseal_fd=unseal_fd,
            from_recovery=from_recovery,
            recovery_file=recovery_file,
        )
        _tell(out, done)
        return
    if from_recovery or recovery_file is not None:
        raise InvalidInputError("goes with --home", field="--from-recovery", rule="exclusive")
    with connect(target) as server:
        if afresh:
            server.delete(PATH, public=True)
        _through(server, out, unseal_fd)


def _tell(out: Output, done: dict[str, Any]) -> None:
    if out.as_json:
        out.document(done)
        return
    out.line(f"Unsealed, at log index {done['log_index']:,}.")
    if done["by_people"]:
        out.line("Each server still waits for its passphrase or shares: piivault unseal --url …")


def _through(server: Server, out: Output, unseal_fd: int | None) -> None:
    """Give one passphrase or share, or every line of the descriptor until the server is open."""
    state = server.get(PATH, public=True).body
    if not state["sealed"]:
        raise ConflictError("this server is not sealed")
    ask, given = asker(unseal_fd), 0
    while state["sealed"] and (given == 0 or unseal_fd is not None):
        try:
            answer = _give(server, ask, state)
        except UnavailableError:
            # The end of the lines: what was given before stays given.
            if given == 0:
                raise
            break
        state, given = answer, given + 1
    if out.as_json:
        out.document(state)
    elif state["sealed"]:
        out.line(f"{state['given']} of {state['needed']} shares given; the next keeper runs piivault unseal.")
    else:
        out.line(f"Unsealed, at log index {state['log_index']:,}.")


def _give(server: Server, ask: Any, state: dict[str, Any]) -> dict[str, Any]:
    member = "passphrase" if state["holder"] == "passphrase" else "share"
    if state["holder"] not in {"passphrase", "shamir"}:
        raise ConflictError(
            f"the root key of this server is held by {state['holder']}: unseal on its host, with --home"
        )
    of = "" if state["needed"] is None else f" of {state['needed']}"
    what = member if member == "passphrase" else f"share {state['given'] + 1}{of}"
    try:
        return server.post(PATH, {member: ask(what).expose()}, public=True).body
    except ProblemError as error:
        # Raised anew: the frames between here and the transport hold what was typed.
        problem = error
    raise problem.with_traceback(None)
