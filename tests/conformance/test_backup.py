"""A backup holds the whole vault as it was at one moment, sealed twice; restored, it serves as before."""

from __future__ import annotations

import json
import shutil
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keys.rootkey import RootKey
from tests.conformance.counter import GENDER, PHONE, item
from tests.conformance.drilling import rows_of_set
from tests.conformance.rotating import rotate
from tests.conformance.yard import Yard, clear, new_yard
from vault.assembly.backups import Unlocking
from vault.domain.errors import ConflictError, InvalidInputError, TamperDetectedError, UnavailableError
from vault.rotation.epochs import Rotated
from vault.storage import snapshots, tables

NUMBERS = ("010-1234-5678", "010-2345-6789", "010-3456-7890")


@pytest.fixture(params=["sqlite", "postgresql"])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Yard:
    return new_yard(request, tmp_path)


def test_what_was_stored_is_found_and_opened_after_a_restore(yard: Yard) -> None:
    tokens = [yard.counter.token(number) for number in NUMBERS]
    answer = yard.counter.tokenize(
        item(PHONE, "010-9876-5432", label="m", external_ref="user-1"), item(GENDER, "F", label="m")
    )
    written = yard.backup()
    later = yard.counter.token("010-5555-5555")
    restored = yard.restore()
    assert restored.undigested == 0
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        opened = counter.detokenize(*tokens)["items"]
        assert [one["value"] for one in opened] == list(NUMBERS)
        assert [hit["token"] for hit in counter.search(PHONE, NUMBERS[1])] == [tokens[1]]
        assert counter.refused(later) == "unknown_token"
        again = counter.tokenize(item(PHONE, "010-9876-5432", label="m", external_ref="user-1"))
        assert again["items"][0]["subject"] == answer["items"][0]["subject"]
        counter.verify_log()
        entry = counter.entry(restored.log_index)
        assert dict(entry.target)["backup"] == written.backup


def test_a_backup_holds_no_digest_no_key_and_nothing_under_way(yard: Yard) -> None:
    yard.counter.token(NUMBERS[0])
    yard.backup()
    digests = [bytes(row.digest) for row in yard.counter.rows(tables.token) if row.digest]
    references = [bytes(row.ref_digest) for row in yard.counter.rows(tables.subject) if row.ref_digest]
    values, keys = yard.opened_set("values"), yard.opened_set("keys")
    assert digests
    assert not [digest for digest in digests + references if digest in values + keys]
    wrapped = [bytes(row.wrapped) for row in yard.counter.rows(tables.key, order_by="kind")]
    assert all(key in keys and key not in values for key in wrapped)
    envelopes = [bytes(row.envelope) for row in yard.counter.rows(tables.token)]
    assert all(envelope in values and envelope not in keys for envelope in envelopes)
    sessions = [bytes(row.secret_mac) for row in yard.counter.rows(tables.session)]
    assert sessions
    assert not [secret for secret in sessions if secret in values]
    root = yard.settings.root_key.read_bytes().strip()
    assert not [path for path in (yard.folder / "backup").iterdir() if root in path.read_bytes()]


def test_a_backup_is_its_owners_alone_and_says_what_it_is(yard: Yard) -> None:
    yard.counter.verify_log()
    written = yard.backup()
    folder = yard.folder / "backup"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["backup"] == written.backup
    assert (manifest["log_entry"], manifest["log_size"]) == (written.log_index, written.log_size)
    entry = yard.counter.entry(written.log_index)
    assert (entry.action, dict(entry.target)["backup"]) == ("backup:create", written.backup)
    assert dict(entry.target)["values_to.1"] == yard.values[1]
    assert written.log_size > written.log_index
    assert not list(yard.folder.glob(".*"))


def test_each_set_opens_for_its_own_recipients_alone(yard: Yard) -> None:
    yard.backup()
    for identity in (yard.values[0], yard.keys[0]):
        with pytest.raises(InvalidInputError, match="none of these identities"):
            yard.restore(identities=[identity], home=yard.new_home(str(id(identity))))
        clear(yard.fresh_url)


@pytest.mark.parametrize("file", ["values.age", "keys.age", "manifest.json", "checkpoint"])
def test_a_changed_file_is_refused_before_anything_is_opened(yard: Yard, file: str) -> None:
    yard.counter.verify_log()
    yard.backup()
    path = yard.folder / "backup" / file
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises((TamperDetectedError, InvalidInputError)):
        yard.restore(identities=[])


def test_the_sets_of_two_backups_do_not_go_together(yard: Yard) -> None:
    yard.backup("one")
    yard.backup("two")
    shutil.copy(yard.folder / "one" / "keys.age", yard.folder / "two" / "keys.age")
    with pytest.raises(TamperDetectedError, match=r"keys\.age"):
        yard.restore("two")
    manifest = yard.folder / "two" / "manifest.json"
    told = [json.loads((yard.folder / name / "manifest.json").read_text()) for name in ("one", "two")]
    told[1]["files"]["keys.age"] = told[0]["files"]["keys.age"]
    manifest.write_text(json.dumps(told[1]))
    with pytest.raises(InvalidInputError) as caught:
        yard.restore("two")
    assert (caught.value.field, caught.value.rule) == ("keys", "head")


