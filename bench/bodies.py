"""Request bodies, prepared before anything is measured: one a line in a file."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.furnish import BATCH, FIELD, INTAKE, PURPOSE, REASON, phone_number

SINGLES: Final = 20_000
BATCHES: Final = 250


def detokenizing(tokens: Sequence[str], items: int, numbers: random.Random) -> Iterable[Any]:
    """Yield requests to reveal ``items`` tokens in full, chosen uniformly."""
    for _ in range(_count(items)):
        chosen = [{"token": token} for token in numbers.choices(tokens, k=items)]
        yield {"purpose": PURPOSE, "reason": REASON, "reveal": "plain", "items": chosen}


def tokenizing(subjects: Sequence[str], items: int, numbers: random.Random) -> Iterable[Any]:
    """Yield requests to seal ``items`` values of subjects that exist."""
    for _ in range(_count(items)):
        values = [
            {"field": FIELD, "value": phone_number(numbers), "subject": numbers.choice(subjects)}
            for _ in range(items)
        ]
        yield {"purpose": INTAKE, "items": values}


def introducing(items: int, numbers: random.Random) -> Iterable[Any]:
    """Yield requests to seal one value each of ``items`` new subjects."""
    for _ in range(_count(items)):
        values = [
            {"field": FIELD, "value": phone_number(numbers), "subject": {"new": f"s{at}"}}
            for at in range(items)
        ]
        yield {"purpose": INTAKE, "items": values}


def peer_plaintexts(items: int, numbers: random.Random) -> Iterable[Any]:
    """Yield the peer's requests to encrypt ``items`` values of the size that ours are stored in."""
    for _ in range(_count(items)):
        batch = [{"plaintext": _base64(phone_number(numbers))} for _ in range(items)]
        yield {"batch_input": batch} if items > 1 else batch[0]


def peer_ciphertexts(ciphertexts: Sequence[str], items: int, numbers: random.Random) -> Iterable[Any]:
    """Yield the peer's requests to decrypt ``items`` ciphertexts, chosen uniformly."""
    for _ in range(_count(items)):
        batch = [{"ciphertext": text} for text in numbers.choices(ciphertexts, k=items)]
        yield {"batch_input": batch} if items > 1 else batch[0]


def write_bodies(path: Path, requests: Iterable[Any]) -> Path:
    """Write one request a line and return the path."""
    with path.open("w", encoding="utf-8") as file:
        for request in requests:
            file.write(json.dumps(request, separators=(",", ":")) + "\n")
    return path


Sending = Callable[[int, random.Random], Iterable[Any]]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _count(items: int) -> int:
    return BATCHES if items == BATCH else SINGLES
