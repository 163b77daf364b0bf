"""Take the tombstone file along, so that the restored vault can read it with its own keys.

Its lines stay as they are; what the rows know beyond them is added, and the
head is signed by the key of the new log. That vouches for every line, whatever
key it was signed by (docs/formats/tombstones.md 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keys.signing import SigningKey
from vault.audit.note import NoteKey
from vault.audit.tombstones import Chain, Tombstone, keys_by_id, read_bytes, sign_head, whole_lines
from vault.storage.database import Connection
from vault.storage.tombstones import tombstones_from

PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Carried:
    """What ``log/tombstones`` and its head are to hold."""

    lines: bytes
    head: bytes


def carry(
    connection: Connection, path: Path, keys: Sequence[NoteKey], signer: SigningKey, *, size: int
) -> Carried:
    """Return the file, complete through ``size`` entries of the new log.

    The file has been read before, and the rows have been verified. Raises TamperDetectedError.
    """
    trusted = keys_by_id(keys)
    at = Chain()
    lines = whole_lines(read_bytes(path))
    for line in lines:
        at.follow(line, trusted)
    while page := tombstones_from(connection, at.count, PAGE):
        for row in page:
            stone = Tombstone(row.seq, row.log_index, row.act, row.subject_id, row.at_us)
            lines.append(at.sign(stone, signer))
    return Carried(b"".join(lines), sign_head(at, size, signer).encode())
