"""The root key in a file (docs/formats/envelope.md 7).

What is guaranteed: the file is made 0600, never over another one, and on disk
before it is used; a file that others may read, or that is not exactly one root
key, is refused. What is not: whoever can read the file has the key. It never
belongs beside the database or in its backups.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from keys.durable import flush_folder
from keys.errors import WrapperUnavailableError
from keys.secret import KEY_LENGTH, SecretBytes
from keys.wrappers.files import fault, read_private
from keys.wrappers.sealing import SealingKey

MODE = 0o600
_ANEW = "piivault keys root rotate --from-recovery"
_LABEL = b"piivault-root-key-v1 "
_LINE = re.compile(rb"piivault-root-key-v1 ([0-9a-f]{64})\n").fullmatch
_FILE_LENGTH = len(_LABEL) + 2 * KEY_LENGTH + 1
_ENDED = b"piivault-root-key-ended\n".ljust(_FILE_LENGTH, b"-")
"""Written over a key before its file is removed: whoever was stopped in between knows it again."""


class KeyFileWrapper:
    """Seals keys under the root key of a file, read once. Threads may share it."""

    __slots__ = ("_description", "_key")

    kind: Final = "file"

    def __init__(self, path: Path) -> None:
        self._key = SealingKey(_read(path))
        self._description = f"key file {path}, fingerprint {self._key.fingerprint}"

    @classmethod
    def create(cls, path: Path) -> KeyFileWrapper:
        """Return a wrapper over a new root key, written to ``path`` and flushed.

        Raises WrapperUnavailableError: exists, unwritable.
        """
        _write(path, SecretBytes(os.urandom(KEY_LENGTH)))
        return cls(path)

    @staticmethod
    def destroy(path: Path, fingerprint: str) -> None:
        """Overwrite the key in ``path``, flush that, and remove the file.

        This reaches the file alone: on an SSD, a file system that copies on write, or in
        a copy of the file the key may still be (NIST SP 800-88 Rev. 1, 2.4 and 4.1).
        ``fingerprint`` is that of the key meant; empty for whichever is there. Raises
        WrapperUnavailableError: another_key, unwritable, and as the constructor.
        """
        about = f"key file {path}"
        if read_private(path, what="key file", limit=_FILE_LENGTH).expose() != _ENDED:
            if fingerprint not in {"", SealingKey(_read(path)).fingerprint}:
                raise WrapperUnavailableError("another_key", about, "move it aside: it is not the key meant")
            _overwrite(path, about)
        try:
            path.unlink()
            flush_folder(path.parent)
        except OSError:
            raise WrapperUnavailableError("unwritable", about) from None

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``."""
        return self._key.wrap(plaintext, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped. Raises DecryptionError for every cause (envelope.md 7.3)."""
        return self._key.unwrap(wrapped, context)

    def describe(self) -> str:
        """Return the path and a fingerprint of the root key."""
        return self._description


def _read(path: Path) -> SecretBytes:
    """Return the root key in ``path``."""
    # Not bound to a name: whoever reports an error from here collects locals.
    line = _LINE(read_private(path, what="key file", limit=_FILE_LENGTH, anew=_ANEW).expose())
    if line is None:
        raise fault("format", f"key file {path}", _ANEW)
    return SecretBytes(bytes.fromhex(line[1].decode()))


def _write(path: Path, key: SecretBytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, MODE)
    except FileExistsError:
        raise WrapperUnavailableError("exists", f"key file {path}") from None
    except OSError:
        raise WrapperUnavailableError("unwritable", f"key file {path}") from None
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
            file.write(_LABEL + key.expose().hex().encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        flush_folder(path.parent)
    except OSError:
        # Nothing was wrapped with it yet; half a file would only stand in the way of the next try.
        path.unlink()
        raise WrapperUnavailableError("unwritable", f"key file {path}") from None


def _overwrite(path: Path, about: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 (a descriptor, not a path)
            file.write(_ENDED)
            os.fsync(descriptor)
    except OSError:
        raise WrapperUnavailableError("unwritable", about) from None
