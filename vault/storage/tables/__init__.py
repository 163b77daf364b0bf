"""The schema, one place for both databases.

Times are UTC, in whole microseconds since the epoch, so that a row has one
canonical form on both databases and its MAC can be computed again. Ids of
subjects and tokens are dense integers (``docs/formats/token.md``); the log
index comes from ``counter``, never from a sequence, so it has no gaps.

Rows that a decision reads carry ``version`` and ``mac`` (authority key): a row
inserted, swapped or edited by someone who holds the database is refused.
"""

from __future__ import annotations

from vault.storage.tables.base import RowId, metadata
from vault.storage.tables.data import (
    audience,
    certificate,
    field,
    id_block,
    idempotency,
    policy,
    subject,
    token,
    tombstone,
)
from vault.storage.tables.keys import counter, data_key, job, key, root_key
from vault.storage.tables.log import log_checkpoint, log_entry, log_note, log_tree, log_unit
from vault.storage.tables.people import (
    approval,
    credential,
    grant,
    invitation,
    login_failure,
    service,
    session,
    staff,
    staff_secret,
)

__all__ = [
    "RowId",
    "approval",
    "audience",
    "certificate",
    "counter",
    "credential",
    "data_key",
    "field",
    "grant",
    "id_block",
    "idempotency",
    "invitation",
    "job",
    "key",
    "log_checkpoint",
    "log_entry",
    "log_note",
    "log_tree",
    "log_unit",
    "login_failure",
    "metadata",
    "policy",
    "root_key",
    "service",
    "session",
    "staff",
    "staff_secret",
    "subject",
    "token",
    "tombstone",
]
