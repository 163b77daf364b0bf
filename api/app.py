"""Put the application together for one open vault."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.edge import Edge
from api.errors import (
    INTERNAL,
    NOT_FOUND,
    PROBLEM_TYPE,
    ClientGoneError,
    HttpError,
    Problem,
    method_not_allowed,
    problem_of,
)
from api.faults import report
from api.metrics import Metrics
from api.session import Bearers, Gate, Shutter
from api.v1 import (
    certificates,
    entrance,
    health,
    keys,
    oauth,
    oversight,
    people,
    rights,
    sealing,
    single,
    subjects,
)
from api.v1.calls import HashingQueue
from api.v1.documents import openapi_document
from api.v1.hot import HotRoutes
from vault.domain.errors import InvalidInputError, VaultError
from vault.service.unsealing import THIS_HOST, Near
from vault.service.vault import Vault

VERSION: Final = "0.1.0"

DESCRIPTION: Final = (
    "Swaps personal data for tokens and back, for a declared purpose, and logs who saw what. "
    "Personal data is in bodies only, never in a path or a query."
)

_ROUTERS: Final = (
    entrance.router,
    oauth.router,
    people.router,
    rights.router,
    single.router,
    subjects.router,
    oversight.router,
    keys.router,
    sealing.router,
    certificates.router,
    health.router,
)

_RULES: Final = {
    "missing": "required",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "string_pattern_mismatch": "pattern",
    "greater_than_equal": "range",
    "less_than_equal": "range",
    "greater_than": "range",
    "less_than": "range",
    "literal_error": "choice",
    "enum": "choice",
}
"""Rules of parameters by the words of the library that checks them. Others are ``type``."""


def build_app(vault: Vault, unseal_networks: Iterable[str] = THIS_HOST) -> Edge:
    """Return the ASGI application of ``vault``, whose upkeep it starts and which it closes at the end.

    An unseal may come from ``unseal_networks``, in CIDR form. Raises InvalidInputError.
    """
    metrics = Metrics()
    bearers = Bearers(vault.sessions, vault.now_us)
    near = Near(unseal_networks)
    inner = routed()
    inner.state.vault = vault
    inner.state.metrics = metrics
    inner.state.hashing = HashingQueue()
    return Edge(
        HotRoutes(vault, bearers, metrics),
        Gate(inner, bearers, near),
        metrics,
        Shutter(vault, bearers, near),
        start=vault.start,
        stop=vault.close,
    )


def routed() -> FastAPI:
    """Return what is behind the edge: every route off the hot path, and the document of all of them."""
    app = FastAPI(
        title="piivault",
        version=VERSION,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            VaultError: _raised,
            HttpError: _raised,
            ClientGoneError: _gone,
            RequestValidationError: _wrong_parameter,
            HTTPException: _no_route,
            Exception: _unforeseen,
        },
    )
    for router in _ROUTERS:
        app.include_router(router)
    document = app.state.document = openapi_document(app)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        """Return this document."""
        return Response(document, media_type="application/json")

    return app


async def _raised(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    report(error, problem, request.scope["state"]["origin"].request)
    return _answered(request, problem)


async def _gone(request: Request, _error: Exception) -> Response:
    request.scope["state"]["gone"] = True
    return Response()


async def _unforeseen(request: Request, _error: Exception) -> Response:
    # Raised again after this, and reported where it arrives: api.edge.
    return _answered(request, INTERNAL)


async def _wrong_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # it is registered for that
    return _answered(request, problem_of(_explained(error.errors())))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # it is registered for that
    if error.status_code == method_not_allowed("").problem.status:
        allowed = (error.headers or {}).get("Allow", "")
        return _answered(request, method_not_allowed(allowed).problem)
    return _answered(request, NOT_FOUND)


def _explained(errors: Iterable[Any]) -> InvalidInputError:
    """Return the first of FastAPI's errors without what was sent: it names a parameter that a route has."""
    first = next(iter(errors))
    name = str(first["loc"][-1])
    rule = _RULES.get(first["type"], "type")
    return InvalidInputError(f"{name}: is not as this parameter has to be ({rule})", field=name, rule=rule)


def _answered(request: Request, problem: Problem) -> Response:
    request_id = request.scope["state"]["origin"].request
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in problem.headers}
    return Response(
        problem.body(request_id),
        status_code=problem.status,
        headers=headers,
        media_type=PROBLEM_TYPE.decode("ascii"),
    )
