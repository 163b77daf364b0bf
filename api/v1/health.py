"""Whether it is alive, whether to send requests here, and what has been counted."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from api.metrics import MEDIA_TYPE, Gauges, Metrics
from api.v1.calls import Asked, answer
from api.v1.documents import PUBLIC, documented, problems
from api.v1.sealed import SealedHealthAnswer
from api.v1.told import HealthAnswer, ReadyAnswer
from vault.domain.errors import SealedError, VaultError
from vault.service.unsealing import Why
from vault.service.upkeep import HolderError
from vault.service.vault import Vault

router: Final = APIRouter(tags=["health"])

UNREADY: Final = 503

HOLDER: Final = HolderError.code
"""Trouble that stops no request: it is the next start that would fail."""


@router.get(
    "/healthz",
    **documented(
        None,
        "Say whether the process is alive",
        answer=HealthAnswer,
        security=PUBLIC,
    ),
)
async def alive(_call: Asked) -> Response:
    """Answer as long as the process can answer. Asks nothing."""
    return answer(HealthAnswer("alive"))


@router.get(
    "/readyz",
    **documented(
        None,
        "Say whether requests should come here",
        answer=ReadyAnswer,
        security=PUBLIC,
    ),
)
def ready(call: Asked) -> Response:
    """503 with the reasons when the vault is sealed, its database away, or its log does not verify."""
    reasons = _reasons(call.vault)
    if "sealed" in reasons and (told := _sealed(call.vault, reasons)) is not None:
        return answer(told, UNREADY)
    if reasons:
        return answer(HealthAnswer("unready", reasons), UNREADY)
    return answer(ReadyAnswer("ready", keys=call.vault.status().keys.value))


@router.get(
    "/metrics",
    summary="Counts for Prometheus",
    responses={
        200: {"description": "Text format 0.0.4.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems([401, 422, 500, 503]),
    },
    openapi_extra={"security": [{}, {"service": []}, {"staff": []}]},
)
def metrics(call: Asked, request: Request) -> Response:
    """Show counts by route and status. Without a bearer for this host only."""
    counted: Metrics = request.app.state.metrics
    counts = call.vault.counts()
    gauges = Gauges(
        log_index=counts.next_index,
        integrated=counts.integrated,
        revision=counts.revision,
        trouble=bool(counts.trouble),
        background_trouble=bool(counts.background_trouble),
        sealed=counts.sealed,
    )
    return Response(counted.render(gauges), headers={"content-type": MEDIA_TYPE.decode("ascii")})


def _sealed(vault: Vault, reasons: tuple[str, ...]) -> SealedHealthAnswer | None:
    """Return what a sealed process waits for; None when the database cannot be asked."""
    try:
        state = vault.unsealing.state()
    except VaultError:
        return None
    # Of a vault that was sealed a moment ago this process may not know yet.
    return SealedHealthAnswer(
        "unready",
        reasons,
        why=state.why or Why.SEALED,
        holder=state.holder,
        given=state.given,
        needed=state.needed,
    )


def _reasons(vault: Vault) -> tuple[str, ...]:
    reasons = []
    try:
        if vault.counts().sealed:
            reasons.append("sealed")
    except VaultError as error:
        reasons.append(error.code)
    trouble = vault.upkeep.health.trouble
    # That it was sealed in the last round says nothing of now; the line above does.
    if trouble and trouble not in {*reasons, SealedError.code, HOLDER}:
        reasons.append(trouble)
    return tuple(reasons)
