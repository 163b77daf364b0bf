"""Promise 7: whoever has the database and the root key after an erasure opens nothing of the person.

On SQLite the file itself is looked through, byte by byte.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest
from sqlalchemy import select

from keys.datakeys import Binding
from keys.envelope import DataKey
from keys.errors import KeysError
from keys.keyring import Keyring
from keys.rootkey import RootSlot
from tests.conformance.counter import PHONE, Counter, item, phone
from tests.conformance.keeper import Keeper
from tests.support.furnished import phones
from vault.access.roots import in_force
from vault.domain.model import SubjectState
from vault.domain.references import EXTERNAL_REF_FIELD, REFERENCE_SCOPE
from vault.storage import tables
from vault.storage.keys import read_keys
from vault.storage.roots import read_roots
from vault.tokens import replay

VALUES = {PHONE: "010-1234-5678", "member.login_id": "minji.kim", "member.gender": "F"}
PIECE = 16
"""Bytes of a secret that count as a trace of it: a page may have been split anywhere."""

REFERENCE = "customer-4711-of-the-shop"


@dataclass(frozen=True)
class Person:
    """Everything that was stored of somebody, noted before the erasure."""

    subject: str
    id: int
    log_subject: bytes
    rows: tuple[tuple[int, str, bytes], ...]
    """Row id, field and envelope of each value, the external reference included."""
    secrets: tuple[bytes, ...]
    """Byte strings that must not be anywhere any more: envelopes, wrapped keys, digests."""


@pytest.fixture
def person(counter: Counter) -> Person:
    """Somebody to erase, once on each kind of database."""
    return _somebody(counter)


def _somebody(counter: Counter) -> Person:
    """Make somebody with three values and a reference, among others, whose key was re-wrapped once."""
    counter.tokenize(*map(phone, phones(20)))
    made = counter.tokenize(
        *(item(name, value, label="a", external_ref=REFERENCE) for name, value in VALUES.items()), key="one"
    )["items"]
    counter.tokenize(*map(phone, phones(20, start=20)))
    admin = counter.furnished.request(counter.actor("admin"))
    counter.vault.keys.rotate(admin)
    counter.vault.keys.rewrap(admin)
    while counter.vault.worker.portion() is not None:
        pass
    subject = counter.row(tables.subject, id=counter.row_id(made[0]["subject"]))
    tokens = [counter.row_of(answer["token"]) for answer in made]
    key = counter.row(tables.data_key, subject_id=subject["id"])
    reference = bytes(subject["ref_envelope"])
    sealed = [bytes(row["envelope"]) for row in tokens]
    digests = [bytes(row["digest"]) for row in tokens if row["digest"] is not None]
    assert len(digests) == 2
    rows = [(row["id"], name, envelope) for row, name, envelope in zip(tokens, VALUES, sealed, strict=True)]
    return Person(
        subject=made[0]["subject"],
        id=subject["id"],
        log_subject=bytes(subject["log_subject"]),
        rows=(*rows, (subject["id"], EXTERNAL_REF_FIELD, reference)),
        secrets=(*sealed, *digests, reference, bytes(subject["ref_digest"]), bytes(key["wrapped"])),
    )


def _keyring(counter: Counter) -> Keyring:
    """Return every key of the vault as whoever has the root key unlocks them from the database."""
    with counter.vault.changes.database.reading() as connection:
        vault_id = counter.vault.changes.database.counter(connection).vault_id
        row = in_force(read_roots(connection), RootSlot.LIVE)
        records = read_keys(connection)
    return Keyring.unlock(vault_id, records, counter.vault.standings.roots.open(row, vault_id))


def _every_data_key(counter: Counter, keyring: Keyring, subject_id: int) -> Iterator[DataKey]:
    """Unwrap every data key there is, as its own subject's and as that of ``subject_id``, in every state."""
    with counter.vault.changes.database.reading() as connection:
        rows = connection.execute(select(tables.data_key)).all()
    for row, state in product(rows, SubjectState):
        for number in (row.subject_id, subject_id):
            try:
                binding = Binding(number, row.generation, state)
                yield keyring.epoch(row.epoch).unwrap(binding, bytes(row.wrapped))
            except KeysError:
                continue


def _opened(counter: Counter, person: Person) -> set[str]:
    """Return the fields of the person that open with what the database and the root key give."""
    context = counter.vault.standings.current.value_context
    found = set()
    for key in _every_data_key(counter, _keyring(counter), person.id):
        for row_id, name, envelope in person.rows:
            try:
                key.open(context.value(person.id, context.field_part(name), row_id), envelope)
                found.add(name)
            except KeysError:
                continue
    return found


def test_no_key_opens_the_ciphertexts_that_somebody_kept(counter: Counter, person: Person) -> None:
    """Not even with the envelopes of an old copy at hand: the key that they need is gone."""
    assert _opened(counter, person) == {*VALUES, EXTERNAL_REF_FIELD}
    Keeper(counter).erase(person.subject)
    assert _opened(counter, person) == set()


def test_no_row_has_anything_of_the_person(counter: Counter, person: Person) -> None:
    Keeper(counter).erase(person.subject)
    keyring = _keyring(counter)
    guesses = [keyring.lookup(PHONE).digest("+821012345678")]
    guesses.append(keyring.lookup(REFERENCE_SCOPE + "member").digest(REFERENCE))
    named = {}
    with counter.vault.changes.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                for name, value in row.items():
                    if isinstance(value, bytes | memoryview):
                        assert not [
                            secret for secret in (*person.secrets, *guesses) if secret in bytes(value)
                        ]
                        assert replay.needle(person.id) not in bytes(value) or table.name.startswith("log_")
                    if value == person.id:
                        named[f"{table.name}.{name}"] = value
    # The subject's own row, and that it was erased.
    assert named.keys() == {"subject.id", "tombstone.subject_id"}


def test_nothing_leads_from_the_person_to_a_token_or_an_entry(counter: Counter, person: Person) -> None:
    Keeper(counter).erase(person.subject)
    row = counter.row(tables.subject, id=person.id)
    assert bytes(row["log_subject"]) != person.log_subject
    for logged in counter.log():
        rows = [] if logged.entry.items is None else list(logged.entry.items.rows())
        assert bytes(row["log_subject"]) not in {found.subject for found in rows}
        if str(person.id) in dict(logged.entry.target).values():
            assert person.log_subject not in {found.subject for found in rows}
            assert {found.token for found in rows} <= {0}


def test_no_byte_of_the_file_is_of_the_person(on_sqlite: Counter) -> None:
    counter = on_sqlite
    person = _somebody(counter)
    file = counter.furnished.home / "data" / "vault.db"
    Keeper(counter).erase(person.subject)
    with sqlite3.connect(file) as other:
        busy, _, _ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0
    other.close()
    # Without VACUUM: deleted bytes are overwritten, free pages and all.
    stored = b"".join(path.read_bytes() for path in file.parent.glob("vault.db*"))
    assert person.log_subject not in stored
    for secret in person.secrets:
        pieces = [secret[at : at + PIECE] for at in range(0, len(secret) - PIECE + 1, PIECE)]
        assert [piece for piece in pieces if piece in stored] == []
    assert b"1234-5678" not in stored
    assert REFERENCE.encode() not in stored
