"""The ``piivault`` command: every command in its place, and one way to end.

Whatever goes wrong becomes one line on stderr and an exit code
(``cli/errors.py``); with ``--json`` stdout still has one object then, the
error. A traceback is never printed: frames hold what must not be shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer

from cli import retire, sealing, serve, status
from cli.command import MARKUP, group
from cli.demo import command as demo
from cli.errors import INTERRUPTED, OTHER, Failure, failure_of
from cli.local import attesting, backups, roots, setup, verify
from cli.memory import keep_to_itself, leave_no_core
from cli.output import Output
from cli.remote import (
    certificates,
    compromised,
    files,
    grants,
    keys,
    log,
    login,
    services,
    staff,
    subjects,
    tokens,
)

ABOUT: Final = "An access-controlled vault for personal data."
STOPPED: Final = Failure("interrupted", "stopped; what was asked for may be done all the same", INTERRUPTED)
HELP: Final = "Usage: "
"""How a page of help begins."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"piivault {version('piivault')}")
        raise typer.Exit


def build() -> typer.Typer:
    """Return the whole command."""
    app = typer.Typer(
        name="piivault",
        no_args_is_help=True,
        rich_markup_mode=MARKUP,
        pretty_exceptions_enable=False,
    )
    app.callback(help=ABOUT)(_options)
    for part in (
        setup,
        serve,
        status,
        sealing,
        demo,
        login,
        staff,
        services,
        grants,
        tokens,
        files,
        subjects,
        backups,
    ):
        part.add_to(app)
    key = group("keys", "Keys and what hangs on them.", parent=app)
    keys.add_to(key)
    compromised.add_to(key)
    retire.add_to(key)
    roots.add_to(app, key)
    audit = group("audit", "The log: read it, export it, verify it.", parent=app)
    log.add_to(audit)
    verify.add_to(audit)
    certificate = group("certificate", "Certificates of destruction: read them, verify them.", parent=app)
    certificates.add_to(certificate)
    attesting.add_to(certificate)
    return app


def _options(
    *,
    shown: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take what stands before the command."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        ended = build()(list(arguments), prog_name="piivault", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(STOPPED, arguments)
    except typer.TyperException as error:
        return _fail(_usage(error), arguments)
    except BrokenPipeError:
        # Whoever read this has gone: nothing is left to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OTHER
    except Exception as error:  # noqa: BLE001 - the edge of the command: everything ends as one line
        return _fail(failure_of(error), arguments)
    return ended if isinstance(ended, int) else 0


HOLDING: Final = frozenset({("drill", "recovery"), ("keys", "root"), ("keys", "retire"), ("unseal",)})
"""Commands that open the root key on the host. ``init``, ``backup`` and ``restore`` do, too, and take files
that may be pipes of the shell: who keeps to itself cannot open those, which go by way of /proc."""


def main() -> NoReturn:
    """Run the command line and exit."""
    # Some of them hold the root key, or what somebody typed to open it.
    leave_no_core()
    if tuple(sys.argv[1:3]) in HOLDING or tuple(sys.argv[1:2]) in HOLDING:
        keep_to_itself()
    sys.exit(run(sys.argv[1:]))


def _usage(error: typer.TyperException) -> Failure:
    """Return what is said about a command line that is none. The kinds of it are private to Typer."""
    text = error.format_message()
    if text.startswith(HELP):
        # Somebody asked for a group of commands: its help is the answer.
        return Failure("usage", f"which command?\n\n{text}", error.exit_code)
    return Failure("usage", f"{' '.join(text.split())} See --help.", error.exit_code)


def _fail(failure: Failure, arguments: Sequence[str]) -> int:
    out = Output()
    if "--json" in arguments:
        # Where that cannot be written, the line below still says what failed.
        with suppress(OSError):
            out.document(failure.document())
    out.note(failure.line())
    return failure.exit_code
