"""Hides the length of a value in buckets (docs/formats/envelope.md 3).

Ciphertexts of one bucket have one length. The bucket itself shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keys.context import utf8
from keys.errors import MalformedError

TEXT_BUCKETS: Final = (32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Sizes of a padded text in bytes, its two length bytes included."""

MAX_TEXT_BYTES: Final = TEXT_BUCKETS[-1] - 2


def pad(text: str, buckets: Sequence[int]) -> bytes:
    """Return ``text`` padded to the first of ``buckets`` (ascending, bytes in total) that holds it.

    Raises MalformedError("pad_size") when none does, ("text") when the text has no UTF-8 form.
    """
    raw = utf8(text)
    length = len(raw)
    for size in buckets:
        if length + 2 <= size:
            return (length.to_bytes(2, "big") + raw).ljust(size, b"\0")
    raise MalformedError("pad_size")


def unpad(padded: bytes) -> str:
    """Return the text. Raises MalformedError: pad_length, pad_zeros, pad_text (envelope.md 3.3)."""
    end = int.from_bytes(padded[:2], "big") + 2
    if end > len(padded):
        raise MalformedError("pad_length")
    if len(padded.rstrip(b"\0")) > end:
        raise MalformedError("pad_zeros")
    try:
        return padded[2:end].decode()
    except UnicodeDecodeError:
        # From None: the codec's error carries the value.
        raise MalformedError("pad_text") from None
