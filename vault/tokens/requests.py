"""Shapes of the requests on the hot path, decoded straight from JSON.

The caps are stated in the API reference; a request over one is refused whole,
never truncated. Limits on the text of a value belong to its field type.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from vault.domain.model import Reveal

MAX_ITEMS: Final = 1_000
MAX_BODY: Final = 1 << 20
"""Largest body of a request, in bytes."""

PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]*\Z"
"""No control characters, and none that turn the direction of a line around."""

Label = Annotated[str, Meta(min_length=1, max_length=100, pattern=PRINTABLE)]
Code = Annotated[str, Meta(min_length=1, max_length=64)]
TokenText = Annotated[str, Meta(min_length=1, max_length=64)]
Value = Annotated[str, Meta(max_length=8_192)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Reference = Annotated[str, Meta(min_length=1, max_length=255, pattern=PRINTABLE)]


class NewSubject(Struct, frozen=True, forbid_unknown_fields=True):
    """Items of one request with the same label share one new subject."""

    new: Label


class TokenizeItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One value to be swapped for a token."""

    field: Code
    value: Value
    reference: Label | UnsetType = UNSET
    subject: NewSubject | TokenText | UnsetType = UNSET
    external_ref: Reference | UnsetType = UNSET
    kind: Code | UnsetType = UNSET
    """``random`` unless it says otherwise: ``one_time``, or ``audience``."""
    audience: Code | UnsetType = UNSET
    """Recipient of the policy for whom the token is; implies the kind."""


class TokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/tokenize``."""

    purpose: Code
    items: Annotated[list[TokenizeItem], Meta(min_length=1)]
    reason: Reason | UnsetType = UNSET


class DetokenizeItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One token to be swapped for its value."""

    token: TokenText
    reference: Label | UnsetType = UNSET


class DetokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/detokenize``. What is not asked for in the clear is masked."""

    purpose: Code
    items: Annotated[list[DetokenizeItem], Meta(min_length=1)]
    reveal: Reveal = Reveal.MASKED
    reason: Reason | UnsetType = UNSET


class SearchRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/search``: equality on one field."""

    purpose: Code
    field: Code
    value: Value
    reason: Reason | UnsetType = UNSET
