"""The drill: copies of a vault from before and after an erasure and ``keys retire``, and what opens them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from keys.datakeys import Binding
from keys.envelope import DataKey
from keys.errors import KeysError
from keys.keyring import KeyRecord
from tests.conformance.counter import Counter
from tests.conformance.dumps import Dump, take
from tests.conformance.keeper import Keeper
from tests.conformance.retiring import Retiring
from tests.conformance.yard import Yard, clear
from tests.support.postgres import PostgresCluster
from vault.backup.sets import LENGTH
from vault.domain.model import SubjectState
from vault.rotation.retirement import Step
from vault.settings import Settings
from vault.storage import keys as key_rows
from vault.storage import tables
from vault.storage.database import Database

ERASED, KEPT, LATER = "010-1111-1111", "010-2222-2222", "010-3333-3333"
FIELDS = ("member.phone", "member.gender")

Rows = dict[str, list[dict[str, Any]]]


@dataclass
class Drill:
    """A vault in which one person was erased and everything older was ended, and its copies."""

    yard: Yard
    cluster: PostgresCluster
    keeper: Keeper
    people: dict[str, tuple[str, list[str]]]
    """Subject and tokens (phone, gender) by phone number."""
    dumps: dict[str, Dump] = field(default_factory=dict)
    outsides: dict[str, Path] = field(default_factory=dict)
    retiring: Retiring = field(init=False)

    @property
    def counter(self) -> Counter:
        return self.yard.counter

    @property
    def kept_aside(self) -> Path:
        """The key file of the first root key, of which somebody made a copy that nobody knows of."""
        return self.yard.folder / "kept-aside"

    def settle(self) -> None:
        """Have the log integrated, what a round of upkeep appends after that (certificates) as well."""
        self.counter.vault.upkeep.round()
        self.counter.verify_log()

    def copy(self, name: str) -> None:
        """Back up, dump the database and copy what is outside of it, each as of now."""
        self.settle()
        self.yard.backup(name)
        self.dumps[name] = take(self.counter, self.yard.folder / f"dump-{name}", self.cluster)
        self.note(name)

    def note(self, name: str) -> None:
        """Copy what is outside of the database."""
        self.settle()
        self.outsides[name] = self.yard.folder / f"outside-{name}"
        shutil.copytree(self.yard.settings.checkpoint.parent, self.outsides[name])

    def outside(self, *, tombstones: str = "newest", checkpoint: str = "newest") -> dict[str, Path]:
        """Return options of a restore."""
        return {
            "tombstones": self.outsides[tombstones] / "tombstones",
            "checkpoint": self.outsides[checkpoint] / "checkpoint",
        }

    def home(self, name: str, *, old_key: bool = False) -> Path:
        """Return a folder with every key file that still exists, and an empty database to go with it."""
        clear(self.yard.fresh_url)
        home = self.yard.folder / name
        shutil.copytree(self.yard.furnished.home / "keys", home / "keys")
        if old_key:
            shutil.copy(self.kept_aside, home / "keys" / "root.key")
        return home

    def dumped(self, dump: str, name: str, *, old_key: bool = False) -> Settings:
        """Put a dump into a fresh database, under a fresh folder with every key file that still exists."""
        settings = self.dumps[dump].restore(self.yard.folder / name)
        if old_key:
            shutil.copy(self.kept_aside, settings.root_key)
        return settings

    def lay(self, outside: str, settings: Settings) -> None:
        """Have the ``log`` folder of a home be as it was outside at that moment."""
        shutil.rmtree(settings.checkpoint.parent)
        shutil.copytree(self.outsides[outside], settings.checkpoint.parent)


def hold(yard: Yard, cluster: PostgresCluster) -> Drill:
    """Store three people, copy everything, erase one of them, end everything of before, copy everything."""
    keeper = Keeper(yard.counter)
    people = {
        number: keeper.somebody(number, external_ref=f"user-{number}") for number in (ERASED, KEPT, LATER)
    }
    drill = Drill(yard, cluster, keeper, people)
    drill.copy("before")
    keeper.erase(people[ERASED][0])
    shutil.copy(yard.settings.root_key, drill.kept_aside)
    drill.retiring = Retiring(yard.counter)
    drill.retiring.up_to(Step.DONE)
    drill.copy("after")
    drill.note("newest")
    return drill


def rows_of_set(data: bytes) -> Rows:
    """Return the rows of an opened set (docs/formats/backup.md section 3)."""
    found: Rows = {}
    columns: list[str] = []
    table = ""
    while data:
        length = int.from_bytes(data[:LENGTH], "big")
        record = msgspec.msgpack.decode(data[LENGTH : LENGTH + length])
        data = data[LENGTH + length :]
        if record[0] == "table":
            table, columns = record[1], record[2]
            found[table] = []
        elif record[0] == "rows":
            found[table] += [dict(zip(columns, row, strict=True)) for row in record[1]]
    return found


def rows_at(url: str) -> Rows:
    """Return every row of a database, without opening anything."""
    database = Database.open(url)
    try:
        with database.reading() as connection:
            return {
                table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
                for table in tables.metadata.sorted_tables
            }
    finally:
        database.close()


def records_at(url: str) -> list[KeyRecord]:
    """Return the named keys of a database, as they are stored."""
    database = Database.open(url)
    try:
        with database.reading() as connection:
            return key_rows.read_keys(connection)
    finally:
        database.close()


def epochs_open(counter: Counter, copy: Rows) -> list[DataKey]:
    """Return what the wrapping epochs of today open of the data keys in a copy, in every state."""
    keyring, opened = counter.vault.standings.current.keyring, []
    live = {row["version"] for row in rows_of(counter, "key") if row["kind"] == "wrapping"}
    for row, number, state in product(copy["data_key"], sorted(live), SubjectState):
        try:
            binding = Binding(row["subject_id"], row["generation"], state)
            opened.append(keyring.epoch(number).unwrap(binding, bytes(row["wrapped"])))
        except KeysError:
            continue
    return opened


def values_open(counter: Counter, copy: Rows, keys: list[DataKey]) -> set[tuple[int, str]]:
    """Return subject and field of each value of a copy that one of ``keys`` opens."""
    context, found = counter.vault.standings.current.value_context, set()
    for row, key, name in product(copy["token"], keys, FIELDS):
        try:
            bound = context.value(row["subject_id"], context.field_part(name), row["id"])
            key.open(bound, bytes(row["envelope"]))
            found.add((row["subject_id"], name))
        except KeysError:
            continue
    return found


def rows_of(counter: Counter, table: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of a vault that is open."""
    with counter.vault.changes.database.reading() as connection:
        for row in connection.execute(tables.metadata.tables[table].select()).mappings():
            yield dict(row)
