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
from tests.conformance.counter import PHONE, Counter
from tests.conformance.keeper import Keeper
from tests.conformance.stones import filed, round_of
from tests.conformance.suspicion import generations, resume, suspend, values_of
from tests.conformance.test_public_keys import without_keys
from tests.conformance.yard import Yard, clear, new_yard
from tests.support.furnished import PASSWORD
from vault.access import approvals, services, staff
from vault.access.accounts import Shown
from vault.access.changes import Attempt, Change
from vault.assembly import unseal_on_host
from vault.assembly.serving import open_to_serve
from vault.audit.folder import write_export
from vault.audit.integrator import log_keys
from vault.audit.tombstones import read
from vault.audit.verify import verify_export
from vault.backup import manifest
from vault.backup.replaying import rewrap
from vault.domain.actions import Action
from vault.domain.errors import (
    AccessDeniedError,
    ApprovalRequiredError,
    AuthenticationError,
    ConflictError,
    InvalidInputError,
    TamperDetectedError,
)
from vault.domain.model import Role, SubjectState
from vault.lifecycle.tombstones import Act, leave
from vault.settings import Settings
from vault.storage import log as log_rows
from vault.storage import subjects, tables

ERASED, KEPT = "010-1111-1111", "010-2222-2222"


@pytest.fixture(params=["sqlite", "postgresql"])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Yard:
    return new_yard(request, tmp_path)


def do(yard: Yard, act: Act, token: str) -> int:
    """Do to a token's subject what an approved act on it does; return the row id of the subject."""
    counter = yard.counter
    subject_id = int(counter.row_of(token).subject_id)

    def doing(attempt: Attempt) -> Change[None]:
        if act == "erase":
            subjects.destroy(attempt.connection, subject_id, log_subject=bytes(15) + b"\1")
        else:
            state = SubjectState.RESTRICTED if act == "restrict" else SubjectState.OPEN
            rewrap(attempt, subject_id, state)
            subjects.set_state(attempt.connection, subject_id, 1 - state, state)
        leave(attempt, act, subject_id)
        return Change(None, {"subject": str(subject_id)}, revises=True)

    request = counter.furnished.request(counter.actor("officer"))
    counter.vault.changes.make_unasked(request, Action.APPROVAL_DECIDE, doing)
    return subject_id


def erased_since_a_backup(yard: Yard) -> tuple[str, str]:
    """Store two people, back up, erase one of them; return their tokens."""
    erased, kept = yard.counter.token(ERASED), yard.counter.token(KEPT)
    yard.backup()
    do(yard, "erase", erased)
    yard.counter.verify_log()
    return erased, kept


def outside(yard: Yard, name: str = "outside") -> dict[str, Any]:
    """Copy what is outside the database as it is now; return it as options of a restore."""
    folder = yard.folder / name
    shutil.copytree(yard.settings.checkpoint.parent, folder)
    return {"tombstones": folder / "tombstones", "checkpoint": folder / "checkpoint"}


def require_gone(yard: Yard, counter: Counter, erased: str, kept: str) -> None:
    """Return if of two people one is gone and the other is there."""
    yard.let_in(counter)
    assert counter.search(PHONE, ERASED) == []
    assert [hit["token"] for hit in counter.search(PHONE, KEPT)] == [kept]
    assert counter.detokenize(kept)["items"][0]["value"] == KEPT
    assert "value" not in counter.detokenize(erased)["items"][0]
    row = counter.row_of(erased)
    assert (row.envelope, row.digest, row.subject_id) == (None, None, 0)
    counter.verify_log()


def test_who_was_erased_since_does_not_come_back_with_a_backup(yard: Yard) -> None:
    erased, kept = erased_since_a_backup(yard)
    restored = yard.restore(**outside(yard))
    assert (restored.replayed, restored.gap) == ({"erase": 1}, None)
    assert not restored.own_tombstones
    with yard.opened(restored.home) as counter:
        require_gone(yard, counter, erased, kept)
    open_to_serve(Settings.load(restored.home)).close()


def test_without_newer_tombstones_the_erased_come_back(yard: Yard) -> None:
    """The control: the copy does hold them, so it is the replay that keeps them away."""
    erased, _ = erased_since_a_backup(yard)
    restored = yard.restore()
    assert restored.own_tombstones
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
    assert restored.own_tombstones
    with yard.opened(restored.home) as counter:
        assert dict(counter.entry(restored.log_index).target)["tombstones.newer"] == "no"


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


