"""Whether it is alive, whether to send requests here, and what has been counted."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from api.metrics import MEDIA_TYPE, Gauges, Metrics
from api.v1.calls import Asked, answer
from api.v1.documents import PUBLIC, documented, problems
from api.v1.told import HealthAnswer, ReadyAnswer
from vault.domain.errors import VaultError
from vault.service.vault import Vault

router: Final = APIRouter(tags=["health"])

UNREADY: Final = 503


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
    status = call.vault.status()
    gauges = Gauges(
        log_index=status.next_index,
        integrated=status.health.integrated,
        revision=status.revision,
        trouble=bool(status.health.trouble),
    )
    return Response(counted.render(gauges), headers={"content-type": MEDIA_TYPE.decode("ascii")})


def _reasons(vault: Vault) -> tuple[str, ...]:
    reasons = []
    try:
        if vault.status().sealed:
            reasons.append("sealed")
    except VaultError as error:
        reasons.append(error.code)
    trouble = vault.upkeep.health.trouble
    if trouble and trouble not in reasons:
        reasons.append(trouble)
    return tuple(reasons)
