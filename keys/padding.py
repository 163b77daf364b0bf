"""Hides the length of a value in buckets (docs/formats/envelope.md 3).

Ciphertexts of one bucket have one length. The bucket itself shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from keys.context import utf8
from keys.errors import MalformedError

TEXT_BUCKETS: Final = (32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Sizes of a padded text in bytes, its two length bytes included."""

LENGTH_BYTES: Final = 2

MAX_TEXT_BYTES: Final = TEXT_BUCKETS[-1] - LENGTH_BYTES


def pad(text: str, buckets: Sequence[int]) -> bytes:
    """Return ``text`` padded to the first of ``buckets`` (ascending, bytes in total) that holds it.

    Raises MalformedError("pad_size") when none does, ("text") when the text has no UTF-8 form.
    """
    raw = utf8(text)
    length = len(raw)
    for size in buckets:
        if length + LENGTH_BYTES <= size:
            return (length.to_bytes(LENGTH_BYTES, "big") + raw).ljust(size, b"\0")
    raise MalformedError("pad_size")


def pad_all(texts: Sequence[str], buckets: Sequence[int]) -> list[bytes]:
    """Return each of ``texts`` padded, as ``pad`` does and with its errors. HOT."""
    first = buckets[0]
    if not "".join(texts).isascii() or max(map(len, texts), default=0) + LENGTH_BYTES > first:
        return [pad(text, buckets) for text in texts]
    # The format of bytes of fixed length fills them up with zeros.
    return list(map(Struct(f">H{first - LENGTH_BYTES}s").pack, map(len, texts), map(str.encode, texts)))


def unpad(padded: bytes) -> str:
    """Return the text. Raises MalformedError: pad_length, pad_zeros, pad_text (envelope.md 3.3)."""
    end = int.from_bytes(padded[:LENGTH_BYTES], "big") + LENGTH_BYTES
    if end > len(padded):
        raise MalformedError("pad_length")
    if len(padded.rstrip(b"\0")) > end:
        raise MalformedError("pad_zeros")
    try:
        return padded[LENGTH_BYTES:end].decode()
    except UnicodeDecodeError:
        # From None: the codec's error carries the value.
        raise MalformedError("pad_text") from None


def unpad_all(padded: Sequence[bytes]) -> list[str]:
    """Return the text of each, as ``unpad`` does and with its errors; ASCII of one size in one piece. HOT."""
    return _ascii_of_one_size(padded) or list(map(unpad, padded))


def _ascii_of_one_size(padded: Sequence[bytes]) -> list[str]:
    """Return the text of each; none where they are not that, or one of them is refused."""
    count = len(padded)
    joined = b"".join(padded)
    if len(set(map(len, padded))) != 1 or not joined.isascii():
        return []
    size = len(joined) // count
    if size < LENGTH_BYTES:
        return []
    high, low = joined[::size], joined[1::size]
    if any(high) or max(low) + LENGTH_BYTES > size:
        return []
    text = joined.decode("ascii")
    starts = range(LENGTH_BYTES, len(text) + LENGTH_BYTES, size)
    texts = [text[at : at + length] for at, length in zip(starts, low, strict=True)]
    whole = "".join(texts)
    # No zero within the texts, and as many outside as there are places: so all of the padding is zeros.
    outside = len(joined) - len(whole) - count + low.count(0)
    return [] if "\0" in whole or joined.count(0) != outside else texts
