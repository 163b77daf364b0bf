"""Names that external references go by inside the vault."""

from __future__ import annotations

from typing import Final

EXTERNAL_REF_FIELD: Final = "external_ref"
"""Stands in the place of a field name in the context of a sealed external reference."""

REFERENCE_SCOPE: Final = "ref/"
"""Before the kind of subject, in the scope of the lookup key of external references."""
