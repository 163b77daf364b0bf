"""Who a request comes from: one bearer header becomes an actor, once, before anything else.

Guarantees
- Every route outside ``PUBLIC`` is answered 401 without a good bearer, routes
  that do not exist included.
- Where a request comes from is the address of the peer; ``X-Forwarded-For`` and
  its like are not looked at.
- An access token that has been looked at is good, without being looked at
  again, for one revision and until it ends. Session secrets are asked for in
  the database each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from typing import Final

from anyio import to_thread

from api.asgi import Application, Receive, Scope, Send
from api.bodies import header_map, require_unique
from api.errors import NOT_FOUND, HttpError
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError, SealedError
from vault.domain.model import Actor, Origin
from vault.service.sessions import Admitted, Sessions
from vault.service.vault import Vault

PUBLIC: Final = (
    ("GET", "/healthz"),
    ("GET", "/openapi.json"),
    ("GET", "/readyz"),
    ("GET", "/v1/audit/key"),
    ("POST", "/oauth2/token"),
    ("POST", "/v1/enrolment"),
    ("POST", "/v1/enrolment/finish"),
    ("POST", "/v1/password"),
    ("POST", "/v1/session"),
)
"""What somebody may ask who has not authenticated. Everything else is closed to them."""

LOOPBACK_ONLY: Final = (("GET", "/metrics"),)
"""Public to this host."""

UNSEAL: Final = "/v1/unseal"
UNSEALING: Final = (("DELETE", UNSEAL), ("GET", UNSEAL), ("POST", UNSEAL))
"""Public to the networks that an unseal may come from; to everybody else there is no such route."""

WHEN_SEALED: Final = (
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/readyz"),
    ("GET", "/v1/audit/key"),
)
"""What is answered by a process that holds no keys, beside an unseal. Everything else is ``sealed``."""

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})

SCHEME: Final = b"bearer "
STAFF_PREFIX: Final = "pvn_"
LONGEST: Final = 512

NEEDED: Final = "a bearer is needed: an access token or a session"
MOST_HELD: Final = 10_000


class Bearers:
    """Turns Authorization headers into actors. Belongs to the event loop's thread."""

    def __init__(self, sessions: Sessions, now_us: Callable[[], int]) -> None:
        self._sessions = sessions
        self._now_us = now_us
        self._held: dict[bytes, Admitted] = {}
        self._revision = -1
        self._refreshing = asyncio.Lock()
        self._refreshed_at = -1.0

    def known(self, header: bytes | None) -> Actor | None:
        """Return who has shown this header before and is still good, else None. HOT."""
        if header is None:
            return None
        if self._sessions.revision != self._revision:
            self._held.clear()
            self._revision = self._sessions.revision
        admitted = self._held.get(header)
        return None if admitted is None or self._now_us() >= admitted.until_us else admitted.actor

    async def identify(self, header: bytes | None, origin: Origin) -> Actor:
        """Return who shows this header.

        Raises AuthenticationError, SessionExpiredError, UnavailableError. A
        refusal has been counted for the log.
        """
        now_us = self._now_us()
        try:
            text = _bearer(header)
        except AuthenticationError as error:
            self._count(origin, error, "no_bearer", now_us)
            raise
        if text.startswith(STAFF_PREFIX):
            return await to_thread.run_sync(
                lambda: self._sessions.admit_staff(text, origin=origin, now_us=now_us)
            )
        try:
            admitted = self._sessions.admit_service(text, now_us)
        except AuthenticationError:
            # What is held may be behind another node, which has just issued this token.
            await self._refresh(now_us)
            try:
                admitted = self._sessions.admit_service(text, now_us)
            except AuthenticationError as error:
                self._count(origin, error, "access_token", now_us)
                raise
        self._hold(header or b"", admitted)
        return admitted.actor

    def forget(self) -> None:
        """Forget every header that was shown."""
        self._held.clear()

    def _hold(self, header: bytes, admitted: Admitted) -> None:
        if admitted.revision != self._revision or len(self._held) >= MOST_HELD:
            self._held.clear()
            self._revision = admitted.revision
        self._held[header] = admitted

    async def _refresh(self, now_us: int) -> None:
        """Refresh once for everybody who came before it began: strangers cannot make it a load."""
        clock = asyncio.get_running_loop().time
        arrived = clock()
        async with self._refreshing:
            if self._refreshed_at < arrived:
                self._refreshed_at = clock()
                await to_thread.run_sync(self._sessions.refresh, now_us)

    def _count(self, origin: Origin, error: AuthenticationError, rule: str, now_us: int) -> None:
        self._sessions.count_stranger(Action.SERVICE_AUTHENTICATE, origin, error, rule=rule, now_us=now_us)


class Gate:
    """Lets a request through with its actor in ``scope["state"]``, or raises."""

    def __init__(self, inner: Application, bearers: Bearers, near: Container[str]) -> None:
        self._inner = inner
        self._bearers = bearers
        self._near = near

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate unless the route is public. ``scope["state"]["origin"]`` is there already."""
        state = scope["state"]
        origin: Origin = state["origin"]
        headers = header_map(scope["headers"])
        require_unique(scope["headers"], headers)
        asked = scope["method"], scope["path"]
        near = origin.address in self._near
        if not is_public(*asked, origin.address) and not (near and asked in UNSEALING):
            header = headers.get(b"authorization")
            state["actor"] = self._bearers.known(header) or await self._bearers.identify(header, origin)
        if scope["path"] == UNSEAL and not near:
            raise HttpError(NOT_FOUND)
        await self._inner(scope, receive, send)


class Shutter:
    """Closes everything of a sealed vault but what takes no keys."""

    def __init__(self, vault: Vault, bearers: Bearers, near: Container[str]) -> None:
        self._vault = vault
        self._bearers = bearers
        self._near = near

    @property
    def closed(self) -> bool:
        """Whether the vault is sealed. HOT."""
        return self._vault.is_sealed

    def require_open(self, method: str, path: str, address: str) -> None:
        """Return if this may be asked now. Raises SealedError, also for what does not exist."""
        if not self._vault.is_sealed:
            return
        self._bearers.forget()
        asked = (method, path)
        if asked not in WHEN_SEALED and not (asked in UNSEALING and address in self._near):
            raise SealedError("the vault is sealed")


def is_public(method: str, path: str, address: str) -> bool:
    """Say whether a route may be asked without a bearer from this address."""
    asked = (method, path)
    return asked in PUBLIC or (asked in LOOPBACK_ONLY and address in LOOPBACK)


def _bearer(header: bytes | None) -> str:
    if header is None or header[: len(SCHEME)].lower() != SCHEME or len(header) > LONGEST:
        raise AuthenticationError(NEEDED)
    return header[len(SCHEME) :].strip().decode("latin-1")
