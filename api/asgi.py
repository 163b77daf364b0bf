"""The few words of ASGI spoken here, and the raw answer that the hot path sends.

Every answer carries ``Cache-Control: no-store``, ``X-Content-Type-Options:
nosniff`` and the request id.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from api.errors import PROBLEM_TYPE, Header, Problem
from vault.domain.ids import RequestId

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_TYPE: Final = b"application/json"

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)

UNKNOWN_ADDRESS: Final = "unknown"
"""Of a peer on a socket that has no addresses; no network limit lets it in."""

_REQUEST_ID: Final = re.compile(rb"req_[0-9a-f]{32}").fullmatch


def request_id(given: bytes | None) -> RequestId:
    """Return the caller's own request id if it is one, else a new one."""
    if given is not None and _REQUEST_ID(given):
        return RequestId(given.decode("ascii"))
    return RequestId("req_" + secrets.token_hex(16))


def peer_address(scope: Scope) -> str:
    """Return the address of the peer. Headers that claim another one are not looked at."""
    client = scope.get("client")
    return client[0] if client else UNKNOWN_ADDRESS


async def send_answer(
    send: Send,
    status: int,
    body: bytes,
    *,
    request: str,
    media_type: bytes = JSON_TYPE,
    headers: Iterable[Header] = (),
) -> None:
    """Send a whole answer. HOT."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", media_type),
                (b"content-length", b"%d" % len(body)),
                *SECURITY_HEADERS,
                (b"x-request-id", request.encode("ascii")),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_problem(send: Send, problem: Problem, *, request: str) -> None:
    """Send a problem document."""
    await send_answer(
        send,
        problem.status,
        problem.body(request),
        request=request,
        media_type=PROBLEM_TYPE,
        headers=problem.headers,
    )
