"""Tokens: tokenize, detokenize, search, show, revoke.

A request becomes a work, which the lane takes through decision, log and
release together with whatever else has arrived. ``start`` returns at once and
calls back from the lane's thread; ``complete`` waits.
"""

from __future__ import annotations

from collections.abc import Callable

from vault.domain.model import Actor, Origin
from vault.storage.lane import Lane
from vault.tokens.detokenize import DetokenizeWork
from vault.tokens.preparer import PreparedUnit
from vault.tokens.replay import Replay
from vault.tokens.requests import (
    MAX_BODY,
    MAX_ITEMS,
    DetokenizeRequest,
    SearchRequest,
    TokenizeRequest,
)
from vault.tokens.search import Misses, SearchWork
from vault.tokens.single import RevokeWork, ShowWork
from vault.tokens.tokenize import TokenizeWork
from vault.tokens.work import HotWork, Result, waiting


class Tokens:
    """Thread-safe."""

    def __init__(self, lane: Lane[HotWork, PreparedUnit]) -> None:
        self._lane = lane
        self._misses = Misses()

    def tokenize(
        self, actor: Actor, origin: Origin, request: TokenizeRequest, *, replay: Replay | None = None
    ) -> HotWork:
        """Return the work of ``token:tokenize``."""
        return TokenizeWork(actor, origin, request, replay=replay)

    def detokenize(self, actor: Actor, origin: Origin, request: DetokenizeRequest) -> HotWork:
        """Return the work of ``token:detokenize``."""
        return DetokenizeWork(actor, origin, request)

    def search(self, actor: Actor, origin: Origin, request: SearchRequest) -> HotWork:
        """Return the work of ``token:search``."""
        return SearchWork(actor, origin, request, self._misses)

    def show(self, actor: Actor, origin: Origin, *, token: str, purpose: str) -> HotWork:
        """Return the work of ``token:show``."""
        return ShowWork(actor, origin, token=token, purpose=purpose)

    def revoke(self, actor: Actor, origin: Origin, *, token: str, purpose: str) -> HotWork:
        """Return the work of ``token:revoke``."""
        return RevokeWork(actor, origin, token=token, purpose=purpose)

    def start(self, work: HotWork, deliver: Callable[[], None]) -> None:
        """Hand ``work`` to the lane; ``deliver`` is called from its thread when result or error is set.

        Raises UnavailableError when too much waits already.
        """
        work.deliver = deliver
        self._lane.submit(work)

    def complete(self, work: HotWork) -> Result:
        """Hand ``work`` to the lane and wait. Raises the error it ends with."""
        wait = waiting(work)
        self._lane.submit(work)
        return wait()

    def forget(self) -> None:
        """Have every key dropped that is held for works."""
        self._lane.forget()

    def close(self) -> None:
        """Finish what was handed over, then stop."""
        self._lane.close()


__all__ = [
    "MAX_BODY",
    "MAX_ITEMS",
    "DetokenizeRequest",
    "HotWork",
    "Replay",
    "Result",
    "SearchRequest",
    "TokenizeRequest",
    "Tokens",
]
