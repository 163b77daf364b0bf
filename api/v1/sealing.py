"""Seal the vault, and open a sealed one: by passphrase, or share by share."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Response

from api.v1.calls import NO_BODY, Asked, Call, answer, logged, nothing, reading
from api.v1.documents import PUBLIC, documented
from api.v1.sealed import SealBody, SealedAnswer, SealStateAnswer, UnsealBody
from vault.domain.actions import Action
from vault.domain.errors import InvalidInputError

router: Final = APIRouter(tags=["sealing"])

MAX_BODY: Final = 4 * 1024
"""A share has some 300 bytes, a passphrase at most 1,024 characters."""


@router.post(
    "/v1/seal",
    **documented(Action.VAULT_SEAL, "Seal the vault on every node", body=SealBody, answer=SealedAnswer),
)
def seal(call: Asked, body: Annotated[SealBody, reading(SealBody, optional=True)]) -> Response:
    """Seal: from this entry of the log on nothing is given out, on any node. Only a person opens it again."""
    made = call.vault.seal(call.request, body.reason)
    return answer(SealedAnswer(**logged(made)))


@router.get(
    "/v1/unseal",
    **documented(None, "Say how far an unseal is", answer=SealStateAnswer, errors=(404,), security=PUBLIC),
)
def show_unseal(call: Asked) -> Response:
    """Tell what is needed. Like the other methods for this host, and networks of the settings, alone."""
    return answer(_state(call))


@router.post(
    "/v1/unseal",
    **documented(
        Action.VAULT_UNSEAL,
        "Give a share or the passphrase",
        body=UnsealBody,
        answer=SealStateAnswer,
        errors=(404, 409, 429),
        security=PUBLIC,
    ),
)
def unseal(call: Asked, body: Annotated[UnsealBody, reading(UnsealBody, most=MAX_BODY)]) -> Response:
    """Give what opens the root key. With enough shares, or the passphrase, this process serves again."""
    if (body.share is None) is (body.passphrase is None):
        raise InvalidInputError("body: a share or a passphrase, one of them", field="body", rule="required")
    unsealing = call.vault.unsealing
    index: int | None
    if body.share is not None:
        index = unsealing.share(body.share, origin=call.origin, now_us=call.now_us)
    else:
        index = unsealing.passphrase(body.passphrase or "", origin=call.origin, now_us=call.now_us)
    return answer(_state(call, index))


@router.delete(
    "/v1/unseal",
    dependencies=[NO_BODY],
    **documented(None, "Drop the shares collected", answer=None, status=204, errors=(404,), security=PUBLIC),
)
def drop_shares(call: Asked) -> Response:
    """Begin again, for instance when the first share was of another set."""
    call.vault.unsealing.drop()
    return nothing()


def _state(call: Call, index: int | None = None) -> SealStateAnswer:
    state = call.vault.unsealing.state()
    return SealStateAnswer(
        sealed=state.why is not None,
        why=state.why,
        holder=state.holder,
        given=state.given,
        needed=state.needed,
        log_index=index,
    )
