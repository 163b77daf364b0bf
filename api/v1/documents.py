"""What every route says about itself in ``/openapi.json``.

Shapes are documented from the types that decode and encode them, so that the
document cannot say one thing and the code do another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.v1 import asked, sealed, suspicion, told, told_certificates, told_subjects
from api.v1.examples import EXAMPLES
from api.v1.hot_examples import HOT_OPERATIONS
from vault.domain.actions import Action
from vault.service.tokens import DetokenizeRequest, SearchRequest, TokenizeRequest

REFERENCE: Final = "#/components/schemas/{name}"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

Security = list[dict[str, list[str]]]

PROTECTED: Final[Security] = [{"service": []}, {"staff": []}]
PUBLIC: Final[Security] = []

ALWAYS: Final = (500, 503)
WITH_BEARER: Final = (401, 403)
WITH_BODY: Final = (400, 408, 413, 415, 422)

_MEANINGS: Final[Mapping[int, str]] = {
    400: "The request is not well-formed: JSON, encoding or headers.",
    401: "Who is asking could not be established.",
    403: "The decision says no. What is unknown and what is forbidden look alike.",
    404: "There is no such thing, or it is not for this caller.",
    405: "This route has no such method.",
    408: "The body did not arrive in time.",
    409: "It exists, was decided or has changed already.",
    410: "The token was revoked, or the subject erased.",
    413: "The body is over the cap.",
    415: "The body is of another type.",
    422: "The body or a parameter is not of the shape, names field and rule.",
    429: "Too many attempts; Retry-After says when to come back.",
    500: "Something is wrong here. Nothing was revealed.",
    503: "The vault cannot serve now: sealed, log_unavailable, outcome_unknown, unavailable.",
}

PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457. Never holds a value that was sent.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; to be decided by."},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "pattern": "^req_[0-9a-f]{32}$"},
        "field": {"type": "string", "description": "Path of the member at fault."},
        "rule": {"type": "string", "description": "What it breaks."},
    },
    "required": ["type", "title", "status", "code", "detail", "request_id"],
}

PROBLEM_EXAMPLE: Final[dict[str, Any]] = {
    "type": "urn:piivault:problem:invalid_input",
    "title": "Invalid input",
    "status": 422,
    "code": "invalid_input",
    "detail": "items[3].value: is missing",
    "request_id": "req_3f9a1c0b5d7e4f6a8b2c9d0e1f3a5b7c",
    "field": "items[3].value",
    "rule": "required",
}

SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "service": {
        "type": "oauth2",
        "description": "Access token of a service, good for ten minutes.",
        "flows": {"clientCredentials": {"tokenUrl": "/oauth2/token", "scopes": {}}},
    },
    "staff": {
        "type": "http",
        "scheme": "bearer",
        "description": "Session of a person, from POST /v1/session.",
    },
    "client": {
        "type": "http",
        "scheme": "basic",
        "description": "Client id and secret of a service, at /oauth2/token only.",
    },
}


def documented(
    action: Action | None,
    summary: str,
    *,
    answer: type[msgspec.Struct] | None,
    body: type[msgspec.Struct] | None = None,
    status: int = 200,
    errors: Iterable[int] = (),
    security: Security | None = None,
) -> dict[str, Any]:
    """Return the arguments of a route decorator that document it."""
    protected = security is None
    codes = {*errors, *ALWAYS, *(WITH_BEARER if protected else ()), *(WITH_BODY if body else ()), 422}
    extra: dict[str, Any] = {"security": PROTECTED if security is None else security}
    if action is not None:
        extra["x-piivault-action"] = action.value
    if body is not None:
        extra["requestBody"] = request_body(body)
    return {
        "summary": summary,
        "status_code": status,
        "responses": {status: success(answer), **problems(codes)},
        "openapi_extra": extra,
    }


def request_body(body: type[msgspec.Struct], example: Any = None) -> dict[str, Any]:
    """Return the documentation of a JSON body, with ``example`` or the one of its shape."""
    reference = {"$ref": REFERENCE.format(name=body.__name__)}
    return {"required": True, "content": {JSON: {"schema": reference, "example": example or EXAMPLES[body]}}}


def success(answer: type[msgspec.Struct] | None) -> dict[str, Any]:
    """Return the documentation of a success."""
    if answer is None:
        return {"description": "Done."}
    description = (answer.__doc__ or "Done.").splitlines()[0]
    content = {"schema": {"$ref": REFERENCE.format(name=answer.__name__)}, "example": EXAMPLES[answer]}
    return {"description": description, "content": {JSON: content}}


def problems(codes: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of everything that is not a success."""
    reference = {"$ref": REFERENCE.format(name="Problem")}
    return {
        code: {"description": _MEANINGS[code], "content": {PROBLEM: {"schema": reference}}}
        for code in sorted(codes)
    }


def openapi_document(app: FastAPI) -> bytes:
    """Return ``/openapi.json``: what FastAPI knows of its routes, and the hot path beside them."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for path, operation in HOT_OPERATIONS.items():
        document["paths"][path] = {"post": _hot(**operation)}
    components = document.setdefault("components", {})
    components["schemas"] = _schemas()
    components["securitySchemes"] = SECURITY_SCHEMES
    document["paths"] = dict(sorted(document["paths"].items()))
    return msgspec.json.encode(document)


def _hot(
    *,
    action: Action,
    summary: str,
    body: type[msgspec.Struct],
    example: dict[str, Any],
    answer: dict[str, Any],
) -> dict[str, Any]:
    codes = {*ALWAYS, *WITH_BEARER, *WITH_BODY, 429}
    replayed = {"description": "true when this answers an earlier request", "schema": {"type": "string"}}
    headers = {"Idempotency-Replayed": replayed} if action is Action.TOKEN_TOKENIZE else {}
    parameters = [_KEY_PARAMETER] if action is Action.TOKEN_TOKENIZE else []
    responses: dict[str, Any] = {
        "200": {"description": "Every item is done.", "headers": headers, "content": {JSON: answer}},
        "207": {
            "description": "Some item has an error of its own.",
            "headers": headers,
            "content": {JSON: answer},
        },
    }
    if action is Action.TOKEN_TOKENIZE:
        codes.add(409)
    responses |= {str(code): problem for code, problem in problems(codes).items()}
    return {
        "summary": summary,
        "operationId": action.name.lower(),
        "x-piivault-action": action.value,
        "security": PROTECTED,
        "parameters": parameters,
        "requestBody": request_body(body, example),
        "responses": responses,
    }


_KEY_PARAMETER: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Kept for a day: asking again with the same key and body does nothing twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


_SHAPED: Final = (asked, sealed, suspicion, told, told_certificates, told_subjects)
"""Modules with the shapes of bodies."""


def _types(module: ModuleType) -> Iterable[type]:
    return (found for found in vars(module).values() if isinstance(found, type))


def _schemas() -> dict[str, Any]:
    """Return the schemas of every shape, by name."""
    kinds = [
        kind
        for kind in dict.fromkeys(kind for module in _SHAPED for kind in _types(module))
        if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct
    ]
    kinds += [TokenizeRequest, DetokenizeRequest, SearchRequest]
    _, found = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    return dict(sorted({**found, "Problem": {**PROBLEM_SCHEMA, "example": PROBLEM_EXAMPLE}}.items()))
