"""A process that holds no keys tells the public keys of the log as an open one; a false one opens nothing."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import update

from tests.conformance.counter import Counter
from tests.conformance.rotating import destroy, rotate, second_administrator
from tests.conformance.test_sealing import seal, unseal
from vault.access.roots import Roots
from vault.assembly import change_root_key
from vault.assembly.opening import sealed_with
from vault.assembly.wrapping import Sealing, nobody, wrapper_of
from vault.domain.errors import SealedError, TamperDetectedError
from vault.service.audit import LogKey
from vault.service.vault import Vault
from vault.storage import tables

FALSE = bytes(range(32))


def stored(counter: Counter, version: int = 1) -> bytes | None:
    """Return what stands beside a key of the log."""
    public: bytes | None = counter.row(tables.key, kind="log_signing", version=version)["public"]
    return public


def put(counter: Counter, public: object, version: int = 1) -> None:
    """Put something else there, as whoever holds the database can."""
    column = tables.key.c
    where = (column.kind == "log_signing", column.version == version)
    counter.tamper(update(tables.key).where(*where).values(public=public))


def without_keys(counter: Counter) -> Vault:
    """Return a process on the same database that nobody has opened yet."""
    settings, clock = counter.furnished.settings, counter.furnished.clock
    vault = sealed_with(settings, Roots(partial(wrapper_of, settings, nobody), clock), clock, None)
    counter._nodes.append(vault)
    return vault


def told(counter: Counter) -> tuple[LogKey, ...]:
    """Return what a process without keys tells."""
    return without_keys(counter).audit.public_keys()


def test_a_process_that_was_never_open_tells_what_an_open_one_tells(counter: Counter) -> None:
    assert told(counter) == counter.vault.audit.public_keys()
    for _ in range(2):
        counter.furnished.clock.pass_time(minutes=5)
        rotate(counter, "log_signing")
    keys = counter.vault.audit.public_keys()
    assert told(counter) == keys
    assert [key.replaced_us is None for key in keys] == [True, False, False]


def test_a_vault_that_was_sealed_tells_them_on_a_node_that_starts_later(counter: Counter) -> None:
    keys = counter.vault.audit.public_keys()
    seal(counter, counter.vault)
    assert told(counter) == keys
    counter.vault.upkeep.round()
    assert counter.vault.is_sealed
    assert counter.vault.audit.public_keys() == keys


def test_a_key_that_has_ended_is_told_by_nobody(counter: Counter) -> None:
    second_administrator(counter)
    rotate(counter, "log_signing")
    counter.verify_log()
    counter.furnished.clock.pass_time(days=7)
    for login in ("admin", "second"):
        counter.furnished.actors[login] = counter.furnished.login(login)
    counter.verify_log()
    destroy(counter, "log_signing")
    assert stored(counter) is None
    counter.node().upkeep.round()
    assert stored(counter) is None
    assert told(counter) == counter.vault.audit.public_keys()
    assert len(told(counter)) == 1


def test_a_change_of_the_root_key_leaves_them(counter: Counter) -> None:
    before = told(counter)
    change_root_key(counter.furnished.settings, Sealing(), clock=counter.furnished.clock)
    assert told(counter) == before


def test_a_vault_of_an_older_release_tells_them_once_it_has_been_open(counter: Counter) -> None:
    rotate(counter, "log_signing")
    for version in (1, 2):
        put(counter, None, version)
    with pytest.raises(SealedError):
        told(counter)
    node = counter.node()
    node.upkeep.round()
    assert node.upkeep.health.trouble == ""
    assert told(counter) == node.audit.public_keys()
    assert len(told(counter)) == 2


@pytest.mark.parametrize("public", [FALSE, b"short"], ids=["another", "no key"])
def test_refuses_to_open_beside_a_key_that_is_not_its_own(counter: Counter, public: bytes) -> None:
    rotate(counter, "log_signing")
    put(counter, public)
    with pytest.raises(TamperDetectedError, match=r"beside log_signing/piivault/\w+/1 is not") as refused:
        counter.node()
    assert refused.value.table == "key"
    # A node that is open gives nothing out any more either, and says why.
    counter.vault.upkeep.round()
    assert counter.vault.upkeep.health.trouble == "tamper_detected"
    assert [table for table, _ in counter.alarms()] == ["key"]
    # What the operator does who has looked at it.
    put(counter, None)
    node = counter.node()
    node.upkeep.round()
    assert told(counter) == node.audit.public_keys()


def test_refuses_to_unseal_beside_a_key_that_is_not_its_own(counter: Counter) -> None:
    seal(counter, counter.vault)
    put(counter, FALSE)
    with pytest.raises(TamperDetectedError, match="is not its own"):
        unseal(counter)
    assert counter.row(tables.counter)["sealed"]
    put(counter, None)
    unseal(counter)


def test_what_is_no_key_is_not_told(counter: Counter) -> None:
    put(counter, b"short")
    with pytest.raises(TamperDetectedError, match="a public key of the log was changed"):
        told(counter)


def test_a_false_key_is_told_by_a_process_that_has_nothing_to_check_it_by(counter: Counter) -> None:
    """So nobody may believe it: whoever verifies has the key from before (docs/threat-model.md)."""
    before = told(counter)
    put(counter, FALSE)
    assert told(counter) != before