def test_what_could_act_ends_or_waits_for_the_officer(yard: Yard) -> None:
    furnished = yard.furnished
    token = yard.counter.token(KEPT)
    secret = services.rotate(
        yard.counter.vault.changes, furnished.request(furnished.actors["admin"]), furnished.actors["shop"].id
    ).value
    yard.backup()
    restored = yard.restore()
    assert restored.ended["credentials"] == 3
    with yard.opened(restored.home) as counter:
        authority = counter.vault.standings.current.authority
        assert counter.count(tables.session) == 0
        assert {row.state for row in authority.grants.values()} == {"proposed"}
        waiting = [row.target for row in authority.approvals.values() if row.state == "open"]
        people = {furnished.people[login] for login in ("admin", "minji", "chief")}
        assert sorted(waiting) == sorted({*authority.grants, *people})
        with pytest.raises(AuthenticationError):
            counter.furnished.authenticate(secret)
        with pytest.raises(AccessDeniedError):
            counter.detokenize(token)
        yard.let_in(counter)
        assert counter.detokenize(token)["items"][0]["value"] == KEPT


def test_who_left_since_the_backup_does_not_come_back(yard: Yard) -> None:
    """Nor anybody else before the officer has approved them: the copy cannot know who left."""
    furnished, changes = yard.furnished, yard.counter.vault.changes
    yard.backup()
    staff.leave(changes, furnished.request(furnished.actors["admin"]), furnished.people["minji"])
    restored = yard.restore()
    assert (restored.officer, restored.ended["staff"]) == ("officer", 3)
    with yard.opened(restored.home) as counter:
        office, changes = counter.furnished, counter.vault.changes
        told = dict(counter.entry(restored.log_index).target)
        assert (told["stays"], told["ended.staff"]) == (office.people["officer"], "3")
        for login in ("minji", "chief", "admin"):
            with pytest.raises(AuthenticationError):
                office.login(login)
        officer = office.login("officer")
        for row in approvals.list_approvals(changes, office.request(officer)).value:
            if (row.kind, row.state) == ("enrolment", "open"):
                approve = row.target != office.people["minji"]
                approvals.decide_approval(changes, office.request(officer), row.id, approve=approve)
        office.login("chief")
        admin = office.login("admin")
        listed = staff.list_staff(changes, office.request(admin)).value
        assert {one.row.login for one in listed if one.row.state == "left"} == {"minji"}
        grant = counter.vault.standings.refresh().authority.grants[office.grants["minji"][0]]
        assert grant.state == "revoked"
        counter.verify_log()


def test_of_several_officers_one_is_named_who_lets_the_others_in(yard: Yard) -> None:
    furnished = yard.furnished
    furnished.hire(furnished.actors["admin"], "deputy", Role.OFFICER)
    furnished.approve_all(furnished.actors["officer"])
    yard.backup()
    home = yard.new_home()
    for named, rule in (("", "ambiguous"), ("admin", "unknown"), ("nobody", "unknown")):
        with pytest.raises(InvalidInputError) as refused:
            yard.restore(home=home, officer=named)
        assert (refused.value.field, refused.value.rule) == ("--officer", rule)
    restored = yard.restore(home=home, officer="Deputy")
    assert (restored.officer, restored.ended["staff"]) == ("deputy", 4)
    with yard.opened(home) as counter:
        office = counter.furnished
        with pytest.raises(AuthenticationError):
            office.login("officer")
        office.approve_all(office.login("deputy"))
        for login in ("officer", "admin", "chief", "minji"):
            office.login(login)


def test_of_several_officers_the_one_who_vouched_stays(yard: Yard) -> None:
    yard.furnished.hire(yard.furnished.actors["admin"], "deputy", Role.OFFICER)
    yard.furnished.approve_all(yard.furnished.actors["officer"])
    yard.counter.verify_log()
    older = outside(yard, "older")
    erased_since_a_backup(yard)
    options = {"tombstones": older["tombstones"], "checkpoint": outside(yard)["checkpoint"]}
    restored = yard.restore(vouch=yard.vouchers(officer="deputy"), **options)
    assert restored.officer == "deputy"


def test_where_nobody_could_let_anybody_in_nobody_waits(yard: Yard) -> None:
    """The vault of a copy that was made before its officer had enrolled is not shut for ever."""
    yard.counter.change(tables.staff, {"login": "officer"}, state="left")
    yard.backup()
    restored = yard.restore()
    assert (restored.officer, "staff" in restored.ended) == ("", False)
    with yard.opened(restored.home) as counter:
        counter.furnished.login("admin")


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


def test_a_raw_copy_is_not_served_until_it_is_settled(yard: Yard) -> None:
    erased, kept = yard.counter.token(ERASED), yard.counter.token(KEPT)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    with pytest.raises(ConflictError):
        yard.restore_raw(yard.settings)
    do(yard, "erase", erased)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    with pytest.raises(TamperDetectedError, match="piivault restore --raw"):
        open_to_serve(yard.settings)
    restored = yard.restore_raw(yard.settings)
    assert restored.replayed == {"erase": 1}
    open_to_serve(yard.settings).close()
    with yard.opened(yard.furnished.home) as counter:
        require_gone(yard, counter, erased, kept)
        stones = read(
            yard.settings.checkpoint.with_name("tombstones"),
            log_keys(counter.vault.standings.current.keyring),
        ).tombstones
        assert [stone.act for stone in stones] == ["erase"]
    with pytest.raises(ConflictError):
        yard.restore_raw(yard.settings)


