"""What a field type is, and what a field is.

A :class:`FieldType` is one small frozen object made of plain functions. Its
promises, held by property tests for every type of the catalogue:

- ``normalise`` is idempotent, and accepts what ``display`` prints;
- ``mask`` never shows a whole value it hides a part of, and what it prints is
  refused by ``normalise``;
- whatever ``normalise`` accepts fits the largest bucket.

It does not encrypt, store or look anything up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vault.domain.errors import InvalidValueError
from vault.fields.rules import EXPLANATIONS, RuleBrokenError

LENGTH_PREFIX: Final = 2
"""Bytes the padded plaintext spends on its length (docs/formats/envelope.md)."""

ENUM_BUCKETS: Final = (32,)
"""Enumerated values are sealed at one size, so that a ciphertext does not tell them apart."""

TEXT_BUCKETS: Final = (32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Padded sizes of text; a type uses those up to its own longest value."""

HIDDEN: Final = "***"
"""What a mask shows where it shows nothing, whatever the length behind it."""

Settings = Mapping[str, object]
"""The settings a policy gives a field, still unchecked; a type's factory checks them."""


def unchanged(normalised: str) -> str:
    """Return the value as it is stored, for types that print it so."""
    return normalised


def hidden(_normalised: str) -> str:
    """Return :data:`HIDDEN`, for types of which no part may be shown."""
    return HIDDEN


def no_warnings(_normalised: str) -> tuple[str, ...]:
    """Return no warning, for types that have none."""
    return ()


def buckets_up_to(longest: int) -> tuple[int, ...]:
    """Return the text buckets needed for values of up to ``longest`` bytes."""
    needed = next(size for size in TEXT_BUCKETS if size >= longest + LENGTH_PREFIX)
    return tuple(size for size in TEXT_BUCKETS if size <= needed)


@dataclass(frozen=True, slots=True)
class FieldType:
    """One type of value.

    ``mask``, ``display`` and ``warnings`` take a normalised value and never fail
    on one. They are attributes rather than methods because reads call ``mask``
    once per value.
    """

    name: str
    prefix: str
    """First three letters of its tokens."""
    searchable: bool
    """Whether a keyed digest may be kept for equality search. Never for enumerated types."""
    buckets: tuple[int, ...]
    """Padded plaintext sizes in bytes, ascending, length prefix included."""
    canonical: Callable[[str], str]
    """Normalise and validate, raising :class:`RuleBrokenError`; callers use :meth:`normalise`."""
    mask: Callable[[str], str]
    """Return the masked form: the only partial form of this type, everywhere."""
    display: Callable[[str], str] = unchanged
    """Return the whole value as people write it."""
    warnings: Callable[[str], tuple[str, ...]] = no_warnings
    """Return codes worth showing to whoever entered the value; the value is accepted."""

    def normalise(self, text: str, field: str) -> str:
        """Return the one stored form of ``text``, or refuse it in the name of ``field``.

        Raises: InvalidValueError with ``field`` and a ``rule`` of ``rules.EXPLANATIONS``.
        """
        try:
            return self.canonical(text)
        except RuleBrokenError as broken:
            rule = broken.rule
        # Raised outside the handler: a chained exception would carry frames that hold the value.
        raise InvalidValueError(f"{field}: {EXPLANATIONS[rule]}", field=field, rule=rule)

    def padded_size(self, nbytes: int) -> int:
        """Return the padded size in bytes for a value of ``nbytes`` UTF-8 bytes.

        Raises: ValueError if it fits no bucket, which no normalised value does.
        """
        for size in self.buckets:
            if nbytes + LENGTH_PREFIX <= size:
                return size
        raise ValueError(f"{self.name}: value exceeds the largest bucket")


@dataclass(frozen=True, slots=True)
class Field:
    """A field the policy declares, such as ``member.phone``."""

    name: str
    kind: str
    """Kind of subject it belongs to: the part of the name before the dot."""
    type: FieldType
    settings: Settings
    required: bool = False

    def normalise(self, text: str) -> str:
        """Return the one stored form of ``text``; raises InvalidValueError naming this field."""
        return self.type.normalise(text, self.name)

    def mask(self, normalised: str) -> str:
        """Return the masked form of a normalised value."""
        return self.type.mask(normalised)

    def display(self, normalised: str) -> str:
        """Return a normalised value as people write it."""
        return self.type.display(normalised)

    def warnings(self, normalised: str) -> tuple[str, ...]:
        """Return warning codes for a normalised value."""
        return self.type.warnings(normalised)
