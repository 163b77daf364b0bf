"""Tokenize, detokenize and search: straight ASGI, none of the machinery of a web framework.

One request: bearer -> actor, body -> shape, a work for the lane, and the
answer when the lane has delivered. A caller who hangs up meanwhile changes
nothing: the work is done, logged and its answer dropped.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final, TypeVar

import orjson

from api.asgi import Receive, Scope, Send, peer_address, request_id, send_answer, send_problem
from api.bodies import Reader, header_map, read_body, require_json, require_unique
from api.errors import ClientGoneError, Header, method_not_allowed, problem_of
from api.faults import report
from api.metrics import Metrics
from api.session import Bearers
from vault.domain.actions import Action
from vault.domain.errors import InvalidInputError
from vault.domain.model import Actor, Origin
from vault.service.tokens import (
    MAX_BODY,
    DetokenizeRequest,
    HotWork,
    Replay,
    SearchRequest,
    TokenizeRequest,
)
from vault.service.vault import Vault

OK: Final = 200
MULTI_STATUS: Final = 207

KEY_HEADER: Final = b"idempotency-key"
REPLAYED: Final[tuple[Header, ...]] = ((b"idempotency-replayed", b"true"),)

_KEY: Final = re.compile(rb"[\x20-\x7e]{1,255}").fullmatch

S = TypeVar("S", TokenizeRequest, DetokenizeRequest, SearchRequest)

Headers = Mapping[bytes, bytes]
Make = Callable[[Actor, Origin, Headers, bytes], HotWork]
"""From who, where, headers and body to a work."""


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A path, what it does, and how its work is made."""

    path: str
    action: Action
    make: Make


class HotRoutes:
    """The routes of the hot path, by path. Belongs to the event loop's thread."""

    def __init__(self, vault: Vault, bearers: Bearers, metrics: Metrics) -> None:
        self._vault = vault
        self._bearers = bearers
        self._metrics = metrics
        self._deliveries: Final = Deliveries()
        self._tokenize: Final = Reader(TokenizeRequest, counted=True)
        self._detokenize: Final = Reader(DetokenizeRequest, counted=True)
        self._search: Final = Reader(SearchRequest, counted=True)
        self.routes: Final[Mapping[str, HotRoute]] = {
            route.path: route
            for route in (
                HotRoute("/v1/tokenize", Action.TOKEN_TOKENIZE, self._tokenizing),
                HotRoute("/v1/detokenize", Action.TOKEN_DETOKENIZE, self._detokenizing),
                HotRoute("/v1/search", Action.TOKEN_SEARCH, self._searching),
            )
        }

    async def serve(self, route: HotRoute, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Never raises but for a task that is cancelled."""
        headers = header_map(scope["headers"])
        request = request_id(headers.get(b"x-request-id"))
        status = 0
        try:
            origin = Origin(request, peer_address(scope))
            require_unique(scope["headers"], headers)
            work = await self._take(route, scope, receive, origin=origin, headers=headers)
            await self._done(work)
            if work.error is not None:
                raise work.error.with_traceback(None)
            status = MULTI_STATUS if work.partial else OK
            result = work.result
            replayed = REPLAYED if result.pop("replayed", False) else ()
            await send_answer(send, status, orjson.dumps(result), request=request, headers=replayed)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - the edge of the hot path: nothing may pass it unanswered
            problem = problem_of(error)
            report(error, problem, request)
            if status == 0:
                status = problem.status
                await send_problem(send, problem, request=request)
        self._metrics.answered(route.path, status)

    async def _take(
        self,
        route: HotRoute,
        scope: Scope,
        receive: Receive,
        *,
        origin: Origin,
        headers: dict[bytes, bytes],
    ) -> HotWork:
        """Return the work that the request asks for."""
        bearer = headers.get(b"authorization")
        actor = self._bearers.known(bearer) or await self._bearers.identify(bearer, origin)
        if scope["method"] != "POST":
            raise method_not_allowed("POST")
        if scope["query_string"]:
            raise InvalidInputError(
                "query: this route has no parameters", field="query", rule="unknown_field"
            )
        require_json(headers)
        body = await read_body(receive, headers.get(b"content-length"), MAX_BODY)
        work = route.make(actor, origin, headers, body)
        self._metrics.took(route.path, work.size)
        return work

    async def _done(self, work: HotWork) -> None:
        done = asyncio.get_running_loop().create_future()
        self._vault.tokens.start(work, partial(self._deliveries.deliver, done))
        await done

    def _tokenizing(self, actor: Actor, origin: Origin, headers: Headers, body: bytes) -> HotWork:
        request = self._tokenize.read(body)
        return self._vault.tokens.tokenize(actor, origin, request, replay=_replay(headers, body))

    def _detokenizing(self, actor: Actor, origin: Origin, headers: Headers, body: bytes) -> HotWork:
        refuse_key(headers)
        request = self._detokenize.read(body)
        return self._vault.tokens.detokenize(actor, origin, request)

    def _searching(self, actor: Actor, origin: Origin, headers: Headers, body: bytes) -> HotWork:
        refuse_key(headers)
        return self._vault.tokens.search(actor, origin, self._search.read(body))


def refuse_key(headers: Headers) -> None:
    """Raise InvalidInputError for an idempotency key where none is kept: to ignore it would be a lie."""
    if KEY_HEADER in headers:
        raise InvalidInputError(
            "Idempotency-Key: this route does not keep one", field="Idempotency-Key", rule="not_supported"
        )


def _replay(headers: Headers, body: bytes) -> Replay | None:
    key = headers.get(KEY_HEADER)
    if key is None:
        return None
    if not _KEY(key):
        raise InvalidInputError(
            "Idempotency-Key: has 1 to 255 printable ASCII characters",
            field="Idempotency-Key",
            rule="pattern",
        )
    return Replay(key.decode("ascii"), sha256(body).digest())


class Deliveries:
    """Wakes those who wait in the event loop, all of a unit at once: waking the loop for each costs more."""

    def __init__(self) -> None:
        self._settled: deque[asyncio.Future[None]] = deque()
        self._waking = False

    def deliver(self, done: asyncio.Future[None]) -> None:
        """Have ``done`` settled in its loop. Called from the lane's thread."""
        self._settled.append(done)
        # After the append: whoever finds it set knows that what was appended before will be seen.
        if self._waking:
            return
        self._waking = True
        try:
            done.get_loop().call_soon_threadsafe(self._settle)
        except RuntimeError:
            # The loop is closed: the server has stopped, and the lane must not stop with it.
            self._waking = False

    def _settle(self) -> None:
        # Before anything is taken: what is appended from here on wakes the loop again.
        self._waking = False
        while self._settled:
            done = self._settled.popleft()
            if not done.done():
                done.set_result(None)
