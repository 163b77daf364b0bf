"""``POST /oauth2/token``: client credentials (RFC 6749 section 4.4), the client by HTTP Basic.

Errors are those of RFC 6749 section 5.2. What is wrong with a client is not
said: unknown, wrong secret, expired, revoked and from another network look alike.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request, Response

from api.bodies import read_body
from api.errors import unsupported_media_type
from api.v1 import told
from api.v1.calls import Asked, Call, answer
from api.v1.documents import problems, success
from vault.domain.actions import Action
from vault.domain.errors import AuthenticationError

router: Final = APIRouter(tags=["entrance"])

FORM: Final = b"application/x-www-form-urlencoded"
MAX_FORM: Final = 4_096
MOST_PARAMETERS: Final = 10
LONGEST_HEADER: Final = 1_024
SCHEME: Final = b"basic "
UNAUTHORIZED: Final = 401

CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="piivault"'}


class _RefusedError(Exception):
    """A request that is not one of RFC 6749."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


_ERROR: Final[dict[str, Any]] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "error": {
                        "enum": [
                            "invalid_request",
                            "invalid_client",
                            "unsupported_grant_type",
                            "invalid_scope",
                        ]
                    }
                },
                "required": ["error"],
            }
        }
    }
}


@router.post(
    "/oauth2/token",
    summary="Issue an access token to a service",
    responses={
        200: success(told.TokenAnswer),
        400: {"description": "The request is not one of RFC 6749.", **_ERROR},
        401: {"description": "The client could not be authenticated.", **_ERROR},
        **problems([413, 415, 422, 500, 503]),
    },
    openapi_extra={
        "x-piivault-action": Action.SERVICE_AUTHENTICATE.value,
        "security": [{"client": []}],
        "requestBody": {
            "required": True,
            "content": {
                FORM.decode(): {
                    "schema": {
                        "type": "object",
                        "properties": {"grant_type": {"const": "client_credentials"}},
                        "required": ["grant_type"],
                    }
                }
            },
        },
    },
)
async def issue(call: Asked, request: Request) -> Response:
    """Issue an access token, good for ten minutes, for a client id and secret."""
    headers = dict(request.scope["headers"])
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != FORM:
        raise unsupported_media_type(FORM.decode())
    body = await read_body(request.receive, headers.get(b"content-length"), MAX_FORM)
    try:
        _require_grant(body)
        client_id, secret = _client(headers.get(b"authorization"), call)
        issued = await to_thread.run_sync(
            lambda: call.vault.sessions.issue_access_token(
                client_id, secret, origin=call.origin, now_us=call.now_us
            )
        )
    except AuthenticationError:
        return _refusal("invalid_client", UNAUTHORIZED)
    except _RefusedError as refused:
        return _refusal(refused.code, 400)
    return answer(told.TokenAnswer(issued.text.expose(), "Bearer", issued.expires_in))


def _require_grant(body: bytes) -> None:
    """Raise _RefusedError unless the form asks for client credentials and for nothing else."""
    try:
        form = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError:
        raise _RefusedError("invalid_request") from None
    parameters = dict(form)
    if len(parameters) != len(form) or "grant_type" not in parameters:
        raise _RefusedError("invalid_request")
    if parameters.pop("grant_type") != "client_credentials":
        raise _RefusedError("unsupported_grant_type")
    if parameters.keys() == {"scope"}:
        raise _RefusedError("invalid_scope")
    if parameters:
        # Client credentials in the body among them: they end up in logs of forms.
        raise _RefusedError("invalid_request")


def _client(header: bytes | None, call: Call) -> tuple[str, str]:
    """Return client id and secret of a Basic header. Raises AuthenticationError, counted for the log."""
    try:
        if header is None or len(header) > LONGEST_HEADER or header[: len(SCHEME)].lower() != SCHEME:
            raise ValueError
        shown = b64decode(header[len(SCHEME) :].strip(), validate=True).decode("ascii")
        client_id, colon, secret = shown.partition(":")
        if not colon:
            raise ValueError
        # RFC 6749 section 2.3.1: both were form-encoded before they were joined.
        return unquote_plus(client_id), unquote_plus(secret)
    except ValueError:
        error = AuthenticationError("the client could not be authenticated")
    call.vault.sessions.count_stranger(
        Action.SERVICE_AUTHENTICATE, call.origin, error, rule="no_client", now_us=call.now_us
    )
    raise error


def _refusal(code: str, status: int) -> Response:
    return Response(
        orjson.dumps({"error": code}),
        status_code=status,
        media_type="application/json",
        headers=CHALLENGE if status == UNAUTHORIZED else None,
    )
