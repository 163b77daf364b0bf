"""One token: what it stands for without opening it, and revoking it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from api.v1.calls import NO_BODY, Asked, answer
from api.v1.documents import documented
from api.v1.told import TokenView
from vault.domain.actions import Action

router: Final = APIRouter(tags=["tokens"])

TokenPath = Annotated[str, Path(max_length=64, description="text of the token")]
PurposeQuery = Annotated[str, Query(max_length=64, description="purpose, where the grant is limited to some")]


@router.get(
    "/v1/tokens/{token}",
    **documented(
        Action.TOKEN_SHOW,
        "Show what a token is, without opening it",
        answer=TokenView,
        errors=(404,),
    ),
)
def show_token(call: Asked, token: TokenPath, purpose: PurposeQuery = "") -> Response:
    """Show a token. 404 for one that is unknown, and for one that is not for this caller."""
    request = call.request
    work = call.vault.tokens.show(request.actor, request.origin, token=token, purpose=purpose)
    return answer(call.vault.tokens.complete(work))


@router.delete(
    "/v1/tokens/{token}",
    dependencies=[NO_BODY],
    **documented(
        Action.TOKEN_REVOKE,
        "Destroy the sealed copy behind a token",
        answer=TokenView,
        errors=(404, 410),
    ),
)
def revoke_token(call: Asked, token: TokenPath, purpose: PurposeQuery = "") -> Response:
    """Revoke a token. Nothing brings its value back; other tokens of the same value keep theirs."""
    request = call.request
    work = call.vault.tokens.revoke(request.actor, request.origin, token=token, purpose=purpose)
    return answer(call.vault.tokens.complete(work))
