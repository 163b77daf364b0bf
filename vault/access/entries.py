"""What the log says about acts of this package."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

from keys.envelope import NONCE_LENGTH
from keys.keyring import Keyring
from vault.access.identities import moment
from vault.audit.entry import NO_DECISION, Decision, Entry, entry_id
from vault.audit.reasons import seal_reason
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError, InvalidInputError, VaultError
from vault.domain.ids import RequestId
from vault.domain.model import Actor, ActorKind, Origin, Outcome

VAULT: Final = Actor(kind=ActorKind.OPERATOR, id="vault", name="vault")
"""Who speaks where the vault itself has found something."""

HOST: Final = Actor(kind=ActorKind.OPERATOR, id="host", name="host")
"""Whoever has a shell on the host of the vault: nobody's account says who."""


@dataclass(frozen=True, slots=True)
class Request:
    """One act asked for: who, from where, when."""

    actor: Actor
    origin: Origin
    now_us: int


def entry(
    request: Request,
    action: Action,
    *,
    target: dict[str, str] | None = None,
    decision: Decision = NO_DECISION,
    outcome: Outcome = Outcome.DONE,
    error: str = "",
    count: int = 1,
) -> Entry:
    """Return the entry of ``request``. ``target`` names the vault's own things it was about."""
    at = moment(request.now_us)
    return Entry(
        id=entry_id(at, secrets.token_bytes(10)),
        time=at,
        actor=request.actor,
        origin=request.origin,
        action=action,
        outcome=outcome,
        error=error,
        decision=decision,
        target=tuple(sorted((target or {}).items())),
        count=count,
    )


def refused(
    request: Request,
    action: Action,
    error: VaultError,
    *,
    target: dict[str, str] | None = None,
    decision: Decision = NO_DECISION,
) -> Entry:
    """Return the entry of a refusal."""
    return entry(request, action, target=target, decision=decision, outcome=Outcome.REFUSED, error=error.code)


def rule_of(error: VaultError) -> str:
    """Return the rule that a refusal names, if it names one."""
    return error.rule if isinstance(error, AccessDeniedError | InvalidInputError) else ""


def with_reason(said: Entry, reason: str, keyring: Keyring) -> tuple[Entry, tuple[bytes, bytes]]:
    """Return the entry with the hash of its sealed reason, and the note to store: hash and ciphertext."""
    digest, sealed = seal_reason(keyring, said.id, reason, nonce=secrets.token_bytes(NONCE_LENGTH))
    return replace(said, note=digest.hex()), (digest, sealed)


def own_origin() -> Origin:
    """Return the origin of something the vault notices by itself."""
    return Origin(request=RequestId("req_" + secrets.token_hex(16)), address="local")
