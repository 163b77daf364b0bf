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


def pad_all(texts: Sequence[str], buckets: Sequence[int]) -> list[bytes]:
    """Return each of ``texts`` padded, as ``pad`` does and with its errors. HOT."""
    first = buckets[0]
    if not "".join(texts).isascii() or max(map(len, texts), default=0) + 2 > first:
        return [pad(text, buckets) for text in texts]
    # The format of bytes of fixed length fills them up with zeros.
    return list(map(Struct(f">H{first - 2}s").pack, map(len, texts), map(str.encode, texts)))


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


def unpad_all(padded: Sequence[bytes]) -> list[str]:
    """Return the text of each, as ``unpad`` does and with its errors; ASCII of one size in one piece. HOT."""
    count = len(padded)
    joined = b"".join(padded)
    if len(set(map(len, padded))) != 1 or not joined or not joined.isascii():
        return list(map(unpad, padded))
    size = len(joined) // count
    high, low = joined[::size], joined[1::size]
    if size < LENGTH_BYTES or any(high) or max(low) + LENGTH_BYTES > size:
        return list(map(unpad, padded))
    text = joined.decode("ascii")
    texts = [text[at : at + length] for at, length in zip(range(2, len(text) + 2, size), low, strict=True)]
    whole = "".join(texts)
    # No zero within the texts, and as many outside as there are places: so all of the padding is zeros.
    outside = len(joined) - len(whole) - count + low.count(0)
    if "\0" in whole or joined.count(0) != outside:
        return list(map(unpad, padded))
    return texts
