"""What a command prints: its result on stdout, everything else on stderr.

With ``--json`` the result is exactly one object, the body of the server's
answer as it came where there is one. Without, it is a table or a few lines;
what a server sent is shown with its control characters made visible, so that
no name or text can steer the terminal.
"""

from __future__ import annotations

import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as ProgressTask
from rich.table import Table
from rich.text import Text

_WIDE: Final = 400
"""Columns when nobody watches: a table in a pipe is not cut to the width of a screen."""


class Output:
    """Where a command's result, notes and progress go."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json: Final = as_json

    def document(self, body: Mapping[str, Any] | bytes) -> None:
        """Print the one object of ``--json``."""
        text = body.decode() if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False)
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Print one line of the result, as it is."""
        sys.stdout.write(shown(text) + "\n")

    def pairs(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print names and values under each other."""
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(Text(name, style="bold"), Text(cell(value)))
        _print(table)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, none: str = "none") -> None:
        """Print a table, or ``none`` on stderr when there are no rows."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        count = 0
        for row in rows:
            table.add_row(*(value if isinstance(value, Text) else Text(cell(value)) for value in row))
            count += 1
        if count:
            _print(table)
        else:
            self.note(none)

    def note(self, text: str) -> None:
        """Say something beside the result."""
        sys.stderr.write(shown(text) + "\n")
        sys.stderr.flush()

    def progress(self, unit: str, *, of_bytes: bool = False) -> Progress:
        """Return a progress display for ``unit``: how far, how fast, how long still. Nothing in a pipe."""
        counted: list[ProgressColumn] = [TaskProgressColumn()] if of_bytes else [MofNCompleteColumn()]
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *counted,
            _Rate(unit),
            _Left(),
            console=console(sys.stderr),
            disable=not sys.stderr.isatty(),
        )


def _print(table: Table) -> None:
    """Print a table on stdout; in a pipe without the spaces that fill its last column."""
    screen = console(sys.stdout)
    if sys.stdout.isatty():
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


class _Rate(ProgressColumn):
    """Units done and units a second; the task's ``done`` field counts them where the bar counts bytes.

    Its ``rate`` field says how fast that is where somebody else does it, and began before.
    """

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: ProgressTask) -> Text:
        done = int(task.fields.get("done", task.completed))
        rate = task.fields.get("rate")
        if rate is None:
            rate = done / task.elapsed if task.elapsed else 0.0
        return Text(f"{done:,} {self._unit}, {rate:,.0f}/s", style="progress.data.speed")


class _Left(TimeRemainingColumn):
    """Time left: what the task's ``seconds_left`` field says where it has one."""

    def render(self, task: ProgressTask) -> Text:
        if "seconds_left" not in task.fields:
            return super().render(task)
        seconds = task.fields["seconds_left"]
        shown = "-:--:--" if seconds is None else str(timedelta(seconds=math.ceil(seconds)))
        return Text(shown, style="progress.remaining")


def console(stream: IO[str]) -> Console:
    """Return a console on ``stream`` that interprets nothing in what it prints."""
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=width)


def cell(value: object) -> str:
    """Return a value of an answer as text for a table."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={cell(member)}" for key, member in value.items()) or "-"
    return shown(str(value))


def red(value: object) -> Text:
    """Return a value as it stands in a table where it must not be overlooked: red on a terminal."""
    return Text(cell(value), style="red")


def shown(text: str) -> str:
    """Return ``text`` with control and direction characters made visible."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}:
        return character
    return f"\\u{ord(character):04x}"


def moment(value: object) -> str:
    """Return a time of an answer to the second, in the zone of this host, with its offset."""
    if not isinstance(value, str):
        return cell(value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return shown(value)
    return at.replace(tzinfo=at.tzinfo or UTC).astimezone().isoformat(" ", "seconds")


def private_file(path: Path) -> IO[str]:
    """Create ``path``, or empty it, for its owner's eyes alone, and return it for writing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # A file that was there before keeps its mode otherwise.
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="")
