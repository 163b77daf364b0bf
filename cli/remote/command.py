"""How a function that talks to a server becomes a command."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.command import JSON, Option, attach
from cli.errors import exit_code_of
from cli.output import Output
from cli.remote.server import Answer, Target, connect

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="PIIVAULT_URL", show_envvar=True, help="Server; else the one you are logged in to."
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca-file", envvar="PIIVAULT_CA_FILE", show_envvar=True, help="Certificates to trust, PEM."
    ),
]
Profile = Annotated[
    str,
    typer.Option("--profile", envvar="PIIVAULT_PROFILE", show_envvar=True, help="Which saved login to use."),
]
ClientId = Annotated[
    str | None,
    typer.Option(
        "--client-id", envvar="PIIVAULT_CLIENT_ID", show_envvar=True, help="Act as this service instead."
    ),
]
ClientSecretFile = Annotated[
    str | None,
    typer.Option(
        "--client-secret-file",
        envvar="PIIVAULT_CLIENT_SECRET_FILE",
        show_envvar=True,
        help="Its secret: a file of mode 0600, or - for a line on stdin.",
    ),
]

SHARED: Final[tuple[Option, ...]] = (
    ("url", Url, None),
    ("ca_file", CaFile, None),
    ("profile", Profile, "default"),
)
AS_SERVICE: Final[tuple[Option, ...]] = (
    ("client_id", ClientId, None),
    ("client_secret_file", ClientSecretFile, None),
)


def add_remote(
    app: typer.Typer, name: str, function: Callable[..., None], *examples: str, service: bool = False
) -> None:
    """Add a command whose ``function`` takes a :class:`Server` and an :class:`Output` first.

    With ``service`` it can also be run with a service's credentials.
    """

    @functools.wraps(function)
    def run(**values: Any) -> None:
        out = Output(as_json=values.pop("as_json"))
        with connect(_target(values)) as server:
            function(server, out, **values)

    options = [*SHARED, *(AS_SERVICE if service else ()), JSON]
    attach(app, name, run, taken=2, options=options, examples=examples)


def add_targeted(app: typer.Typer, name: str, function: Callable[..., None], *examples: str) -> None:
    """Add a command whose ``function`` takes a :class:`Target` and an :class:`Output` and connects itself."""

    @functools.wraps(function)
    def run(**values: Any) -> None:
        out = Output(as_json=values.pop("as_json"))
        function(_target(values), out, **values)

    attach(app, name, run, taken=2, options=[*SHARED, JSON], examples=examples)


def _target(values: dict[str, Any]) -> Target:
    """Take the shared options out of ``values``."""
    names = [name for name, _, _ in (*SHARED, *AS_SERVICE) if name in values]
    return Target(**{name: values.pop(name) for name in names})


def tell(out: Output, answer: Answer, *lines: str) -> None:
    """Print an answer: its body as it came with ``--json``, else the given lines."""
    if out.as_json:
        out.document(answer.raw or {})
    else:
        for line in lines:
            out.line(line)


def exit_for(items: Iterable[Mapping[str, Any]]) -> None:
    """End with the exit code of the first item that has an error, after the answer has been printed."""
    for item in items:
        error = item.get("error")
        if error is not None:
            raise typer.Exit(exit_code_of(str(error.get("code"))))
