"""What every endpoint behind FastAPI starts from and ends with.

An endpoint is a plain function on a thread: it gets a :class:`Call` and a
decoded body, asks the façade, and returns the bytes of its answer. FastAPI
routes and documents; it neither decodes nor encodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Path, Request, Response

from api.bodies import Reader, read_body, require_json
from vault.domain.errors import InvalidInputError, UnavailableError
from vault.domain.model import STRANGER, Origin
from vault.service import Made
from vault.service import Request as VaultRequest
from vault.service.vault import Vault

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

MAX_SMALL_BODY: Final = 64 * 1024
"""Of every route off the hot path: nothing there needs more."""

MOST_WAITING: Final = 40
"""So many may wait for a password to be hashed, about two seconds; the next one is told to come back."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the façade. ``request.actor`` is ``STRANGER`` on public routes."""

    vault: Vault
    request: VaultRequest

    @property
    def origin(self) -> Origin:
        """Where it came from."""
        return self.request.origin

    @property
    def now_us(self) -> int:
        """When it came."""
        return self.request.now_us


class HashingQueue:
    """Runs what hashes a password on a few threads, and bounds who waits for them."""

    def __init__(self, at_once: int = 2) -> None:
        self._limiter = CapacityLimiter(at_once)
        self._most = at_once + MOST_WAITING
        self._taken = 0

    async def run(self, act: Callable[[], T]) -> T:
        """Return what ``act`` returns, once its turn has come. Raises UnavailableError when too many wait."""
        if self._taken >= self._most:
            raise UnavailableError("too many people are logging in at this moment; come back")
        self._taken += 1
        try:
            return await to_thread.run_sync(act, limiter=self._limiter)
        finally:
            self._taken -= 1


async def _call(request: Request) -> Call:
    vault: Vault = request.app.state.vault
    _require_known_query(request)
    state = request.scope["state"]
    asked = VaultRequest(actor=state.get("actor", STRANGER), origin=state["origin"], now_us=vault.now_us())
    return Call(vault, asked)


async def _hashing(request: Request) -> HashingQueue:
    queue: HashingQueue = request.app.state.hashing
    return queue


Asked = Annotated[Call, Depends(_call)]
Hashing = Annotated[HashingQueue, Depends(_hashing)]


def _identity(prefix: str, title: str) -> Any:
    return Path(pattern=f"^{prefix}_[0-9a-f]{{20}}$", description=title)


StaffPath = Annotated[str, _identity("stf", "id of a staff member")]
ServicePath = Annotated[str, _identity("svc", "id of a service")]
GrantPath = Annotated[str, _identity("grt", "id of a grant")]
ApprovalPath = Annotated[str, _identity("apr", "id of an approval")]


def reading(shape: type[S], *, optional: bool = False, most: int = MAX_SMALL_BODY) -> Any:
    """Return the dependency that reads a body of ``shape``, of ``most`` bytes.

    ``optional``: an empty one is ``{}``.
    """
    reader = Reader(shape)

    async def read(request: Request) -> S:
        body = await read_body(request.receive, _declared(request), most)
        if optional and not body:
            body = b"{}"
        else:
            require_json(dict(request.scope["headers"]))
        return reader.read(body)

    return Depends(read)


async def _refuse_body(request: Request) -> None:
    if await read_body(request.receive, _declared(request), MAX_SMALL_BODY) not in {b"", b"{}"}:
        raise InvalidInputError("body: this route takes none", field="body", rule="unknown_field")


NO_BODY: Final = Depends(_refuse_body)
"""For routes that take nothing: what was sent in vain is not passed over in silence."""


def _declared(request: Request) -> bytes | None:
    return dict(request.scope["headers"]).get(b"content-length")


def _require_known_query(request: Request) -> None:
    given = request.query_params.multi_items()
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    names = [name for name, _ in given]
    if not known.issuperset(names):
        raise InvalidInputError("query: has a parameter not known here", field="query", rule="unknown_field")
    if len(set(names)) != len(names):
        raise InvalidInputError("query: has a parameter twice", field="query", rule="duplicate")


def answer(content: object, status: int = 200) -> Response:
    """Return an answer of ``content`` as JSON."""
    return Response(msgspec.json.encode(content), status_code=status, media_type="application/json")


def nothing() -> Response:
    """Return an answer without a body."""
    return Response(status_code=204)


def logged(made: Made[Any]) -> dict[str, Any]:
    """Return the two members that say where in the log an act is."""
    return {"log_index": made.receipt.index, "leaf_hash": made.receipt.leaf_hash.hex()}


def moment(at_us: int) -> str:
    """Return a time of the façade as RFC 3339 text in UTC."""
    return (_EPOCH + timedelta(microseconds=at_us)).isoformat()


def moment_or_none(at_us: int | None) -> str | None:
    """Return ``moment`` of a time that may not have come."""
    return None if at_us is None else moment(at_us)
