"""A node that opens one-time tokens until killed: ``python -m tests.soak.opener HOME ACTOR NOW FILE``.

It says a line for each value it got, after it got it: what a caller has seen.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keys.passwords import Passwords
from tests.support.furnished import CHEAP, MEMBER
from vault.assembly import open_vault
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin, Reveal
from vault.settings import Settings
from vault.tokens.requests import DetokenizeItem, DetokenizeRequest

THREADS = 3
AT_ONCE = 2


def main(home: str, actor: str, now: str, file: str) -> None:
    """Open the vault as of ``now``, and each token of ``file``, with a few threads."""
    began, offset = time.monotonic(), datetime.fromtimestamp(float(now), UTC)

    def clock() -> datetime:
        return offset + timedelta(seconds=time.monotonic() - began)

    vault = open_vault(Settings.load(Path(home)), clock=clock, passwords=Passwords(CHEAP))
    parts = json.loads(actor)
    who = Actor(**parts | {"kind": ActorKind(parts["kind"]), "roles": tuple(parts["roles"])})
    tokens = Path(file).read_text(encoding="utf-8").split()

    def run(mine: list[str]) -> None:
        for at in range(0, len(mine), AT_ONCE):
            items = [DetokenizeItem(token=token) for token in mine[at : at + AT_ONCE]]
            request = DetokenizeRequest(purpose=MEMBER, items=items, reveal=Reveal.PLAIN)
            origin = Origin(request=RequestId("req_" + os.urandom(16).hex()), address="127.0.0.1")
            done = vault.tokens.complete(vault.tokens.detokenize(who, origin, request))
            for answer in done["items"]:
                if "value" in answer:
                    os.write(1, json.dumps([answer["token"], answer["value"]]).encode() + b"\n")

    threads = [threading.Thread(target=run, args=(tokens[at::THREADS],)) for at in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
