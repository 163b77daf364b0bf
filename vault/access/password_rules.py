"""What a password of staff may be, and passwords the vault offers itself.

Length and a blocklist, no rules of composition (NIST SP 800-63B-4 section
3.1.1.2). The list holds words, not passwords: whatever is long enough to get
here is checked for being one of them dressed up with digits and signs, for
being one short thing repeated, for running along the keyboard, and for the
person's own login, name or the product's.
"""

from __future__ import annotations

import secrets
import unicodedata
from importlib.resources import files
from itertools import pairwise
from typing import Final

from keys.secret import SecretText
from vault.domain.errors import InvalidInputError

MINIMUM: Final = 12
MAXIMUM: Final = 256
"""Room for any passphrase, and a bound on what is hashed."""

FEWEST_DIFFERENT: Final = 5
SHORTEST_NAME: Final = 4
"""A name of three letters is in too many good passwords by chance."""

_GROUPS: Final = 5
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters and digits that are taken for each other when read aloud or typed from paper."""

_PLAIN: Final = str.maketrans("0134578@$!|€", "oieastb" + "asile")
"""The usual dressing up, undone."""

_ROWS: Final = ("01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "abcdefghijklmnopqrstuvwxyz")

_OWN: Final = ("piivault", "vault")


class PasswordRules:
    """The rules with their list loaded. Immutable."""

    def __init__(self) -> None:
        text = files("vault.access").joinpath("guessable_words.txt").read_text(encoding="utf-8")
        self._words = frozenset(line.strip() for line in text.splitlines() if line and line[0] != "#")

    def require(self, password: SecretText, *, login: str, name: str) -> None:
        """Return if the password may be set.

        Raises InvalidInputError with rule short, long, text, common, repeated,
        sequence or personal. Neither text nor rule says more about the password.
        """
        text = _normalised(password)
        folded = text.casefold()
        if _is_dull(folded):
            raise _refusal("repeated", "a password needs more different characters")
        if _runs(folded):
            raise _refusal("sequence", "a password must not follow the keyboard or the alphabet")
        if self._is_guessable(folded):
            raise _refusal("common", "this password is among the first that would be guessed")
        if any(part in folded for part in _own_words(login, name)):
            raise _refusal("personal", "a password must not hold a name or login of its owner")

    def _is_guessable(self, folded: str) -> bool:
        # What is put around a word goes first: translated, the digits of a year would become letters of it.
        bare = {folded, folded.strip(_NOT_LETTERS)}
        plain = bare | {candidate.translate(_PLAIN) for candidate in bare}
        candidates = plain | {"".join(filter(str.isalpha, candidate)) for candidate in plain}
        return any(candidate in self._words or self._is_two_words(candidate) for candidate in candidates)

    def _is_two_words(self, candidate: str) -> bool:
        """Say whether the candidate is two listed words in a row."""
        return any(
            candidate[:split] in self._words and candidate[split:] in self._words
            for split in range(1, len(candidate))
        )


def generate_password() -> SecretText:
    """Return a password of 99 random bits in groups that can be typed."""
    groups = ["".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(_GROUPS)]
    return SecretText("-".join(groups))


_NOT_LETTERS: Final = "0123456789 .,;:!?@#$%^&*()[]{}<>+-_=/\\|'\"~`"


def _normalised(password: SecretText) -> str:
    text = unicodedata.normalize("NFKC", password.expose())
    if len(text) < MINIMUM:
        raise _refusal("short", f"a password has at least {MINIMUM} characters")
    if len(text) > MAXIMUM:
        raise _refusal("long", f"a password has at most {MAXIMUM} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise _refusal("text", "a password has no control characters")
    return text


def _is_dull(folded: str) -> bool:
    """Say whether there are few different characters, or one short piece again and again."""
    doubled = (folded + folded)[1:-1]
    return len(set(folded)) < FEWEST_DIFFERENT or folded in doubled


def _runs(folded: str) -> bool:
    """Say whether most neighbours in the password are neighbours on the keyboard or in the alphabet too."""
    neighbours = {pair for row in _ROWS for line in (row, row[::-1]) for pair in pairwise(line)}
    pairs = list(pairwise(folded))
    return sum(pair in neighbours for pair in pairs) * 3 >= len(pairs) * 2


def _own_words(login: str, name: str) -> tuple[str, ...]:
    words = (*_OWN, login, *name.casefold().split(), "".join(name.casefold().split()))
    return tuple(word for word in words if len(word) >= SHORTEST_NAME or not word.isascii())


def _refusal(rule: str, detail: str) -> InvalidInputError:
    return InvalidInputError(detail, field="password", rule=rule)
