"""Shapes of sealing and unsealing: what is asked and what is told."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from api.v1.asked import Body
from api.v1.told import Answer, HealthAnswer, Logged
from vault.service.unsealing import Why

Given = Annotated[str, Meta(min_length=1, max_length=1_024)]


class SealBody(Body, frozen=True):
    """Seal the vault."""

    reason: Annotated[str, Meta(max_length=2_000)] = ""
    """Kept beside the log, sealed."""


class UnsealBody(Body, frozen=True):
    """What opens the root key: one share, or the passphrase."""

    share: Given | None = None
    passphrase: Given | None = None

    def __repr__(self) -> str:
        return "UnsealBody(<secret>)"


class SealedAnswer(Logged, frozen=True):
    """The vault is sealed from this entry of the log on."""


class SealStateAnswer(Answer, frozen=True):
    """Whether this process is sealed, and what it waits for."""

    sealed: bool
    why: Why | None
    """Why it is; none when it is not."""
    holder: str
    """Kind of what holds the root key."""
    given: int
    """Shares collected."""
    needed: int | None
    """Shares needed; none before the first one says so, and where no shares are."""
    log_index: int | None = None
    """Of the entry of the unseal that this request completed."""


class SealedHealthAnswer(HealthAnswer, frozen=True, kw_only=True):
    """Requests may not come here: the vault is sealed."""

    why: Why
    holder: str
    given: int
    needed: int | None
