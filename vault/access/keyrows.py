"""What the rows of keys have to be before anything rests on them: whole, and all there.

A vault with half its keys fails later and worse, and says nothing of which. So
it does not open, and names the keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from keys.errors import KeysError
from keys.keyring import KeyKind, KeyRecord, KeySealer, root_context
from keys.states import KeyState
from vault.domain.errors import UnavailableError
from vault.domain.references import REFERENCE_SCOPE
from vault.policy.policy import Policy

ADVICE = "put the rows back, see 'Put a row back' in docs/operations/keys.md, or restore the newest backup"


def lookup_scopes(policy: Policy) -> list[str]:
    """Return every scope that ``policy`` needs a lookup key of: searchable fields, and references by kind."""
    kinds = dict.fromkeys(field.kind for field in policy.fields.values())
    searched = [name for name, field in policy.fields.items() if field.type.searchable]
    return searched + [REFERENCE_SCOPE + kind for kind in kinds]


def damaged(
    vault_id: bytes, records: Sequence[KeyRecord], root: KeySealer, error: KeysError
) -> UnavailableError:
    """Return the error that names the keys that do not open under ``root``; ``error`` if it is another."""
    broken = []
    for record in records:
        if record.state is KeyState.DESTROYED:
            continue
        try:
            root.unwrap(record.wrapped, root_context(vault_id, record))
        except KeysError:
            broken.append(record.name)
    if not broken:
        return UnavailableError(f"the rows of keys contradict each other ({error}); {ADVICE}")
    return UnavailableError(f"the root key opens, and not under it: {', '.join(broken)}; {ADVICE}")


def require_kinds(records: Sequence[KeyRecord]) -> None:
    """Return if a key of every kind is in force or suspended. Raises UnavailableError: those that are not."""
    _require(records, [(kind, "") for kind in KeyKind])


def require_scopes(records: Sequence[KeyRecord], policy: Policy) -> None:
    """Return if ``policy`` has a lookup key of each scope, in force or suspended. Raises UnavailableError."""
    _require(records, [(KeyKind.LOOKUP, scope) for scope in lookup_scopes(policy)])


def _require(records: Sequence[KeyRecord], wanted: Sequence[tuple[KeyKind, str]]) -> None:
    # One that is suspended is there: it refuses what needs it, and nothing else.
    standing = [record for record in records if record.state in {KeyState.ACTIVE, KeyState.SUSPENDED}]
    there = {(record.kind, "") for record in standing} | {(record.kind, record.scope) for record in standing}
    missing = [f"{kind.value}/{scope}" for kind, scope in wanted if (kind, scope) not in there]
    if missing:
        raise UnavailableError(f"no key is in force of: {', '.join(missing)}; {ADVICE}")
