"""What the log says about acts of this package."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

from keys.envelope import NONCE_LENGTH
from keys.keyring import Keyring
from vault.access.identities import moment
from vault.audit.entry import NO_DECISION, Decision, Entry, entry_id
from vault.audit.packing import Items
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
    """One act asked for: who, from where, when, and why if they said."""

    actor: Actor
    origin: Origin
    now_us: int
    reason: str = ""
    """In the words of whoever asks. It is screened and sealed before it comes to the log."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the entry of an act on personal data says beside its target."""

    decision: Decision = NO_DECISION
    purpose: str = ""
    """Code of a purpose that the policy knows."""
    reason: str = ""
    """As screened; it is sealed beside the log."""
    items: Items | None = None


def with_said(keyring: Keyring, before: Entry, said: Said) -> tuple[Entry, list[tuple[bytes, bytes]]]:
    """Return the entry with what ``said`` says, and the sealed reason as a note, where one was given."""
    after = replace(before, decision=said.decision, purpose=said.purpose, items=said.items)
    if not said.reason:
        return after, []
    digest, sealed = seal_reason(keyring, before.id, said.reason, nonce=secrets.token_bytes(NONCE_LENGTH))
    return replace(after, note=digest.hex()), [(digest, sealed)]


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
    purpose: str = "",
) -> Entry:
    """Return the entry of a refusal. ``purpose`` is one that the policy knows, or empty."""
    said = entry(request, action, target=target, decision=decision, outcome=Outcome.REFUSED, error=error.code)
    return replace(said, purpose=purpose)


def rule_of(error: VaultError) -> str:
    """Return the rule that a refusal names, if it names one."""
    return error.rule if isinstance(error, AccessDeniedError | InvalidInputError) else ""


def own_origin() -> Origin:
    """Return the origin of something the vault notices by itself."""
    return Origin(request=RequestId("req_" + secrets.token_hex(16)), address="local")
