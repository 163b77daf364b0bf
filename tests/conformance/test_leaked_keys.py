"""Somebody has a key: what the documents say to do takes it from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import insert

from tests.conformance.counter import Counter
from tests.conformance.rotating import reseal, rotate
from vault.access.identities import new_approval_id
from vault.access.sealing import seal
from vault.domain.actions import Action
from vault.domain.errors import AccessDeniedError
from vault.storage import tables


def test_a_grant_planted_with_a_leaked_authority_key_is_found_by_the_log_and_ended(counter: Counter) -> None:
    token = counter.token("010-1234-5678")
    authority = counter.vault.standings.current.authority
    stolen = counter.vault.standings.current.keyring.authority
    genuine = authority.grants[counter.furnished.grants["shop"][0]]
    approval = next(row for row in authority.approvals.values() if row.target == genuine.id)
    planted = seal(stolen, replace(genuine, id="grt_" + "f" * 20, actor_id=counter.actor("desk").id))
    forged = seal(stolen, replace(approval, id=new_approval_id(), target=planted.id))
    counter.tamper(
        insert(tables.grant).values(planted.columns()), insert(tables.approval).values(forged.columns())
    )
    assert counter.detokenize(token, by="desk")["items"][0]["value"] == "010-1234-5678"

    rotate(counter, "authority")
    admin = counter.actor("admin")
    listed = {row.id for row in counter.vault.grants.list(counter.furnished.request(admin)).value}
    proposed = {
        dict(logged.entry.target).get("grant")
        for logged in counter.log()
        if logged.entry.action == Action.GRANT_PROPOSE
    }
    assert listed - proposed == {planted.id}
    counter.vault.grants.revoke(counter.furnished.request(admin), planted.id)
    reseal(counter, "authority")
    with pytest.raises(AccessDeniedError):
        counter.detokenize(token, by="desk")
