"""Shapes for saying that somebody else may have a key, or that nobody knows whether they have."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from api.v1.asked import Body, KeyKind, Note, Text
from api.v1.told import JobState, Logged


class CompromiseKeyBody(Body, frozen=True):
    """Which key, or whose data keys, somebody else may have: a version or a subject."""

    reason: Note
    kind: Literal["wrapping", "lookup"] = "wrapping"
    scope: Text = ""
    """Of a lookup key: its field, or ``ref/`` and the kind of subject."""
    version: Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)] | None = None
    """Of the key; of a wrapping key, its epoch."""
    all: bool = False
    """Every data key counts as suspect: for an epoch that was known before data keys left it in a re-wrap."""
    subject: Text = ""
    """Id of a subject, for its data keys alone."""


class CompromisedAnswer(Logged, frozen=True):
    """What was done about it."""

    key: str
    """Name of the key; empty where a subject was named."""
    successor: int | None
    """Version in force in its place; none when the key was not in force."""
    suspect: int
    """Suspect data keys there are now; of a lookup key, digests that hang on older versions."""
    job: JobState | None
    """What moves them; none while the digests of another scope are being made anew: start it after that."""


class DoubtBody(Body, frozen=True):
    """Which wrapping key is suspended, or resumed."""

    reason: Note
    version: Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)]
    """Its epoch."""
    kind: KeyKind = "wrapping"
    """No other kind can be suspended."""


class SuspendedAnswer(Logged, frozen=True):
    """Nothing opens under it any more."""

    key: str
    """Name of the key."""
    successor: int | None
    """Epoch in force in its place; none when the key was not in force."""
    data_keys: int
    """Data keys that hang on it: what is sealed under them stays shut."""


class ResumedAnswer(Logged, frozen=True):
    """What hangs on it opens again."""

    key: str
    """Name of the key."""
    data_keys: int
    """Data keys that hang on it."""
