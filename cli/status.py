"""Is the vault well? Of the vault on this host, or of a server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from cli.command import add
from cli.errors import ProblemError
from cli.local.homes import Home, home_of
from cli.local.state import local_state
from cli.output import Output
from cli.remote.command import CaFile, Profile, Url
from cli.remote.server import Answer, Server, Target, connect
from vault.domain.errors import AuthenticationError, SealedError, UnavailableError

SETTINGS = "piivault.toml"


def add_to(app: typer.Typer) -> None:
    """Add ``status``."""
    add(
        app,
        "status",
        status,
        "piivault status",
        "piivault status --home /srv/piivault",
        "piivault status --url https://vault.example:8443 --json",
    )


def status(
    out: Output, *, home: Home = None, url: Url = None, ca_file: CaFile = None, profile: Profile = "default"
) -> None:
    """Show the state of a vault.

    Of the one in --home, or of a server with --url; what is typed counts before
    what is exported. Without either, of the vault of this host if there is one,
    else of the server you are logged in to.
    """
    folder = home_of(home)
    if _is_of_this_host(url, home, folder):
        state: Mapping[str, Any] = local_state(folder)
        raw: bytes | Mapping[str, Any] = state
    else:
        with connect(Target(url=url, ca_file=ca_file, profile=profile)) as server:
            answer = _asked(server)
        state, raw = answer.body, answer.raw
    if out.as_json:
        out.document(raw)
    else:
        out.pairs(_lines(state))


def _asked(server: Server) -> Answer:
    """Return the state; of a sealed server, where nobody can log in, how far its unseal is."""
    try:
        return server.get("/v1/status")
    except (AuthenticationError, ProblemError) as error:
        if isinstance(error, ProblemError) and error.code != SealedError.code:
            raise
        with suppress(ProblemError, UnavailableError):
            answer = server.get("/v1/unseal", public=True)
            if answer.body["sealed"]:
                return answer
        raise


def _is_of_this_host(url: str | None, home: Path | None, folder: Path) -> bool:
    """Say whether the vault in ``folder`` is meant: what was typed counts before what was exported."""
    typed_url = url is not None and url != os.environ.get("PIIVAULT_URL")
    typed_home = home is not None and str(home) != os.environ.get("PIIVAULT_HOME")
    if typed_url or typed_home:
        return typed_home
    return url is None and (home is not None or (folder / SETTINGS).exists())


def _lines(state: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if "holder" in state:
        yield from _unseal_lines(state)
        return
    yield "vault", state["vault_id"]
    if "home" in state:
        yield "folder", state["home"]
    yield "database", state["database"]
    yield "root key", state["root_key"]
    yield "sealed", state["sealed"]
    yield "revision", state["revision"]
    yield "log entries", f"{state['next_index']:,}"
    if "integrated" in state:
        yield "in the signed tree", f"{state['integrated']:,}"
        yield "trouble", state["trouble"] or "none"
    if "log_key" not in state:
        return
    yield "log key", state["log_key"]
    late = ", ".join(state["late_keys"])
    said = f"{state['keys']}: past their time: {late}" if late else state["keys"]
    for what in ("compromised", "suspended"):
        names = ", ".join(state[f"{what}_keys"])
        said = f"{said}; {what}: {names}" if names else said
    yield "keys", said


def _unseal_lines(state: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "sealed", state["why"]
    yield "root key", state["holder"]
    if state["needed"] is not None:
        yield "shares", f"{state['given']} of {state['needed']}"
