"""The root key in a file (docs/formats/envelope.md 7).

What is guaranteed: the file is made 0600, never over another one, and on disk
before it is used; a file that others may read, or that is not exactly one root
key, is refused. What is not: whoever can read the file has the key. It never
belongs beside the database or in its backups.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag

from keys.envelope import NONCE_LENGTH, TAG_LENGTH, new_cipher
from keys.errors import DecryptionError, WrapperUnavailableError
from keys.secret import KEY_LENGTH, SecretBytes

MODE = 0o600
_OTHERS = 0o077
_VERSION = b"\x01"
_NONCE_END = 1 + NONCE_LENGTH
_LABEL = b"piivault-root-key-v1 "
_LINE = re.compile(rb"piivault-root-key-v1 ([0-9a-f]{64})\n").fullmatch
_FILE_LENGTH = len(_LABEL) + 2 * KEY_LENGTH + 1
_FINGERPRINT_LABEL = b"piivault/root-fingerprint/v1"


class KeyFileWrapper:
    """Seals keys under the root key of a file, read once. Threads may share it."""

    __slots__ = ("_cipher", "_description")

    def __init__(self, path: Path) -> None:
        key = _read(path)
        self._cipher = new_cipher(key)
        # A hash of 256 random bits tells nothing of them, and tells two files apart.
        fingerprint = hashlib.sha256(_FINGERPRINT_LABEL + key.expose()).hexdigest()[:16]
        self._description = f"key file {path}, fingerprint {fingerprint}"

    @classmethod
    def create(cls, path: Path) -> KeyFileWrapper:
        """Return a wrapper over a new root key, written to ``path`` and flushed.

        Raises WrapperUnavailableError: exists, unwritable.
        """
        _write(path, SecretBytes(os.urandom(KEY_LENGTH)))
        return cls(path)

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``."""
        nonce = os.urandom(NONCE_LENGTH)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plaintext.expose(), context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped. Raises DecryptionError for every cause (envelope.md 7.3)."""
        if len(wrapped) < _NONCE_END + TAG_LENGTH or wrapped[:1] != _VERSION:
            raise DecryptionError
        try:
            return SecretBytes(self._cipher.decrypt(wrapped[1:_NONCE_END], wrapped[_NONCE_END:], context))
        except InvalidTag:
            raise DecryptionError from None

    def describe(self) -> str:
        """Return the path and a fingerprint of the root key."""
        return self._description


def _read(path: Path) -> SecretBytes:
    """Return the root key in ``path``, checked on the open file so that nobody can swap it in between."""
    try:
        # Not blocking, or a named pipe put there would hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        rule = "not_regular" if path.is_symlink() else "missing"
        raise WrapperUnavailableError(rule, f"key file {path}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise WrapperUnavailableError("not_regular", f"key file {path}")
        if status.st_mode & _OTHERS:
            raise WrapperUnavailableError("permissions", f"key file {path}")
        line = _LINE(os.read(descriptor, _FILE_LENGTH + 1))
    except OSError:
        raise WrapperUnavailableError("unreadable", f"key file {path}") from None
    finally:
        os.close(descriptor)
    if line is None:
        raise WrapperUnavailableError("format", f"key file {path}")
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
        _flush_directory(path.parent)
    except OSError:
        # Nothing was wrapped with it yet; half a file would only stand in the way of the next try.
        path.unlink()
        raise WrapperUnavailableError("unwritable", f"key file {path}") from None


def _flush_directory(path: Path) -> None:
    """Flush the name of a new file: it too must survive power loss, or all it wraps is lost with it."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
