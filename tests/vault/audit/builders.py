"""Entries, keys and logs for the tests of the evidence. Deterministic: no clock, no randomness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from keys.secret import SecretBytes
from keys.signing import SigningKey
from vault.audit.entry import Decision, Entry, encode, entry_id
from vault.audit.folder import write_export
from vault.audit.merkle import leaf_hash, roots_at
from vault.audit.note import Checkpoint, sign_checkpoint
from vault.audit.packing import Items
from vault.domain.actions import Action
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin, Outcome, Reveal

START = datetime(2026, 11, 24, 6, 0, 0, 123456, tzinfo=UTC)
ORIGIN = "vault.example/log"

HANDLER = Actor(
    kind=ActorKind.STAFF,
    id="stf_00000000000000000001",
    name="김민지",
    team="고객지원",
    employer="예시 주식회사",
    roles=("handler",),
    session="ses_00000000000000000001",
)


def noise(label: str, number: int, size: int) -> bytes:
    """Return ``size`` bytes (at most 32) that look random and never change."""
    return sha256(f"{label}/{number}".encode()).digest()[:size]


def items_of(
    n: int, *, fields: Sequence[str] = ("member.phone",), outcomes: Sequence[str] = ("opened",)
) -> Items:
    return Items.pack(
        [noise("subject", number, 16) for number in range(n)],
        [1 << 56 | number for number in range(n)],
        [fields[number % len(fields)] for number in range(n)],
        [outcomes[number % len(outcomes)] for number in range(n)],
    )


def entry_of(number: int = 0, items: Items | None = None) -> Entry:
    at = START + timedelta(milliseconds=number)
    return Entry(
        id=entry_id(at, noise("entry", number, 10)),
        time=at,
        actor=HANDLER,
        origin=Origin(request=RequestId(f"req_{noise('request', number, 16).hex()}"), address="203.0.113.7"),
        action=Action.TOKEN_DETOKENIZE,
        outcome=Outcome.RELEASED,
        purpose="inquiry",
        reveal=Reveal.MASKED,
        decision=Decision("grant", ("grt_00000000000000000001",), 7),
        note=sha256(b"sealed reason").hexdigest(),
        items=items_of(1) if items is None else items,
    )


def whole(entry: Entry) -> bytes:
    """Return the bytes of an entry that is not in parts."""
    (data,) = encode(entry)
    return data


def entry_in_parts() -> Entry:
    """Return an entry that takes two parts: a thousand fields with long names."""
    names = [f"member.{number:04d}.".ljust(50, "x") for number in range(1000)]
    return replace(entry_of(), items=items_of(1000, fields=names))


def log_key(name: str = ORIGIN, seed: bytes = b"log") -> SigningKey:
    return SigningKey(name, SecretBytes(sha256(seed).digest()))


def log_of(size: int) -> list[bytes]:
    """Return the stored bytes of ``size`` entries."""
    return [whole(entry_of(number)) for number in range(size)]


def checkpoint_note(entries: Sequence[bytes], size: int, key: SigningKey | None = None) -> str:
    """Return the signed checkpoint over the first ``size`` entries."""
    root = roots_at(map(leaf_hash, entries[:size]), [size])[size]
    signer = log_key() if key is None else key
    return sign_checkpoint(Checkpoint(signer.name, size, root), signer)


def export_of(
    folder: Path, entries: Sequence[bytes], sizes: Iterable[int], key: SigningKey | None = None
) -> list[str]:
    """Write an export with a checkpoint at each of ``sizes``; return the notes."""
    notes = [checkpoint_note(entries, size, key) for size in sizes]
    write_export(folder, entries, notes)
    return notes
