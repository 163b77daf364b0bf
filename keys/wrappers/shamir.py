"""The root key in shares, any k of n of which give it back (docs/formats/envelope.md 7, SLIP-39).

What is guaranteed: fewer shares than the threshold tell nothing of the key; a
mistyped word, a share given twice and a share of another set are each refused
by name; shares that do not belong together are noticed by a digest. What is
not: whoever holds as many shares as the threshold has the key, and a share once
copied cannot be called back. The arithmetic is that of the library
``shamir-mnemonic`` and is not constant in time: shares
belong on a machine that nobody else computes on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

import shamir_mnemonic

from keys.errors import MalformedError, WrapperUnavailableError
from keys.secret import KEY_LENGTH, SecretBytes, SecretText
from keys.wrappers.sealing import SealingKey

MIN_THRESHOLD = 2
"""With one share needed every share would be the key itself, and SLIP-39 has no digest to check it by."""

MAX_SHARES = 16
"""SLIP-39 numbers shares in four bits."""

SHARE_WORDS = 33
"""Words of a share of 32 bytes: 7 of parameters and checksum, 26 of ten bits each."""

_MAX_TEXT = 1024  # Three times the longest share: what is longer is no share, and is not parsed.

# SLIP-39 stretches a passphrase. Ours is empty, and the key is 256 random bits that nobody can guess at, so
# rounds above the least would slow the unseal and no attacker.
_ITERATION_EXPONENT = 0
_EXTENDABLE = True  # The default of the library: more shares could be made of the same key later.
_ONE_GROUP = (0, 1, 1)  # Index of the group, groups needed, groups.


class Progress(NamedTuple):
    """How many shares were given, and how many are needed. ``given`` may be the greater."""

    given: int
    needed: int


class ShamirWrapper:
    """Seals keys under a root key that exists in shares only. Threads may share it.

    ``held`` says in how many shares. Raises MalformedError("key_length") unless
    the key is 32 bytes.
    """

    __slots__ = ("_held", "_key")

    kind: Final = "shamir"

    def __init__(self, key: SecretBytes, held: str) -> None:
        self._key = SealingKey(key)
        self._held = held

    @classmethod
    def create(cls, threshold: int, shares: int) -> tuple[ShamirWrapper, tuple[SecretText, ...]]:
        """Return a wrapper over a new root key, and its shares, ``threshold`` of which give it back.

        The shares are in no other place than the answer. Raises MalformedError
        ("shares", "threshold") unless 2 <= threshold <= shares <= 16.
        """
        if not MIN_THRESHOLD <= shares <= MAX_SHARES:
            raise MalformedError("shares")
        if not MIN_THRESHOLD <= threshold <= shares:
            raise MalformedError("threshold")
        key = SecretBytes(os.urandom(KEY_LENGTH))
        (group,) = shamir_mnemonic.generate_mnemonics(
            1,
            [(threshold, shares)],
            key.expose(),
            extendable=_EXTENDABLE,
            iteration_exponent=_ITERATION_EXPONENT,
        )
        return cls(key, f"{threshold} of {shares}"), tuple(map(SecretText, group))

    @classmethod
    def combine(cls, shares: Sequence[SecretText]) -> ShamirWrapper:
        """Return the wrapper over the root key that ``shares`` give. More than needed is fine.

        Raises WrapperUnavailableError as ``ShareCollector.add`` and ``wrapper`` do.
        """
        collector = ShareCollector()
        for share in shares:
            collector.add(share)
        return collector.wrapper()

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context`` (envelope.md 7.1)."""
        return self._key.wrap(plaintext, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped. Raises DecryptionError for every cause (envelope.md 7.3)."""
        return self._key.unwrap(wrapped, context)

    def describe(self) -> str:
        """Return how many shares are needed, of how many if known, and a fingerprint of the root key.

        Shares do not say how many were made: of combined ones only the threshold is known.
        """
        return f"Shamir shares, {self._held}, fingerprint {self._key.fingerprint}"


class ShareCollector:
    """Takes shares one by one, as their keepers come, until they give the root key. One thread at a time.

    The first share says which set is being collected. A refusal leaves what was
    collected as it was.
    """

    __slots__ = ("_shares",)

    def __init__(self) -> None:
        self._shares: dict[int, _Share] = {}

    def add(self, share: SecretText) -> Progress:
        """Take one share, in any case and spacing, and return how far the collection is.

        Raises WrapperUnavailableError: "share_malformed" for what is no SLIP-39
        share or has a mistyped word, "share_of_another_set", "share_duplicate".
        """
        subject = f"share {len(self._shares) + 1}"
        new = _decoded(share)
        if new is None:
            hint = f"{SHARE_WORDS} words, in order, each spelled as on paper"
            raise WrapperUnavailableError("share_malformed", subject, hint)
        known = self._shares.get(new.number)
        # Before the question whether it was given: two sets number their shares alike.
        if new.profile != _PROFILE or not self._belongs(new) or not (known is None or _same(known, new)):
            hint = (
                "shares of one set begin with the same two words; start again if the first was the wrong one"
            )
            raise WrapperUnavailableError("share_of_another_set", subject, hint)
        if known is not None:
            raise WrapperUnavailableError("share_duplicate", subject, "give the share of another keeper")
        self._shares[new.number] = new
        return Progress(len(self._shares), new.needed)

    def wrapper(self) -> ShamirWrapper:
        """Return the wrapper over the root key, once there are shares enough.

        Raises WrapperUnavailableError: "shares_missing", "shares_mismatch" when the
        shares look like one set and are not (SLIP-39 tells sets apart by 15 bits,
        and has a digest of 32 for the rest).
        """
        first = next(iter(self._shares.values()), None)
        needed = MIN_THRESHOLD if first is None else first.needed
        missing = needed - len(self._shares)
        if missing > 0:
            # Before the first share nobody knows how many it takes.
            count = f"at least {missing}" if first is None else str(missing)
            hint = f"{count} more share{'s' if missing > 1 else ''}"
            raise WrapperUnavailableError("shares_missing", "root key in shares", hint)
        key = _combined([share.words for share in islice(self._shares.values(), needed)])
        if key is None:
            hint = "one of them is of another set or was altered; start again, with other shares if there are"
            raise WrapperUnavailableError("shares_mismatch", "root key in shares", hint)
        return ShamirWrapper(key, f"{needed} needed")

    def _belongs(self, new: _Share) -> bool:
        first = next(iter(self._shares.values()), new)
        return (first.identifier, first.needed) == (new.identifier, new.needed)


class _Profile(NamedTuple):
    """What is the same in every share that ``create`` makes, of whatever set."""

    extendable: bool
    # A share from elsewhere may ask for 2^15 times the least: minutes of work for nothing.
    iteration_exponent: int
    group: tuple[int, int, int]
    length: int
    checked: bool


_PROFILE = _Profile(_EXTENDABLE, _ITERATION_EXPONENT, _ONE_GROUP, KEY_LENGTH, checked=True)


class _Share(NamedTuple):
    """What a share says of itself, and its words in their one form."""

    profile: _Profile
    identifier: int
    number: int
    needed: int
    words: SecretText


def _same(one: _Share, other: _Share) -> bool:
    return one.words.expose() == other.words.expose()


# The functions below return None where they fail, and their callers raise: the library's errors quote words
# of the share, and an error raised while another one is handled keeps that one and its frames.


def _decoded(share: SecretText) -> _Share | None:
    if len(share.expose()) > _MAX_TEXT:
        return None
    try:
        parsed = shamir_mnemonic.Share.from_mnemonic(share.expose())
    except shamir_mnemonic.MnemonicError:
        return None
    profile = _Profile(
        extendable=parsed.extendable,
        iteration_exponent=parsed.iteration_exponent,
        group=(parsed.group_index, parsed.group_threshold, parsed.group_count),
        length=len(parsed.value),
        checked=parsed.member_threshold >= MIN_THRESHOLD,
    )
    words = SecretText(parsed.mnemonic())
    return _Share(profile, parsed.identifier, parsed.index, parsed.member_threshold, words)


def _combined(shares: Sequence[SecretText]) -> SecretBytes | None:
    try:
        return SecretBytes(shamir_mnemonic.combine_mnemonics([share.expose() for share in shares]))
    except shamir_mnemonic.MnemonicError:
        return None
