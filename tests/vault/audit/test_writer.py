"""A writer numbers its units without a hole and binds each to itself."""

from __future__ import annotations

import pytest

from keys.errors import VerificationError
from keys.keyring import Keyring
from tests.vault.audit.builders import entry_in_parts, entry_of, whole
from tests.vault.audit.logs import new_keyring
from vault.audit.merkle import leaf_hash
from vault.audit.packing import MalformedEntryError
from vault.audit.receipt import Receipt
from vault.audit.writer import Writer


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    """Keys of a vault."""
    return new_keyring()


def test_unit_holds_the_exact_bytes_and_their_leaf_hashes(keyring: Keyring) -> None:
    unit = Writer().draft([entry_of(1), entry_of(2)], keyring).unit
    assert list(unit.bodies) == [whole(entry_of(1)), whole(entry_of(2))]
    assert list(unit.leaves) == [leaf_hash(whole(entry_of(1))), leaf_hash(whole(entry_of(2)))]


def test_code_verifies_for_writer_number_and_leaves(keyring: Keyring) -> None:
    unit = Writer().draft([entry_of(1), entry_of(2)], keyring).unit
    version = keyring.log_mac.verify(unit.writer, unit.writer_seq, unit.leaves, code=unit.mac)
    assert version == unit.mac_version == 1


@pytest.mark.parametrize("what", ["writer", "number", "leaves", "order", "count"])
def test_code_verifies_for_nothing_else(keyring: Keyring, what: str) -> None:
    unit = Writer().draft([entry_of(1), entry_of(2)], keyring).unit
    writer, number, leaves = unit.writer, unit.writer_seq, list(unit.leaves)
    if what == "writer":
        writer = bytes(16)
    elif what == "number":
        number += 1
    elif what == "leaves":
        leaves[0] = bytes(32)
    elif what == "order":
        leaves.reverse()
    else:
        leaves.pop()
    with pytest.raises(VerificationError):
        keyring.log_mac.verify(writer, number, leaves, code=unit.mac)


def test_code_of_another_vault_does_not_verify(keyring: Keyring) -> None:
    unit = Writer().draft([entry_of()], new_keyring()).unit
    with pytest.raises(VerificationError):
        keyring.log_mac.verify(unit.writer, unit.writer_seq, unit.leaves, code=unit.mac)


def test_number_moves_only_when_the_unit_is_durable(keyring: Keyring) -> None:
    writer = Writer()
    numbers = [writer.draft([entry_of()], keyring).unit.writer_seq for _ in range(2)]
    writer.durable()
    numbers.append(writer.draft([entry_of()], keyring).unit.writer_seq)
    assert numbers == [0, 0, 1]


def test_restarted_writer_is_another_one_from_zero(keyring: Keyring) -> None:
    writer = Writer()
    before = writer.draft([entry_of()], keyring).unit
    writer.durable()
    writer.restart()
    after = writer.draft([entry_of()], keyring).unit
    assert after.writer != before.writer
    assert (len(after.writer), after.writer_seq) == (16, 0)


def test_writers_have_ids_of_their_own(keyring: Keyring) -> None:
    assert len({Writer().draft([entry_of()], keyring).unit.writer for _ in range(10)}) == 10


def test_receipts_point_at_each_entrys_first_part(keyring: Keyring) -> None:
    entries = [entry_of(1), entry_in_parts(), entry_of(2)]
    draft = Writer().draft(entries, keyring)
    assert len(draft.unit.bodies) == 4
    receipts = draft.receipts(100)
    assert [type(receipt) for receipt in receipts] == [Receipt] * 3
    assert [receipt.index for receipt in receipts] == [100, 101, 103]
    assert [receipt.entry_id for receipt in receipts] == [entry.id for entry in entries]
    leaves = tuple(draft.unit.leaves)
    assert [receipt.leaf_hashes for receipt in receipts] == [leaves[:1], leaves[1:3], leaves[3:]]


def test_entry_that_breaks_a_rule_is_refused_and_the_number_stays(keyring: Keyring) -> None:
    from dataclasses import replace

    writer = Writer()
    with pytest.raises(MalformedEntryError):
        writer.draft([replace(entry_of(), purpose="\ud800")], keyring)
    assert writer.draft([entry_of()], keyring).unit.writer_seq == 0
