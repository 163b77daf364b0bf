"""The reference of the command line, made from the commands: ``python -m cli.reference``.

Each command is shown by its own help, so the page says what the command says.
A test compares it with ``docs/reference/cli.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from typer.main import get_command

from cli.main import build

WIDTH: Final = 96

INTRODUCTION: Final = """\
# Command line

Made from the commands by `python -m cli.reference`; do not edit.

Every command takes `--json`: one object on stdout, messages and progress on stderr. An error is then
the object `{"error": {"code", "detail", …}, "exit_code"}`; without `--json` it is one line on stderr that
names code and request id. Values are never arguments; they come on stdin or are asked for.

| exit code | meaning |
| --: | --- |
| 0 | done |
| 1 | something else, a defect included |
| 2 | the input is malformed: an option, a file, a value |
| 3 | who is asking could not be established, or asked too often |
| 4 | not allowed, or there is no such thing: the two look alike |
| 5 | exists already, was decided already, or has changed since |
| 6 | a row, key, ciphertext or log does not verify |
| 7 | the vault cannot serve now; nothing was revealed or half-written |
| 8 | so far done; a person has to do what is printed, then the same command goes on |
| 130 | interrupted |

A command that answers item by item (`tokenize`, `detokenize`, `export`) ends with the code of its first
item that failed, after all of them have been told. Completion of commands and options for your shell:
`piivault --install-completion`.

A session is kept in `$XDG_CONFIG_HOME/piivault/PROFILE.json` (`~/.config/piivault`), mode 0600; a file that
others may read is refused. Commands that take `--client-id` can act as a service instead of a person.
"""


def render() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(_sections(get_command(build()), None, "piivault"))


def _sections(command: Any, parent: Any, name: str) -> Iterator[str]:
    """Yield a section for each command below ``command``. Typer keeps the types of these to itself."""
    context = command.context_class(command, parent=parent, info_name=name, terminal_width=WIDTH)
    members = getattr(command, "commands", None)
    if members is None:
        yield f"\n## {context.command_path}\n\n```text\n{_trimmed(command.get_help(context))}\n```\n"
        return
    for member in members:
        yield from _sections(members[member], context, member)


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


if __name__ == "__main__":
    sys.stdout.write(render())
