"""The outermost application: every request comes through here, and no exception leaves it.

Gives each request its id and origin, sends the hot path its own way, puts the
headers on that every answer has, counts, and turns whatever was raised into a
problem document. Runs the vault's start and stop with the server's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from anyio import to_thread

from api.asgi import (
    SECURITY_HEADERS,
    Application,
    Message,
    Receive,
    Scope,
    Send,
    peer_address,
    request_id,
    send_problem,
)
from api.bodies import header_map
from api.errors import problem_of
from api.faults import report
from api.metrics import OTHER, Metrics
from api.session import Shutter
from api.v1.hot import HotRoutes, refuse_key
from vault.domain.model import Origin

THREADS: Final = 8
"""Off the loop: enough to wait for a database side by side, fewer than it has connections."""

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Edge:
    """The application that a server runs."""

    def __init__(
        self,
        hot: HotRoutes,
        gate: Application,
        metrics: Metrics,
        shutter: Shutter,
        *,
        start: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._hot = hot
        self._routes = hot.routes
        self._gate = gate
        self._metrics = metrics
        self._shutter = shutter
        self._start = start
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        kind = scope["type"]
        if kind == "http":
            route = self._routes.get(scope["path"])
            if route is not None and not self._shutter.closed:
                await self._hot.serve(route, scope, receive, send)
            else:
                await self._serve(scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1002})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is not on the hot path."""
        headers = header_map(scope["headers"])
        request = request_id(headers.get(b"x-request-id"))
        state = scope["state"] = dict(scope.get("state") or {})
        state["origin"] = Origin(request, peer_address(scope))
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if "gone" in state:
                # Whoever asked has hung up; what the framework answers all the same goes nowhere.
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                kept = [header for header in message.get("headers", ()) if header[0].lower() not in _OURS]
                ours = (*SECURITY_HEADERS, (b"x-request-id", request.encode("ascii")))
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        try:
            self._shutter.require_open(scope["method"], scope["path"], state["origin"].address)
            if scope["method"] not in READS:
                refuse_key(headers)
            await self._gate(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the edge of the process: nothing may pass it unanswered
            problem = problem_of(error)
            report(error, problem, request)
            if status == 0:
                status = problem.status
                await send_problem(send, problem, request=request)
        if "gone" not in state:
            self._metrics.answered(_label(scope), status)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        self._start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await to_thread.run_sync(self._stop)
        await send({"type": "lifespan.shutdown.complete"})


_OURS: Final = frozenset(name for name, _ in SECURITY_HEADERS) | {b"x-request-id"}


def _label(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", OTHER)
