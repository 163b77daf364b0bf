"""Make the digests again that a backup leaves out: open each value, digest it, give it to nobody."""

from __future__ import annotations

from typing import Final

from vault.access.standing import Standing
from vault.backup.sets import Progress
from vault.domain.references import REFERENCE_SCOPE
from vault.rotation.redigest import context_part, data_keys_of, opened, shelf_of
from vault.storage import digests as rows
from vault.storage.database import Connection

PORTION: Final = 2_000


def make_digests(connection: Connection, standing: Standing, progress: Progress) -> int:
    """Make every digest that the rows had; return how many could not be made.

    Those belong to values that do not open, or to fields that the policy does
    not declare any more: nobody finds them by search.
    """
    scopes = [name for name, slot in standing.by_name.items() if slot.field.type.searchable]
    kinds = dict.fromkeys(slot.field.kind for slot in standing.by_name.values())
    for scope in (*scopes, *(REFERENCE_SCOPE + kind for kind in kinds)):
        _make(connection, standing, scope, progress)
    return rows.forget_unmade(connection)


def _make(connection: Connection, standing: Standing, scope: str, progress: Progress) -> None:
    shelf = shelf_of(standing, scope)
    assert shelf is not None  # the policy declares each of these
    lookup = standing.keyring.lookup(scope)
    part = context_part(standing, scope)
    after = -1
    while found := rows.read_unmade(connection, shelf, after=after, limit=PORTION):
        keys, _ = data_keys_of(connection, standing.keyring, {row.subject_id for row in found})
        made = []
        for row in found:
            text = opened(row, keys.get(row.subject_id, ()), standing, part)
            if text is not None:
                made.append((row.id, lookup.digest(text)))
        rows.fill_digests(connection, shelf, lookup.version, made)
        after = found[-1].id
        progress(len(found))
