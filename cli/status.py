"""Is the vault well? Of the vault on this host, or of a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from cli.command import add
from cli.local.homes import Home, home_of
from cli.local.state import local_state
from cli.output import Output
from cli.remote.command import CaFile, Profile, Url
from cli.remote.server import Target, connect

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

    Of the one in --home, or of a server with --url. Without either, of the
    vault of this host if there is one, else of the server you are logged in to.
    """
    folder = home_of(home)
    if url is None and (home is not None or (folder / SETTINGS).exists()):
        state: Mapping[str, Any] = local_state(folder)
        raw: bytes | Mapping[str, Any] = state
    else:
        with connect(Target(url=url, ca_file=ca_file, profile=profile)) as server:
            answer = server.get("/v1/status")
        state, raw = answer.body, answer.raw
    if out.as_json:
        out.document(raw)
    else:
        out.pairs(_lines(state))


def _lines(state: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
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
    yield "log key", state["log_key"]
