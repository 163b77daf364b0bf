"""Files sealed to people who hold an identity (age v1, age-encryption.org, X25519 recipients).

What is guaranteed: whoever has none of the identities reads nothing, and what
was changed, cut off or put together from two files does not open to its end.
What is not: that the vault wrote it. Anybody can seal to a public recipient, so
who relies on the content has to verify it by something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import pyrage
from pyrage import x25519

from keys.errors import DecryptionError, MalformedError
from keys.secret import SecretText

Feed = Callable[[bytes], None]
"""Takes the next piece of what was opened. It is authentic so far; that it is whole shows at the end."""

COMMENT: Final = "#"


class Writable(Protocol):
    """A binary file open for writing."""

    def write(self, data: bytes, /) -> object:
        """Write ``data``."""
        ...


class Readable(Protocol):
    """A binary file open for reading."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        ...


class Recipients:
    """Whom a file is sealed to, from their public texts (``age1…``), each once, in order.

    Raises MalformedError("recipients") without any, ("recipient") for a text
    that is no X25519 recipient.
    """

    __slots__ = ("_keys", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts: Final = tuple(dict.fromkeys(text.strip() for text in texts))
        if not self.texts:
            raise MalformedError("recipients")
        self._keys = [_recipient(text) for text in self.texts]

    def seal(self, chunks: Iterable[bytes], file: Writable) -> None:
        """Seal what ``chunks`` give into ``file``, piece by piece. Raises what they and the file raise."""
        source, target = _Source(iter(chunks)), _Target(file.write)
        try:
            pyrage.encrypt_io(source, target, self._keys)
        except Exception as error:  # noqa: BLE001 - whatever it is goes on
            # The library wraps what its callers raise, and the text of that is not ours to show.
            raise (source.error or target.error or error) from None


class Identities:
    """What opens files sealed to their recipients. The texts are as secret as keys.

    Raises MalformedError("identities") without any, ("identity") for a line that
    is no X25519 identity.
    """

    __slots__ = ("_keys",)

    def __init__(self, files: Sequence[SecretText]) -> None:
        found = [SecretText(line.strip()) for file in files for line in file.expose().splitlines()]
        self._keys = [_identity(line) for line in found if not _is_comment(line)]
        if not self._keys:
            raise MalformedError("identities")

    def open(self, file: Readable, feed: Feed) -> None:
        """Open ``file`` and hand it to ``feed`` piece by piece.

        Raises DecryptionError for a file of other recipients, changed or cut
        off: then nothing that ``feed`` has seen may be kept. Raises what
        ``feed`` raises.
        """
        target = _Target(feed)
        try:
            pyrage.decrypt_io(file, target, self._keys)
        except Exception:  # noqa: BLE001 - the library has an error for each cause, and its readers' own too
            raise (target.error or DecryptionError()) from None


def new_identity() -> tuple[SecretText, str]:
    """Return a new identity and its recipient."""
    identity = x25519.Identity.generate()
    return SecretText(str(identity)), str(identity.to_public())


class _Source:
    """Chunks as a file to be read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._left:
                self._left = next(self._chunks)
        except StopIteration:
            return b""
        except Exception as error:
            self.error = error
            raise
        given = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(given) :]
        return given


class _Target:
    """A function as a file to be written."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self.error: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            self._take(bytes(data))
        except Exception as error:
            self.error = error
            raise
        return len(data)

    def flush(self) -> None:
        """Do nothing: whoever gave the file flushes it."""


def _recipient(text: str) -> Any:
    try:
        return x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise MalformedError("recipient") from None


def _identity(line: SecretText) -> Any:
    try:
        return x25519.Identity.from_str(line.expose())
    except pyrage.IdentityError:
        pass
    # Outside the handler: the library's error may carry the text.
    raise MalformedError("identity")


def _is_comment(line: SecretText) -> bool:
    return line.expose().startswith(COMMENT) or not line.expose()
