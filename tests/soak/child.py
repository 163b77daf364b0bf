"""A process that works at the vault until it is killed: ``python -m tests.soak.child HOME ACTOR START NOW``.

It answers for everything it was acknowledged by a line on stdout, written after the acknowledgement: what a
server's response is.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keys.passwords import Passwords
from tests.support.furnished import CHEAP, MEMBER, phones
from vault.assembly import open_vault
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin, Reveal
from vault.service.vault import Vault
from vault.settings import Settings
from vault.tokens.requests import DetokenizeItem, DetokenizeRequest, TokenizeItem, TokenizeRequest

THREADS = 4
STRETCH = 100_000
"""Values that one thread has to itself."""


class Worker:
    """One thread's work: swap new values, open some of the tokens again."""

    def __init__(self, vault: Vault, actor: Actor, start: int) -> None:
        self._vault = vault
        self._actor = actor
        self._next = start
        self._tokens: list[str] = []

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            self._tokenize(random.randint(1, 20))
            self._detokenize(random.sample(self._tokens, min(len(self._tokens), 20)))

    def _tokenize(self, count: int) -> None:
        values = phones(count, start=self._next)
        self._next += count
        items = [TokenizeItem(field="member.phone", value=value) for value in values]
        request = TokenizeRequest(purpose=MEMBER, items=items)
        done = self._vault.tokens.complete(
            self._vault.tokens.tokenize(self._actor, self._origin(), request, replay=None)
        )
        tokens = [item["token"] for item in done["items"]]
        self._tokens += tokens
        _say({"act": "tokenize", **_evidence(done), "pairs": list(zip(tokens, values, strict=True))})

    def _detokenize(self, tokens: list[str]) -> None:
        items = [DetokenizeItem(token=token) for token in tokens]
        request = DetokenizeRequest(purpose=MEMBER, items=items, reveal=Reveal.PLAIN)
        done = self._vault.tokens.complete(
            self._vault.tokens.detokenize(self._actor, self._origin(), request)
        )
        pairs = [(item["token"], item["value"]) for item in done["items"]]
        _say({"act": "detokenize", **_evidence(done), "pairs": pairs})

    @staticmethod
    def _origin() -> Origin:
        return Origin(request=RequestId("req_" + os.urandom(16).hex()), address="127.0.0.1")


def _evidence(done: dict[str, Any]) -> dict[str, Any]:
    return {"index": done["log_index"], "leaf": done["leaf_hash"]}


def _say(line: dict[str, Any]) -> None:
    # One write, so that lines of several threads do not mix.
    os.write(1, json.dumps(line).encode() + b"\n")


def main(home: str, actor: str, start: str, now: str) -> None:
    """Open the vault as of ``now`` and work with a few threads."""
    began, offset = time.monotonic(), datetime.fromtimestamp(float(now), UTC)

    def clock() -> datetime:
        return offset + timedelta(seconds=time.monotonic() - began)

    vault = open_vault(Settings.load(Path(home)), clock=clock, passwords=Passwords(CHEAP))
    vault.upkeep.start()
    parts = json.loads(actor)
    who = Actor(**parts | {"kind": ActorKind(parts["kind"]), "roles": tuple(parts["roles"])})
    workers = [Worker(vault, who, int(start) + at * STRETCH) for at in range(THREADS)]
    for worker in workers[1:]:
        threading.Thread(target=worker.run, daemon=True).start()
    workers[0].run()


if __name__ == "__main__":
    main(*sys.argv[1:])
