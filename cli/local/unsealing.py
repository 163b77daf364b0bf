"""What opens the root key, where a person has to give it: a passphrase or shares."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import asking
from vault.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from vault.assembly import Ask, New

UnsealFd = Annotated[
    int | None,
    typer.Option(
        "--unseal-fd",
        min=0,
        help="File descriptor with the passphrase or the shares, a line each; else asked at the terminal.",
    ),
]

RootKey = Annotated[
    str,
    typer.Option(
        "--root-key",
        metavar="HOLDER",
        help="What seals the root key: file, passphrase, shamir:K/N, openbao, pkcs11 or aws_kms.",
    ),
]
Recovery = Annotated[
    str,
    typer.Option(
        "--recovery",
        metavar="HOLDER",
        help="What seals the copy, for the day it cannot be opened: shamir:K/N, passphrase or file:PATH.",
    ),
]
RootKeySettings = Annotated[
    Path | None,
    typer.Option("--root-key-settings", help="TOML with the table [openbao], [pkcs11] or [aws_kms]."),
]

WORDS_A_LINE: Final = 8
SHARE_WORDS: Final = 33

_SHARES: Final = re.compile(r"shamir:(\d{1,2})/(\d{1,2})").fullmatch


def asker(descriptor: int | None) -> Ask:
    """Return what is asked for a passphrase or a share: the descriptor, the terminal, or nobody."""
    from vault.assembly import Patient, by_reading, nobody

    if descriptor is not None:
        return by_reading(descriptor)
    if not sys.stdin.isatty():
        return nobody
    return Patient(_at_the_terminal, _tell)


def holder(text: str, *, option: str) -> New:
    """Return what ``text`` says of a holder of the root key. Raises InvalidInputError."""
    from vault.assembly import New, kinds

    if text in kinds() and text != "shamir":
        return New(text)
    if shares := _SHARES(text):
        return New("shamir", threshold=int(shares[1]), shares=int(shares[2]))
    kind, _, path = text.partition(":")
    if kind == "file" and path:
        return New("file", file=Path(path).expanduser().absolute())
    known = ", ".join(kinds()).replace("shamir", "shamir:K/N")
    raise InvalidInputError(f"one of {known}; for recovery file:PATH", field=option, rule="choice")


def tables(path: Path | None) -> str:
    """Return the text of a file of settings; empty without one. Raises InvalidInputError."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError(
            f"{path} cannot be read", field="--root-key-settings", rule="unreadable"
        ) from None


def _at_the_terminal(what: str) -> str:
    question = f"Root key, {what}"
    if what.startswith("share"):
        return _share(question)
    while True:
        answer = asking.ask_secret(question, option="--unseal-fd")
        # What is new is not seen as it is typed, and nobody could correct it later.
        if not what.startswith("new ") or asking.ask_secret("The same again", option="--unseal-fd") == answer:
            return answer
        sys.stderr.write("The two differ.\n")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _share(question: str) -> str:
    """Return a share typed on one line or on several, as it was printed."""
    typed: list[str] = []
    while len(typed) < SHARE_WORDS:
        typed += asking.ask_secret(question, option="--unseal-fd").split()
        question = f"{len(typed)} of {SHARE_WORDS} words; go on"
    return " ".join(typed)


def words(shares: Iterable[Any]) -> list[str]:
    """Return the shares as what is to be written down."""
    return [share.expose() for share in shares]


def tell_shares(say: Callable[[str], None], what: str, sealed_by: str, shares: Iterable[Any]) -> None:
    """Say what seals a copy of the root key, and its shares if it is made of shares."""
    say(f"\n{what}: {sealed_by}.")
    for number, text in enumerate(words(shares), start=1):
        say(f"\n  share {number}, shown this once:")
        pieces = text.split()
        for start in range(0, len(pieces), WORDS_A_LINE):
            say(f"    {' '.join(pieces[start : start + WORDS_A_LINE])}")
