"""How a plain function becomes a command: one place for ``--json``, examples and shared options.

A command function takes what the command line does not give (``out``, and for
commands that talk to a server ``server``) before its own parameters. Here its
signature is changed for Typer, so that no command spells the shared options out.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer

from cli.output import Output

Option = tuple[str, Any, Any]
"""Name of a parameter, its annotation for Typer, its default."""

JSON: Final[Option] = (
    "as_json",
    Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; messages go to stderr.")],
    False,
)


def group(name: str, help_text: str, *, parent: typer.Typer) -> typer.Typer:
    """Return a new group of commands under ``parent``."""
    app = typer.Typer(name=name, help=help_text, no_args_is_help=True, rich_markup_mode=MARKUP)
    parent.add_typer(app)
    return app


MARKUP: Final = None
"""Help is plain text: examples hold brackets, and what is printed must be what is to be typed."""


def add(app: typer.Typer, name: str, function: Callable[..., None], *examples: str) -> None:
    """Add a local command. ``function`` takes the :class:`Output` and its own parameters."""

    @functools.wraps(function)
    def run(**values: Any) -> None:
        function(Output(as_json=values.pop("as_json")), **values)

    attach(app, name, run, taken=1, options=[JSON], examples=examples)


def attach(
    app: typer.Typer,
    name: str,
    run: Callable[..., None],
    *,
    taken: int,
    options: Sequence[Option],
    examples: Sequence[str],
) -> None:
    """Add ``run`` under ``name``: without the first ``taken`` parameters, with ``options`` after the rest."""
    signature = inspect.signature(run, eval_str=True)
    kept = list(signature.parameters.values())[taken:]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept]
    shared = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for option, annotation, default in options
    ]

    @functools.wraps(run)
    def stoppable(**values: Any) -> None:
        try:
            run(**values)
        except KeyboardInterrupt:
            # Typer would make of it an exit code that nothing is said about.
            raise typer.Abort from None

    # Typer asks inspect, and inspect looks here first.
    stoppable.__dict__["__signature__"] = signature.replace(parameters=[*own, *shared])
    app.command(name, epilog=_epilog(examples))(stoppable)


def _epilog(examples: Sequence[str]) -> str:
    # \b keeps the lines of the paragraph as they are.
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
