"""Asking again when the vault could not serve, without doing anything twice.

A tokenize that may or may not have happened is asked again with the same
idempotency key: the server answers with what it did. What was refused is never
asked again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cli.errors import ProblemError
from cli.remote.server import Answer, Server
from vault.domain.errors import UnavailableError

ATTEMPTS: Final = 9
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0

_AGAIN: Final = frozenset({409, 429, 502, 503, 504})
"""409 only with a key of ours: the first try is still in flight, or another writer had the same subject."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep asking, and how to wait and say so."""

    wait: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = lambda _text: None
    attempts: int = ATTEMPTS


def tokenize(server: Server, body: Mapping[str, Any], patience: Patience) -> Answer:
    """Return the answer to one batch of values, each sealed once however often it takes to ask."""
    key = str(uuid.uuid4())
    return persist(lambda: server.post("/v1/tokenize", body, idempotency_key=key), patience)


def detokenize(server: Server, body: Mapping[str, Any], patience: Patience) -> Answer:
    """Return the answer to one batch of tokens. Asking again makes another entry in the log."""
    return persist(lambda: server.post("/v1/detokenize", body), patience)


def persist(ask: Callable[[], Answer], patience: Patience) -> Answer:
    """Return what ``ask`` returns, asking again while the server cannot serve. Raises its last error."""
    wait = FIRST_WAIT_S
    for _ in range(patience.attempts - 1):
        try:
            return ask()
        except UnavailableError as error:
            pause, why = wait, error.detail
        except ProblemError as error:
            if error.status not in _AGAIN:
                raise
            pause, why = max(wait, error.failure.retry_after or 0), error.code
        patience.say(f"{why}; asking again in {pause:.0f} s")
        patience.wait(pause)
        wait = min(wait * 2, LONGEST_WAIT_S)
    return ask()
