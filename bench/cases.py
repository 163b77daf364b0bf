"""What is measured: the cases of the table, and the bodies each system is sent for them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import bodies
from bench.furnish import BATCH, VALUES, Site, phone_number
from bench.generator import Load
from bench.machine import RefusedError
from bench.ours import reveal
from bench.peer import decrypt, encrypt
from bench.processes import System


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table per system."""

    act: str
    """``detokenize``, ``tokenize`` or ``introduce``: tokenize for subjects that do not exist yet."""
    items: int
    connections: int

    @property
    def name(self) -> str:
        """Such as ``detokenize 1000 c1``."""
        return f"{self.act} {self.items} c{self.connections}"


ACTS: Final = ("detokenize", "tokenize")

COMPARED: Final = tuple(
    Case(act, items, connections) for act in ACTS for items in (1, BATCH) for connections in (1, 32)
)
INTRODUCED: Final = Case("introduce", BATCH, 1)

Loads = Mapping[str, Load]
"""Loads of one system by the name of the case."""


def our_loads(site: Site, folder: Path, *, seed: int) -> Loads:
    """Return the loads of every case for the vault of ``site``, with their bodies in ``folder``."""
    numbers = random.Random(seed)
    loads = {}
    for items in (1, BATCH):
        for act, requests in (
            ("detokenize", bodies.detokenizing(site.tokens, items, numbers)),
            ("tokenize", bodies.tokenizing(site.subjects, items, numbers)),
        ):
            file = _write(folder / f"{act}-{items}.jsonl", requests)
            member = "value" if act == "detokenize" else "token"
            for connections in (1, 32):
                case = Case(act, items, connections)
                loads[case.name] = Load(f"/v1/{act}", file, member, items, connections)
    file = _write(folder / "introduce.jsonl", bodies.introducing(BATCH, numbers))
    loads[INTRODUCED.name] = Load("/v1/tokenize", file, "token", BATCH, 1)
    return loads


def peer_loads(peer: System, folder: Path, *, seed: int) -> Loads:
    """Return the loads of every compared case for the peer, with as many values as our vault holds."""
    numbers = random.Random(seed)
    values = [phone_number(numbers) for _ in range(VALUES)]
    ciphertexts = encrypt(peer, values)
    if decrypt(peer, ciphertexts[:BATCH]) != values[:BATCH]:
        raise RefusedError("the peer does not give back what it encrypted")
    loads = {}
    for items in (1, BATCH):
        for act, verb, member, requests in (
            ("detokenize", "decrypt", "plaintext", bodies.peer_ciphertexts(ciphertexts, items, numbers)),
            ("tokenize", "encrypt", "ciphertext", bodies.peer_plaintexts(items, numbers)),
        ):
            file = _write(folder / f"{verb}-{items}.jsonl", requests)
            for connections in (1, 32):
                case = Case(act, items, connections)
                path = f"/v1/transit/{verb}/bench"
                loads[case.name] = Load(path, file, member, items, connections)
    return loads


def require_exact(system: System, site: Site) -> None:
    """Raise RefusedError unless the server gives back the very values it was filled with."""
    chosen = list(range(0, len(site.tokens), max(1, len(site.tokens) // BATCH)))[:BATCH]
    found = reveal(system, system.credential(), [site.tokens[at] for at in chosen])
    if found != [site.values[at] for at in chosen]:
        raise RefusedError("the server gives back other values than it was filled with")


def _write(path: Path, requests: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return bodies.write_bodies(path, requests)