def test_a_node_whose_database_goes_back_under_it_serves_nothing_any_more(yard: Yard) -> None:
    yard.counter.token(KEPT)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    erased = yard.counter.token(ERASED)
    do(yard, "erase", erased)
    yard.counter.verify_log()
    newest = yard.raw_copy()
    node = open_to_serve(yard.settings)
    node.upkeep.round()
    assert (node.upkeep.health.trouble, node.is_sealed) == ("", False)
    yard.put_back(rows, yard.settings.database_url)
    node.upkeep.round()
    assert (node.upkeep.health.trouble, node.is_sealed) == ("tamper_detected", True)
    node.upkeep.round()
    assert (node.upkeep.health.trouble, node.is_sealed) == ("tamper_detected", True)
    assert yard.counter.alarms() != []
    yard.put_back(newest, yard.settings.database_url)
    node.upkeep.round()
    assert not node.is_sealed
    node.close()


def test_a_raw_copy_that_has_grown_again_is_not_served_either(yard: Yard) -> None:
    yard.counter.token(KEPT)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    erased = yard.counter.token(ERASED)
    do(yard, "erase", erased)
    yard.counter.verify_log()
    seen = yard.counter.next_index()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    with yard.opened(yard.furnished.home) as counter:
        while counter.next_index() <= seen:
            counter.show(counter.token("010-1234-0000"))
    with pytest.raises(TamperDetectedError, match="piivault restore --raw"):
        open_to_serve(yard.settings)
    first = yard.restore_raw(yard.settings)
    open_to_serve(yard.settings).close()
    require_kept_aside(yard, first.log_before)
    # And once more: what the first restore kept stays.
    yard.put_back(rows, yard.settings.database_url)
    with pytest.raises(TamperDetectedError, match=r"piivault restore \(--raw .* --log-key"):
        open_to_serve(yard.settings)
    yard.restore_raw(yard.settings, log_keys=(first.log_key,))
    require_kept_aside(yard, first.log_before, first.log_key.partition("+")[0])


def test_a_raw_copy_on_which_others_were_erased_since_is_refused_with_the_way_out(yard: Yard) -> None:
    first, second = yard.counter.token(ERASED), yard.counter.token(KEPT)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    do(yard, "erase", first)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    with yard.opened(yard.furnished.home) as counter:
        yard.counter = counter
        do(yard, "erase", second)
    with pytest.raises(TamperDetectedError, match="as it was before anybody was erased on it"):
        yard.restore_raw(yard.settings, vouch=yard.vouchers())
    yard.put_back(rows, yard.settings.database_url)
    assert yard.restore_raw(yard.settings).replayed == {"erase": 1}


def require_kept_aside(yard: Yard, *logs: str) -> None:
    """Return if there is a checkpoint of each of ``logs`` beside the one in force, and named after it."""
    kept = {
        path: path.read_text().splitlines()[:2]
        for path in yard.settings.checkpoint.parent.glob("checkpoint.of-*")
    }
    assert sorted(log for log, _ in kept.values()) == sorted(logs)
    assert all(
        path.name.endswith(f".of-{log.replace('/', '-')}-{size}") for path, (log, size) in kept.items()
    )


def test_a_copy_of_a_sealed_vault_is_settled_and_stays_sealed(yard: Yard) -> None:
    erased = yard.counter.token(ERASED)
    yard.counter.verify_log()
    rows = yard.raw_copy()
    for row in rows["counter"]:
        row["sealed"] = True
    do(yard, "erase", erased)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    yard.restore_raw(yard.settings)
    unseal_on_host(yard.settings, clock=yard.furnished.clock)
    open_to_serve(yard.settings).close()


def test_a_raw_copy_whose_tombstones_were_put_back_too_needs_two_people(yard: Yard) -> None:
    token = yard.counter.token(ERASED)
    yard.counter.verify_log()
    older = outside(yard, "older")
    rows = yard.raw_copy()
    do(yard, "erase", token)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    for path in yard.settings.checkpoint.parent.glob("tombstones*"):
        path.unlink()
    options = {"tombstones": older["tombstones"]}
    with pytest.raises(ApprovalRequiredError):
        yard.restore_raw(yard.settings, **options)
    restored = yard.restore_raw(yard.settings, vouch=yard.vouchers(), **options)
    assert (restored.replayed, restored.gap is not None) == ({}, True)
    open_to_serve(yard.settings).close()


def test_the_file_in_the_home_is_used_where_it_is_newer_than_the_one_given(yard: Yard) -> None:
    token = yard.counter.token(ERASED)
    yard.counter.verify_log()
    older = outside(yard, "older")
    rows = yard.raw_copy()
    do(yard, "erase", token)
    yard.counter.verify_log()
    yard.counter.vault.close()
    yard.put_back(rows, yard.settings.database_url)
    restored = yard.restore_raw(yard.settings, tombstones=older["tombstones"])
    assert (restored.replayed, restored.gap) == ({"erase": 1}, None)
