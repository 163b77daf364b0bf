"""The drill: who was erased does not come back with a copy, and no right comes back into force by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from keys.secret import SecretText
from tests.conformance.counter import PHONE
from tests.conformance.keeper import Keeper
from tests.conformance.returning import ERASED, KEPT, do, erased_since_a_backup, outside, require_gone
from tests.conformance.stones import filed, round_of
from tests.conformance.suspicion import generations, resume, suspend, values_of
from tests.conformance.test_public_keys import without_keys
from tests.conformance.yard import Yard, clear, new_yard
from tests.support.furnished import PASSWORD
from vault.access.accounts import Shown
from vault.assembly.serving import open_to_serve
from vault.audit.folder import write_export
from vault.audit.tombstones import head_path
from vault.audit.verify import verify_export
from vault.backup import manifest
from vault.domain.errors import (
    ApprovalRequiredError,
    AuthenticationError,
    TamperDetectedError,
)
from vault.settings import Settings
from vault.storage import log as log_rows
from vault.storage import tables


@pytest.fixture(params=["sqlite", "postgresql"])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Yard:
    return new_yard(request, tmp_path)


def test_who_was_erased_since_does_not_come_back_with_a_backup(yard: Yard) -> None:
    erased, kept = erased_since_a_backup(yard)
    restored = yard.restore(**outside(yard))
    assert (restored.replayed, restored.gap) == ({"erase": 1}, None)
    assert restored.newer
    with yard.opened(restored.home) as counter:
        require_gone(yard, counter, erased, kept)
    open_to_serve(Settings.load(restored.home)).close()


def test_without_newer_tombstones_the_erased_come_back(yard: Yard) -> None:
    """The control: the copy does hold them, so it is the replay that keeps them away."""
    erased, _ = erased_since_a_backup(yard)
    restored = yard.restore()
    assert not restored.newer
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        assert counter.detokenize(erased)["items"][0]["value"] == ERASED


def test_a_suspended_key_is_suspended_in_the_restored_vault_and_nothing_is_lost(yard: Yard) -> None:
    """Its people are restricted, and found once it is resumed: a restore binds and digests all the same."""
    restricted, kept = yard.counter.token(ERASED), yard.counter.token(KEPT)
    suspend(yard.counter)
    yard.backup()
    resume(yard.counter)
    do(yard, "restrict", restricted)
    yard.counter.verify_log()
    restored = yard.restore(**outside(yard))
    assert (restored.replayed, restored.undigested) == ({"restrict": 1}, 0)
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        counter.furnished.actors["admin"] = counter.furnished.login("admin")
        assert values_of(counter, kept, restricted) == ["key_suspended", "subject_restricted"]
        # Whoever left the epoch on the way is marked: their values are to be sealed anew.
        assert generations(counter) == [(1, 1), (1, 2)]
        assert counter.vault.status().compromised == ("data_key",)
        assert counter.vault.status().suspended == ("wrapping//1",)
        resume(counter)
        assert [hit["token"] for hit in counter.search(PHONE, KEPT)] == [kept]
        yard.counter = counter
        do(yard, "lift", restricted)
        assert values_of(counter, kept, restricted) == [KEPT, ERASED]
        assert counter.alarms() == []


def test_an_older_tombstone_file_is_refused_without_two_people(yard: Yard) -> None:
    yard.counter.verify_log()
    older = outside(yard, "older")
    erased_since_a_backup(yard)
    options = {"tombstones": older["tombstones"], "checkpoint": outside(yard)["checkpoint"]}
    home = yard.new_home()
    with pytest.raises(ApprovalRequiredError, match="--accept-gap"):
        yard.restore(home=home, **options)
    assert [path.name for path in home.iterdir()] == ["keys"]
    for wrong in (("officer", "officer"), ("admin", "admin"), ("admin", "minji"), ("nobody", "officer")):
        yard.furnished.seeds.setdefault("nobody", yard.furnished.seeds["admin"])
        with pytest.raises(AuthenticationError):
            yard.restore(home=home, vouch=yard.vouchers(*wrong), **options)
    for password, code in ((PASSWORD, "000000"), ("x" * 2_000, yard.furnished.code("admin"))):
        guess = Shown("admin", SecretText(password), code)
        with pytest.raises(AuthenticationError):
            yard.restore(home=home, vouch=lambda _gap, _role, guess=guess: guess, **options)
    restored = yard.restore(home=home, vouch=yard.vouchers(), **options)
    assert restored.gap is not None
    with yard.opened(home) as counter:
        told = dict(counter.entry(restored.log_index).target)
        people = yard.furnished.people
        assert (told["administrator"], told["officer"]) == (people["admin"], people["officer"])
        assert (int(told["gap.from"]), int(told["gap.to"])) == (restored.gap.start, restored.gap.stop)
        counter.verify_log()


def test_a_host_that_comes_without_its_files_writes_them_after_a_restore(yard: Yard) -> None:
    """Tombstones of two logs stand in the table: those before the restore, and those after."""
    yard.counter.token("010-5555-1234")
    _, kept = erased_since_a_backup(yard)
    restored = yard.restore(**outside(yard))
    settings = Settings.load(restored.home)
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        assert round_of(counter.vault) == ""
        for file in settings.checkpoint.parent.iterdir():
            file.unlink()
        do(replace(yard, counter=counter), "erase", kept)
    open_to_serve(settings).close()
    with yard.opened(restored.home) as counter:
        assert round_of(counter.vault) == ""
        assert [stone.act for stone in filed(counter).tombstones] == ["erase", "erase"]


def test_an_erasure_while_the_files_are_copied_leaves_a_backup_that_is_restored(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased, kept = yard.counter.token(ERASED), yard.counter.token(KEPT)
    yard.counter.verify_log()
    copies = iter(manifest.COPIES)

    def erasing() -> Iterator[str]:
        yield next(copies)
        do(yard, "erase", erased)
        yard.counter.verify_log()
        yield from copies

    monkeypatch.setattr(manifest, "COPIES", erasing())
    yard.backup()
    monkeypatch.undo()
    restored = yard.restore(
        checkpoint=yard.settings.checkpoint, tombstones=yard.folder / "backup" / "tombstones"
    )
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        assert "value" not in counter.detokenize(erased, kept)["items"][0]
        assert counter.detokenize(kept)["items"][0]["value"] == KEPT


def test_a_planted_invitation_does_not_keep_a_backup_from_being_restored(yard: Yard) -> None:
    token = yard.counter.token(KEPT)
    yard.counter.tamper(
        insert(tables.invitation).values(
            id="inv_00000000000000000000",
            staff_id=yard.furnished.people["admin"],
            code_mac=bytes(32),
            expires_at=1 << 60,
            totp_sealed=b"",
            version=1,
            mac=bytes(32),
        )
    )
    yard.backup()
    restored = yard.restore()
    assert restored.ended["invitations"] == 0
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        assert counter.detokenize(token)["items"][0]["value"] == KEPT


def test_tombstones_from_before_the_backup_tell_of_nobody_erased_since(yard: Yard) -> None:
    """They were given, and verify; still the warning has to come."""
    yard.counter.verify_log()
    older = outside(yard, "older")
    erased_since_a_backup(yard)
    restored = yard.restore(tombstones=older["tombstones"])
    assert not restored.newer
    with yard.opened(restored.home) as counter:
        assert dict(counter.entry(restored.log_index).target)["tombstones.newer"] == "no"


def test_a_file_of_tombstones_without_its_head_is_replayed_all_the_same(yard: Yard) -> None:
    """It promises nothing, so the gap stays; and whom it tells of does not come back."""
    erased, kept = erased_since_a_backup(yard)
    options = outside(yard)
    head_path(options["tombstones"]).unlink()
    with pytest.raises(ApprovalRequiredError):
        yard.restore(**options)
    restored = yard.restore(home=yard.new_home("anew"), vouch=yard.vouchers(), **options)
    assert (restored.replayed, restored.newer, restored.gap is None) == ({"erase": 1}, True, False)
    with yard.opened(restored.home) as counter:
        require_gone(yard, counter, erased, kept)


def test_an_erasure_that_waited_is_named_since_a_restore_refuses_it(yard: Yard) -> None:
    keeper = Keeper(yard.counter)
    subject, _ = keeper.somebody(ERASED)
    approval = keeper.propose("erase", subject).approval_id
    yard.backup()
    restored = yard.restore()
    assert restored.unanswered == (subject,)
    with yard.opened(restored.home) as counter:
        assert dict(counter.entry(restored.log_index).target)["unanswered.1"] == approval


def test_tombstones_that_were_cut_are_refused_whoever_vouches(yard: Yard) -> None:
    erased_since_a_backup(yard)
    options = outside(yard)
    options["tombstones"].write_bytes(b"")
    with pytest.raises(TamperDetectedError, match="cut"):
        yard.restore(vouch=yard.vouchers(), **options)


def test_tombstones_that_were_changed_are_refused(yard: Yard) -> None:
    erased_since_a_backup(yard)
    options = outside(yard)
    text = options["tombstones"].read_text()
    options["tombstones"].write_text(text.replace("erase", "restrict"))
    with pytest.raises(TamperDetectedError, match="does not verify"):
        yard.restore(**options)


def test_a_restriction_since_the_backup_is_in_force_again(yard: Yard) -> None:
    held, lifted = yard.counter.token(ERASED), yard.counter.token(KEPT)
    do(yard, "restrict", lifted)
    yard.backup()
    do(yard, "restrict", held)
    do(yard, "lift", lifted)
    yard.counter.verify_log()
    restored = yard.restore(**outside(yard))
    assert restored.replayed == {"restrict": 1, "lift": 1}
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        assert counter.refused(held) == "subject_restricted"
        assert counter.detokenize(lifted)["items"][0]["value"] == KEPT


def test_the_log_goes_on_under_another_name_and_verifies_from_its_first_entry(
    yard: Yard, tmp_path: Path
) -> None:
    yard.counter.token(KEPT)
    yard.counter.verify_log()
    before = yard.counter.vault.audit.public_key()
    yard.backup()
    restored = yard.restore()
    assert restored.log_before == before.partition("+")[0]
    assert restored.log_key.partition("+")[0] == f"{restored.log_before}/r1"
    with yard.opened(restored.home) as counter:
        counter.verify_log()
        size = counter.next_index()
        with counter.vault.changes.database.reading() as connection:
            notes = list(log_rows.read_checkpoints(connection, up_to=size))
            write_export(tmp_path / "export", log_rows.iterate_bodies(connection, size), notes)
    assert verify_export(tmp_path / "export", restored.log_key).size == size > restored.log_index


def test_a_restored_vault_tells_the_key_of_its_log_before_anybody_has_opened_it(yard: Yard) -> None:
    yard.counter.verify_log()
    yard.backup()
    restored = yard.restore()
    with yard.opened(restored.home) as counter:
        keys = without_keys(counter).audit.public_keys()
        assert [key.vkey for key in keys] == [restored.log_key]
        assert keys == counter.vault.audit.public_keys()


def test_a_backup_is_restored_again_after_another_restore_of_it(yard: Yard) -> None:
    """The copy does not know the key of the log between; whoever has its public half says so."""
    erased, kept = erased_since_a_backup(yard)
    first = yard.restore(**outside(yard))
    folder = yard.folder / "again"
    shutil.copytree(Settings.load(first.home).checkpoint.parent, folder)
    clear(yard.fresh_url)
    options: dict[str, Any] = {"tombstones": folder / "tombstones", "checkpoint": folder / "checkpoint"}
    home = yard.new_home("second")
    with pytest.raises(TamperDetectedError, match=r"--log-key|head"):
        yard.restore(home=home, **options)
    second = yard.restore(home=home, log_keys=(first.log_key,), **options)
    assert second.log_key.partition("+")[0].endswith("/r2")
    assert second.gap is None
    with yard.opened(home) as counter:
        require_gone(yard, counter, erased, kept)


def test_nobody_new_gets_the_row_of_somebody_who_came_after_the_backup(yard: Yard) -> None:
    """Else the tombstone of the one would end the other at the next restore."""
    yard.counter.token(KEPT)
    yard.backup()
    later = yard.counter.row_of(yard.counter.token(ERASED))
    restored = yard.restore()
    with yard.opened(restored.home) as counter:
        yard.let_in(counter)
        ids = {counter.row_of(counter.token(f"010-3333-{at:04d}")).subject_id for at in range(20)}
        assert later.subject_id not in ids
        assert min(number & ((1 << 56) - 1) for number in ids) > 1 << 32
