"""The keys of the log are replaced: it verifies throughout, online and offline, by old key and new."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from keys.keyring import KeyKind
from keys.secret import SecretBytes
from keys.signing import SigningKey
from tests.conformance.counter import Counter, phone
from tests.conformance.rotating import (
    census,
    destroy,
    propose,
    reseal,
    rotate,
    second_administrator,
    state_of,
)
from vault.access.changes import Attempt, Change
from vault.audit import hanging as of_log
from vault.audit.folder import write_export
from vault.audit.note import (
    NoteError,
    checkpoint_unverified,
    open_checkpoint,
    parse_vkey,
    sign_checkpoint,
    vkey,
)
from vault.audit.verify import ExportRejectedError, Report, verify_export
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, TamperDetectedError
from vault.domain.model import STRANGER
from vault.service.vault import Vault
from vault.storage import log, tables
from vault.storage.errors import StaleRevisionError
from vault.storage.staff import locked_staff


@pytest.fixture
def two(counter: Counter) -> Counter:
    """A vault with a second administrator and its log in the tree."""
    second_administrator(counter)
    counter.verify_log()
    return counter


def _export(counter: Counter, folder: Path) -> Path:
    with counter.vault.changes.database.reading() as connection:
        notes = list(log.read_checkpoints(connection, up_to=1 << 62))
        stop = checkpoint_unverified(notes[-1]).size
        write_export(folder, log.iterate_bodies(connection, stop), notes)
    return folder


def _verify(folder: Path, *vkeys: str) -> Report:
    return verify_export(folder, *vkeys)


def _rules(folder: Path, *vkeys: str) -> set[str]:
    with pytest.raises(ExportRejectedError) as rejected:
        verify_export(folder, *vkeys)
    return {finding.rule for finding in rejected.value.report.findings}


def _newest(counter: Counter) -> str:
    with counter.vault.changes.database.reading() as connection:
        return log.read_last_checkpoint(connection) or ""


def _another_key(counter: Counter) -> SigningKey:
    return SigningKey(counter.vault.standings.current.keyring.signer.name, SecretBytes(bytes(32)))


# The signing key


def test_the_log_verifies_offline_by_the_old_key_and_by_both(two: Counter, tmp_path: Path) -> None:
    old = two.vault.audit.public_key()
    assert _verify(_export(two, tmp_path / "before"), old).findings == ()
    rotate(two, "log_signing")
    new = two.vault.audit.public_key()
    assert new != old
    two.token()
    two.verify_log()
    after = _export(two, tmp_path / "after")
    for keys in ((old,), (old, new)):
        assert _verify(after, *keys).entries == two.next_index()
    # Whoever has the new key alone takes the newest checkpoint, which covers every entry.
    assert open_checkpoint(_newest(two), parse_vkey(new)).size == two.next_index()
    assert _rules(after, new) == {"bad_signature"}


def test_the_first_entry_after_a_rotation_names_both_keys(two: Counter) -> None:
    old = two.vault.audit.public_key()
    rotate(two, "log_signing")
    new = two.vault.audit.public_key()
    target = dict(two.last().entry.target)
    assert two.last().entry.action == "key:rotate"
    assert (target["from_key"], target["to_key"]) == (old.split("+")[1], new.split("+")[1])
    assert bytes.fromhex(target["to_public"]) == parse_vkey(new).key.public
    assert bytes.fromhex(target["from_public"]) == parse_vkey(old).key.public


def test_both_keys_are_shown_with_their_dates_until_the_old_one_ends(two: Counter) -> None:
    (before,) = two.vault.audit.public_keys()
    two.furnished.clock.pass_time(minutes=5)
    rotate(two, "log_signing")
    new, old = two.vault.audit.public_keys()
    assert (old.vkey, old.since_us) == (before.vkey, before.since_us)
    assert (old.replaced_us, new.replaced_us) == (new.since_us, None)
    two.furnished.clock.pass_time(days=7)
    _log_in_again(two)
    two.verify_log()
    destroy(two, "log_signing")
    assert [key.vkey for key in two.vault.audit.public_keys()] == [new.vkey]


def _log_in_again(counter: Counter) -> None:
    for login in ("admin", "second"):
        counter.furnished.actors[login] = counter.furnished.login(login)


def test_the_old_key_signs_until_it_ends_and_not_before_seven_days(two: Counter, tmp_path: Path) -> None:
    old = parse_vkey(two.vault.audit.public_key())
    rotate(two, "log_signing")
    two.verify_log()
    assert census(two, "log_signing").total == 0
    with pytest.raises(ConflictError, match="not before"):
        propose(two, "log_signing")
    two.furnished.clock.pass_time(days=6, hours=23)
    _log_in_again(two)
    with pytest.raises(ConflictError, match="not before"):
        propose(two, "log_signing")
    two.furnished.clock.pass_time(hours=1)
    two.verify_log()
    open_checkpoint(_newest(two), old)
    destroy(two, "log_signing")
    assert state_of(two, "log_signing") == "destroyed"
    two.token()
    two.verify_log()
    with pytest.raises(NoteError):
        open_checkpoint(_newest(two), old)
    two.node().upkeep.round()
    two.verify_log()
    assert two.alarms() == []
    vkey_of_old = f"{old.name}+{old.key_id.hex()}"
    assert vkey_of_old not in two.vault.audit.public_key()
    both = _export(two, tmp_path / "both")
    assert "bad_signature" in _rules(both, two.vault.audit.public_key())


def test_the_old_key_stays_while_no_checkpoint_has_the_new_signature(two: Counter) -> None:
    rotate(two, "log_signing")
    two.furnished.clock.pass_time(days=8)
    _log_in_again(two)
    with pytest.raises(ConflictError, match="1 checkpoints"):
        propose(two, "log_signing")


def test_three_keys_in_a_row_all_sign(two: Counter, tmp_path: Path) -> None:
    keys = [two.vault.audit.public_key()]
    for _ in range(2):
        rotate(two, "log_signing")
        two.verify_log()
        keys.append(two.vault.audit.public_key())
    for key in keys:
        open_checkpoint(_newest(two), parse_vkey(key))
    assert _verify(_export(two, tmp_path / "all"), *keys).findings == ()
    assert _verify(tmp_path / "all", keys[0]).findings == ()


def test_refuses_more_keys_than_a_note_has_lines_for(two: Counter) -> None:
    for _ in range(7):
        rotate(two, "log_signing")
    with pytest.raises(ConflictError, match="too many"):
        rotate(two, "log_signing")
    two.verify_log()
    two.token()
    two.verify_log()


def test_refuses_a_checkpoint_signed_only_by_a_key_that_is_not_in_the_ring(two: Counter) -> None:
    rotate(two, "log_signing")
    two.verify_log()
    note = sign_checkpoint(checkpoint_unverified(_newest(two)), _another_key(two))
    size = checkpoint_unverified(note).size
    two.tamper(update(tables.log_checkpoint).where(tables.log_checkpoint.c.size == size).values(note=note))
    two.vault.upkeep.round()
    assert two.vault.upkeep.health.trouble == TamperDetectedError.code


def test_refuses_an_export_that_goes_back_to_an_older_key(two: Counter, tmp_path: Path) -> None:
    """Whoever has stolen the key before it ended signs with that alone."""
    old_signer = two.vault.standings.current.keyring.signer
    old = two.vault.audit.public_key()
    rotate(two, "log_signing")
    two.verify_log()
    new = two.vault.audit.public_key()
    two.token()
    two.verify_log()
    with two.vault.changes.database.reading() as connection:
        notes = list(log.read_checkpoints(connection, up_to=1 << 62))
        bodies = list(log.iterate_bodies(connection, two.next_index()))
    forged = sign_checkpoint(checkpoint_unverified(notes[-1]), old_signer)
    write_export(tmp_path / "forged", bodies, [*notes[:-1], forged])
    assert _rules(tmp_path / "forged", old, new) == {"older_key"}


def test_refuses_keys_of_two_logs_and_none(two: Counter, tmp_path: Path) -> None:
    folder = _export(two, tmp_path / "log")
    other = SigningKey("vault.example/other", SecretBytes(bytes(32)))
    for keys in ((), (two.vault.audit.public_key(), vkey(other))):
        with pytest.raises(NoteError):
            verify_export(folder, *keys)


# A node whose keys are older than what it reads


def _behind(counter: Counter, act: Callable[[], Any]) -> Vault:
    """Return another node that has not looked since before ``act``."""
    node = counter.node()
    act()
    return node


@pytest.mark.parametrize("kind", ["log_mac", "log_signing", "authority"])
def test_a_node_that_is_behind_looks_again_and_raises_no_alarm(two: Counter, kind: str) -> None:
    def act() -> None:
        rotate(two, kind)
        two.verify_log()
        two.token()

    node = _behind(two, act)
    node.upkeep._integrate(node.now_us())
    two.verify_log()
    assert two.alarms() == []


@pytest.mark.parametrize("kind", ["log_signing", "authority"])
def test_a_node_that_is_behind_signs_and_seals_nothing_with_the_old_key(two: Counter, kind: str) -> None:
    old = two.vault.standings.current.keyring
    node = _behind(two, lambda: rotate(two, kind))
    before = _newest(two)
    integrator = node.upkeep._integrator
    with pytest.raises(StaleRevisionError):
        integrator.integrate(old, node.now_us())
    assert _newest(two) == before


# The MAC of units


def test_units_of_both_keys_are_integrated_and_the_old_key_ends(two: Counter) -> None:
    node = two.node()
    two.token("010-1234-0001")
    rotate(two, "log_mac")
    two.tokenize(phone("010-1234-0002"), at=node)
    two.furnished.login("minji")
    with two.vault.changes.database.reading() as connection:
        keyring = two.vault.standings.refresh().keyring
        units, broken = of_log.units_waiting(connection, keyring)
    assert (set(units), broken) == ({1, 2}, 0)
    assert census(two, "log_mac").counts["units"] > 0
    with pytest.raises(ConflictError, match="units still hang"):
        propose(two, "log_mac")
    two.verify_log()
    assert census(two, "log_mac").total == 0
    destroy(two, "log_mac")
    two.tokenize(phone("010-1234-0003"), at=node)
    two.verify_log()
    two.node().upkeep.round()
    two.verify_log()
    assert two.alarms() == []


def test_a_unit_that_verifies_under_no_key_keeps_every_old_one(two: Counter) -> None:
    rotate(two, "log_mac")
    two.token()
    with two.vault.changes.database.reading() as connection:
        first = connection.execute(
            select(tables.log_unit.c.first).order_by(tables.log_unit.c.first.desc()).limit(1)
        ).scalar_one()
    two.tamper(update(tables.log_unit).filter_by(first=first).values(mac=bytes(32), mac_version=2))
    assert census(two, "log_mac").counts["units"] >= 1


def test_a_unit_of_a_decision_made_before_the_rotation_is_not_appended(two: Counter) -> None:
    standing = two.vault.standings.current
    rotate(two, "log_mac")
    before = two.next_index()
    with pytest.raises(StaleRevisionError), two.vault.changes.journal.unit() as unit:
        unit.append([two.last().entry], revision=standing.revision, revise=False)
    assert two.next_index() == before


def test_what_rests_on_no_decision_is_not_appended_under_the_old_key_either(two: Counter) -> None:
    """A refusal told by a node that is behind: or its unit would verify nowhere once the key has ended."""
    node = _behind(two, lambda: rotate(two, "log_mac"))
    two.verify_log()
    with pytest.raises(StaleRevisionError), node.changes.journal.unit() as unit:
        unit.append([two.last().entry], revision=None, revise=False)
    node.changes.strangers.note(
        Action.SESSION_OPEN, "203.0.113.9", node.now_us(), error="authentication_failed", rule="login"
    )
    node.changes.strangers.flush(node.now_us(), everything=True)
    said = two.last().entry
    assert (said.actor, said.error) == (STRANGER, "authentication_failed")
    with two.vault.changes.database.reading() as connection:
        version = connection.execute(
            select(tables.log_unit.c.mac_version).order_by(tables.log_unit.c.first.desc()).limit(1)
        ).scalar_one()
    assert version == 2
    two.verify_log()


def test_the_dates_are_those_of_the_kinds(two: Counter) -> None:
    """Every kind but tokens has a day by which it is to be replaced, and a rotation moves it."""
    two.furnished.clock.pass_time(days=1)
    _log_in_again(two)
    before = {info.kind: info.due_at for info in _infos(two) if info.state == "active" and not info.scope}
    for kind in ("authority", "log_mac", "session", "staff_data"):
        rotate(two, kind)
    after = {info.kind: info.due_at for info in _infos(two) if info.state == "active" and not info.scope}
    for kind in ("authority", "log_mac", "session", "staff_data"):
        assert str(after[kind]) > str(before[kind])
    assert {"root", *KeyKind} == {info.kind for info in _infos(two)}


def _infos(counter: Counter) -> list[Any]:
    return counter.vault.keys.list(counter.furnished.request(counter.actor("admin"))).keys


def test_a_sweep_that_is_behind_looks_again_and_raises_no_alarm(two: Counter) -> None:
    def act() -> None:
        rotate(two, "authority")
        reseal(two, "authority", size=50)

    node = _behind(two, act)
    node.upkeep._sweep(node.now_us())
    assert two.alarms() == []


def test_an_act_that_meets_rows_of_a_newer_key_is_decided_again(on_postgresql: Counter) -> None:
    """On SQLite nobody writes while an act is under way."""
    counter = on_postgresql
    node, person = counter.node(), counter.furnished.people["minji"]
    tries = 0

    def act(attempt: Attempt) -> Change[str]:
        nonlocal tries
        tries += 1
        if tries == 1:
            rotate(counter, "authority")
            reseal(counter, "authority", size=50)
        row = locked_staff(attempt.connection, person)
        assert row is not None
        return Change(attempt.genuine(row).login, {}, revises=False)

    request = counter.furnished.request(counter.actor("admin"))
    assert node.changes.make(request, Action.STAFF_LIST, act).value == "minji"
    assert tries == 2
    assert counter.alarms() == []


def test_a_tree_that_was_changed_keeps_every_key_that_it_could_hang_on(two: Counter) -> None:
    for kind in ("authority", "log_mac"):
        rotate(two, kind)
    two.verify_log()
    assert (census(two, "authority").counts["trees"], census(two, "log_mac").total) == (0, 0)
    two.tamper(update(tables.log_tree).values(frontier=b"nonsense"))
    assert census(two, "authority").counts["trees"] == 1
    assert census(two, "authority", 2).counts["trees"] == 1
    # Nothing counts as integrated then.
    assert census(two, "log_mac").counts["units"] > 0