def test_a_manifest_that_the_vault_did_not_sign_is_refused(yard: Yard) -> None:
    yard.backup()
    manifest = yard.folder / "backup" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"created_at": "2', '"created_at": "3'))
    with pytest.raises(TamperDetectedError, match="not signed"):
        yard.restore()


def test_a_failed_restore_leaves_nothing_and_may_be_tried_again(yard: Yard) -> None:
    token = yard.counter.token(NUMBERS[0])
    yard.backup()
    home = yard.new_home()
    (home / "keys" / "root.key").rename(yard.folder / "aside")
    with pytest.raises(UnavailableError):
        yard.restore(home=home)
    assert [path.name for path in home.iterdir()] == ["keys"]
    (yard.folder / "aside").rename(home / "keys" / "root.key")
    restored = yard.restore(home=home)
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        assert counter.detokenize(token)["items"][0]["value"] == NUMBERS[0]


def test_goes_into_an_empty_place_only(yard: Yard) -> None:
    yard.backup()
    with pytest.raises(ConflictError, match="empty folder"):
        yard.restore(home=yard.furnished.home)
    if yard.fresh_url:
        with pytest.raises(ConflictError, match="not empty"):
            yard.restore(database_url=yard.settings.database_url)
    assert yard.counter.token(NUMBERS[0])


def test_refuses_a_place_beside_the_vault_or_its_key_and_one_that_is_taken(yard: Yard) -> None:
    for inside in (yard.furnished.home / "backup", yard.settings.root_key.parent):
        with pytest.raises(InvalidInputError) as caught:
            yard.backup(str(inside))
        assert caught.value.rule == "inside"
    yard.backup()
    with pytest.raises(ConflictError):
        yard.backup()
    before = yard.counter.next_index()
    with pytest.raises(InvalidInputError):
        yard.backup("other", keys_to=[])
    assert yard.counter.next_index() == before


def test_a_backup_taken_during_writes_is_one_state(yard: Yard) -> None:
    """Every token of the copy opens, every entry has its rows: nothing is torn between two tables."""
    stop = threading.Event()
    made: list[str] = []

    def write() -> None:
        at = 0
        while not stop.is_set():
            made.append(yard.counter.token(f"010-4444-{at % 10_000:04d}"))
            if at % 3 == 0:
                yard.counter.revoke(made[-1])
            at += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(made) < 10:
            time.sleep(0.01)
        yard.backup()
    finally:
        stop.set()
        writer.join()
    restored = yard.restore()
    assert restored.undigested == 0
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        stored = [row for row in counter.rows(tables.token) if row.envelope is not None]
        subjects = {row.id for row in counter.rows(tables.subject)}
        keys = {row.subject_id for row in counter.rows(tables.data_key, order_by="subject_id")}
        assert {row.subject_id for row in counter.rows(tables.token)} <= subjects == keys
        assert len(stored) > 3
        assert all(row.digest is not None for row in stored)
        counter.verify_log()


class Lingering(Unlocking):
    """Opens the root key as ever; ``meanwhile`` is done while somebody types what opens it."""

    meanwhile: ClassVar[Callable[[], object]]

    def open(self, *found: Any) -> RootKey:
        root = super().open(*found)
        type(self).meanwhile()
        return root


@pytest.mark.parametrize("kind", ["log_signing", "log_mac"])
@pytest.mark.parametrize("moment", ["opened", "begun"])
def test_a_key_of_the_log_is_replaced_while_a_backup_is_written(yard: Yard, kind: str, moment: str) -> None:
    """It is restored with what it holds and nothing else, and both logs verify."""
    counter, token = yard.counter, yard.counter.token(NUMBERS[0])
    counter.verify_log()
    rotated: list[Rotated] = []

    def replace_key(*_rows: int) -> None:
        if not rotated:
            rotated.append(rotate(counter, kind))
            # As the node does twice a second: a checkpoint by both keys, which lies outside at once.
            counter.verify_log()

    if moment == "opened":
        Lingering.meanwhile = replace_key
        written = yard.backup(unlocking=Lingering())
    else:
        written = yard.backup(progress=replace_key)
    assert [(one.old, one.new) for one in rotated] == [(1, 2)]
    # The log of the copy ends before the rotation, or after it.
    known = {row["version"] for row in rows_of_set(yard.opened_set("keys"))["key"] if row["kind"] == kind}
    assert known == ({1, 2} if moment == "opened" else {1})
    later = counter.token(NUMBERS[1])
    counter.verify_log()
    restored = yard.restore()
    assert restored.log_index == written.log_size
    with yard.opened(restored.home) as again:
        yard.let_in(again)
        assert again.detokenize(token)["items"][0]["value"] == NUMBERS[0]
        assert again.refused(later) == "unknown_token"
        again.verify_log()
    assert counter.detokenize(token, later)["items"][1]["value"] == NUMBERS[1]


def test_every_table_is_in_one_of_the_sets_or_left_out() -> None:
    names = set(tables.metadata.tables)
    sets = (set(snapshots.VALUES), set(snapshots.KEYS), set(snapshots.LEFT_OUT))
    assert sum(map(len, sets)) == len(names)
    assert set().union(*sets) == names
