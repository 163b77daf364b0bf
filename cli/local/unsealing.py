"""What opens the root key, where a person has to give it: a passphrase or shares."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import asking
from cli.output import Output
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

_SHARES: Final = re.compile(r"shamir:(\d{1,2})/(\d{1,2})").fullmatch
_PLAIN: Final = frozenset({"file", "passphrase", "openbao", "pkcs11", "aws_kms"})


def asker(descriptor: int | None) -> Ask:
    """Return what is asked for a passphrase or a share: the descriptor, the terminal, or nobody."""
    from vault.assembly import by_asking, by_reading, nobody

    if descriptor is not None:
        return by_reading(descriptor)
    if not sys.stdin.isatty():
        return nobody
    ask: Callable[[str], str] = _at_the_terminal
    return by_asking(ask)


def holder(text: str, *, option: str) -> New:
    """Return what ``text`` says of a holder of the root key. Raises InvalidInputError."""
    from vault.assembly import New

    if text in _PLAIN:
        return New(text)
    if shares := _SHARES(text):
        return New("shamir", threshold=int(shares[1]), shares=int(shares[2]))
    kind, _, path = text.partition(":")
    if kind == "file" and path:
        return New("file", file=Path(path).expanduser().absolute())
    raise InvalidInputError(f"{option}: one of those in --help", field=option, rule="choice")


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
    return asking.ask_secret(f"Root key, {what}", option="--unseal-fd")


def words(shares: Iterable[Any]) -> list[str]:
    """Return the shares as what is to be written down."""
    return [share.expose() for share in shares]


def tell_shares(out: Output, what: str, sealed_by: str, shares: Iterable[Any]) -> None:
    """Print what seals a copy of the root key, and its shares if it is made of shares."""
    out.line(f"\n{what}: {sealed_by}.")
    for number, text in enumerate(words(shares), start=1):
        out.line(f"\n  share {number}, shown this once:")
        pieces = text.split()
        for start in range(0, len(pieces), WORDS_A_LINE):
            out.line(f"    {' '.join(pieces[start : start + WORDS_A_LINE])}")
