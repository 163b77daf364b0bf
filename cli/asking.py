"""Asking somebody at a terminal, and reading secrets from a pipe.

Questions go to stderr, so that stdout stays the result. What is secret is
typed without echo. Without a terminal nothing is asked: the command says which
option would have given the answer.
"""

from __future__ import annotations

import getpass
import sys

from vault.domain.errors import InvalidInputError


def ask(question: str, *, option: str, default: str = "") -> str:
    """Return what is typed, or ``default`` for nothing. Raises InvalidInputError without a terminal."""
    require_terminal(option)
    hint = f" [{default}]" if default else ""
    while True:
        sys.stderr.write(f"{question}{hint}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise KeyboardInterrupt
        if answer := line.strip() or default:
            return answer


def ask_secret(question: str, *, option: str) -> str:
    """Return what is typed without echo. Raises InvalidInputError without a terminal."""
    require_terminal(option)
    while not (answer := getpass.getpass(f"{question}: ", sys.stderr)):
        pass
    return answer


def ask_new_password() -> str:
    """Return a password typed twice alike, without echo."""
    while True:
        first = ask_secret("New password", option="--password-stdin")
        if ask_secret("The same again", option="--password-stdin") == first:
            return first
        sys.stderr.write("The two differ.\n")


def read_line(what: str) -> str:
    """Return the next line of stdin. Raises InvalidInputError when there is none."""
    line = sys.stdin.readline()
    if not line:
        raise InvalidInputError(f"{what} was to come on stdin and did not", field=what, rule="missing")
    return line.rstrip("\r\n")


def require_terminal(option: str) -> None:
    """Raise InvalidInputError when nobody can be asked."""
    if not sys.stdin.isatty():
        raise InvalidInputError(f"nobody to ask here; give {option}", field=option, rule="required")
