"""What a restored copy must not bring back into force: sessions, secrets, codes, rights.

What was ended after the copy was made lives in it. So everything that lets
somebody act ends or waits, and the officer decides again.
"""

from __future__ import annotations

from collections import Counter

from vault.access.approval_rows import open_approval
from vault.access.changes import Attempt
from vault.storage.services import ENDED
from vault.storage.snapshots import forget_what_was_under_way
from vault.storage.staff import all_open_invitations


def void(attempt: Attempt) -> Counter[str]:
    """End sessions, credentials and invitations; have every grant wait. Return how many of each.

    Rows that do not verify are as good as absent, here as everywhere.
    """
    done: Counter[str] = Counter()
    forget_what_was_under_way(attempt.connection)
    for held in attempt.authority.credentials_by_id.values():
        if not held.row.ended:
            attempt.change(held.row, revoked_at=ENDED)
            done["credentials"] += 1
    for invitation in attempt.sifted(all_open_invitations(attempt.connection)):
        attempt.change(invitation, used_at=attempt.now_us)
        done["invitations"] += 1
    for approval in attempt.authority.approvals.values():
        if approval.state == "open":
            by = attempt.request.actor.id
            attempt.change(approval, state="refused", decided_by=by, decided_at=attempt.now_us)
            done["approvals"] += 1
    for grant in attempt.authority.grants.values():
        if grant.state not in {"active", "proposed"} or grant.valid_until <= attempt.now_us:
            continue
        attempt.add_version(grant, state="proposed", decided_by="", changed_at=attempt.now_us)
        attempt.put(open_approval("grant", grant.id, by=grant.proposed_by, now_us=attempt.now_us))
        done["grants"] += 1
    return done
