"""The root key changes as a whole or not at all, on both databases, and its copy for recovery is proved."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import update

from keys.errors import MalformedError, WrapperUnavailableError
from keys.rootkey import RootKey
from keys.secret import SecretText
from tests.conformance.counter import Counter, phone
from tests.support.furnished import phones
from vault.access.roots import Roots
from vault.access.standing import Why
from vault.assembly import Ask, New, Sealing, change_root_key, drill_recovery, open_vault
from vault.assembly.rootkeys import RootChange
from vault.domain.errors import (
    ConflictError,
    InvalidInputError,
    InvalidValueError,
    OutcomeUnknownError,
    SealedError,
    UnavailableError,
)
from vault.service.vault import Vault
from vault.storage import database, roots, tables

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

PASSPHRASE = "correct horse 배터리 staple"


def saying(*answers: str) -> Ask:
    """Return somebody who gives these answers, one after the other."""
    rest = list(answers)
    return lambda _what: SecretText(rest.pop(0))


def _fill(counter: Counter) -> list[str]:
    return [answer["token"] for answer in counter.tokenize(*map(phone, phones(5)))["items"]]


def _all_open(counter: Counter, tokens: list[str], vault: Vault | None = None) -> None:
    opened = counter.detokenize(*tokens, at=vault)["items"]
    assert [answer.get("value") for answer in opened] == list(phones(len(tokens)))


def _change(counter: Counter, sealing: Sealing | None = None, **more: object) -> RootChange:
    settings = counter.furnished.settings
    return change_root_key(settings, sealing or Sealing(), clock=counter.furnished.clock, **more)  # type: ignore[arg-type]


def _copies(counter: Counter) -> list[roots.RootRow]:
    with counter.vault.changes.database.reading() as connection:
        return roots.read_roots(connection)


def _words(changed: RootChange) -> list[str]:
    return [share.expose() for share in changed.recovery_shares]


def _file(counter: Counter, version: int) -> Path:
    name = "root.key" if version == 1 else f"root-{version}.key"
    return counter.furnished.settings.home / "keys" / name


def test_a_new_root_key_opens_everything_and_the_old_one_nothing(counter: Counter) -> None:
    tokens = _fill(counter)
    changed = _change(counter)
    assert (changed.old, changed.new, changed.old_file) == (1, 2, _file(counter, 1))
    assert len(changed.recovery_shares) == 3
    entry = counter.last().entry
    assert (entry.action, entry.actor.id) == ("key:root", "host")
    assert dict(entry.target) == {"from": "1", "to": "2", "root_key": "file", "recovery": "shamir"}
    assert [(row.version, row.slot, row.state, row.wrapped == b"") for row in _copies(counter)] == [
        (2, "live", "active", False),
        (2, "recovery", "active", False),
        (1, "live", "retired", True),
        (1, "recovery", "retired", True),
    ]
    _file(counter, 1).unlink()
    _all_open(counter, tokens, counter.node())
    _file(counter, 2).rename(_file(counter, 1))
    with pytest.raises(UnavailableError, match="missing"):
        counter.node()


def test_a_change_of_the_root_key_may_have_a_reason(counter: Counter) -> None:
    reasons = ("the host was sold", "")
    for reason in reasons:
        _change(counter, reason=reason)
    found = [logged.index for logged in counter.log() if logged.entry.action == "key:root"]
    request = counter.furnished.request(counter.actor("chief"))
    assert [counter.vault.audit.show(request, index)["reason"] for index in found] == list(reasons)
    counter.verify_log()


def test_refuses_a_reason_with_a_telephone_number_before_anything_is_made(counter: Counter) -> None:
    before = len(counter.log())
    with pytest.raises(InvalidValueError) as refused:
        _change(counter, reason="ask 010-1234-5678")
    assert (refused.value.field, refused.value.rule) == ("reason", "phone_number")
    assert (len(counter.log()), _file(counter, 2).exists()) == (before, False)


def test_a_running_node_takes_the_new_root_key_by_itself(counter: Counter) -> None:
    tokens, node = _fill(counter), counter.node()
    _change(counter)
    for vault in (counter.vault, node):
        _all_open(counter, tokens, vault)
        vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
        assert "root-2.key" in vault.status().root_key
    _all_open(counter, tokens, counter.node())
    assert counter.alarms() == []
    counter.verify_log()


def test_a_running_node_without_the_new_root_key_reveals_nothing(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = _fill(counter)
    _change(counter)
    _file(counter, 2).rename(_file(counter, 9))
    for _ in range(3):
        with pytest.raises(UnavailableError) as refused:
            counter.detokenize(*tokens)
        # Whoever asks may be a stranger; where the file should be stands in the log, once per try.
        assert refused.value.detail == "the root key cannot be opened on this node"
    (logged,) = [record.getMessage() for record in caplog.records]
    assert logged.startswith(
        f"root key 2: the root key cannot be used: key file {_file(counter, 2)}: missing"
    )
    assert logged.endswith("piivault keys root rotate --from-recovery")
    _file(counter, 9).rename(_file(counter, 2))
    counter.furnished.clock.pass_time(seconds=6)
    _all_open(counter, tokens)


def test_a_refused_pin_is_never_tried_again(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def refuse(row: roots.RootRow) -> NoReturn:
        tried.append(row.version)
        raise WrapperUnavailableError("pin", "PKCS#11 token t, key k", "correct it")

    tokens = _fill(counter)
    _change(counter)
    monkeypatch.setattr(counter.vault.standings.roots, "_wrappers", refuse)
    for _ in range(3):
        counter.furnished.clock.pass_time(seconds=60)
        with pytest.raises(UnavailableError):
            counter.detokenize(*tokens)
    assert tried == [2]


def test_the_holder_changes_with_the_root_key(counter: Counter) -> None:
    tokens = _fill(counter)
    changed = _change(counter, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    assert changed.root_key.startswith("passphrase")
    vault = open_vault(counter.furnished.settings, clock=counter.furnished.clock, ask=saying(PASSPHRASE))
    _all_open(counter, tokens, vault)
    vault.close()
    # What holds it stays the same when nothing is said.
    kept = _change(counter, Sealing(ask=saying("another long passphrase")), ask=saying(PASSPHRASE))
    assert kept.root_key.startswith("passphrase")
    asked = saying("another long passphrase")
    again = _change(counter, Sealing(root=New("file")), ask=asked)
    assert (again.new, again.old_file) == (4, None)
    _all_open(counter, tokens, counter.node())


def test_nobody_is_asked_once_a_vault_is_open(counter: Counter) -> None:
    tokens = _fill(counter)
    _change(counter, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    ask = saying(PASSPHRASE, PASSPHRASE)
    vault = open_vault(counter.furnished.settings, clock=counter.furnished.clock, ask=ask)
    _change(counter, Sealing(ask=saying("another long passphrase")), ask=saying(PASSPHRASE))
    with pytest.raises(SealedError):
        counter.detokenize(*tokens, at=vault)
    assert vault.unsealing.state().why is Why.WAITING
    vault.close()


@pytest.mark.parametrize("moment", ["insert_roots", "retire_roots"])
def test_what_fails_before_the_commit_leaves_the_old_root_key(
    counter: Counter, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise UnavailableError("the disk is full")

    tokens, before = _fill(counter), counter.next_index()
    owner = "vault.assembly.rootkeys"
    monkeypatch.setattr(f"{owner}.{moment}", fail)
    with pytest.raises(UnavailableError, match="disk is full"):
        _change(counter)
    assert counter.next_index() == before
    assert not _file(counter, 2).exists()
    _all_open(counter, tokens, counter.node())
    monkeypatch.undo()
    assert _change(counter).new == 2
    _all_open(counter, tokens, counter.node())


@pytest.mark.parametrize("error", [OutcomeUnknownError("no answer"), KeyboardInterrupt()])
def test_a_commit_whose_answer_was_lost_is_looked_up(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Whoever presses Ctrl-C while a commit waits has not stopped it."""
    tokens = _fill(counter)
    commit: Callable[..., None] = database._commit

    def lose_the_answer(*arguments: object) -> None:
        commit(*arguments)
        raise error

    monkeypatch.setattr(database, "_commit", lose_the_answer)
    changed = _change(counter)
    monkeypatch.undo()
    assert (changed.new, len(changed.recovery_shares)) == (2, 3)
    assert _file(counter, 2).exists()
    _all_open(counter, tokens, counter.node())


def test_nothing_is_taken_away_while_nobody_knows_the_outcome(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = _fill(counter)
    commit: Callable[..., None] = database._commit
    told: list[RootChange] = []

    def go_away(*arguments: object) -> None:
        commit(*arguments)
        monkeypatch.setattr("vault.assembly.rootkeys.read_roots", _away)
        raise OutcomeUnknownError("no answer")

    monkeypatch.setattr(database, "_commit", go_away)
    with pytest.raises(OutcomeUnknownError, match="keep every key file and every share"):
        change_root_key(counter.furnished.settings, Sealing(), told.append, clock=counter.furnished.clock)
    monkeypatch.undo()
    assert _file(counter, 1).exists()
    assert _file(counter, 2).exists()
    # The shares were told before the commit.
    words = _words(told[0])
    assert drill_recovery(counter.furnished.settings, ask=saying(*words[:2])).version == 2
    _all_open(counter, tokens, counter.node())


def _away(*_arguments: object) -> NoReturn:
    raise UnavailableError("the database cannot be reached")


def test_others_may_change_the_vault_while_somebody_types(counter: Counter) -> None:
    def slow(_what: str) -> SecretText:
        counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
        return SecretText(PASSPHRASE)

    tokens = _fill(counter)
    assert _change(counter, Sealing(root=New("passphrase"), ask=slow)).new == 2
    vault = open_vault(counter.furnished.settings, clock=counter.furnished.clock, ask=saying(PASSPHRASE))
    _all_open(counter, tokens, vault)
    vault.close()


def test_two_changes_at_once_are_one_too_many(counter: Counter) -> None:
    seen: list[str] = []

    def busy(_what: str) -> SecretText:
        with pytest.raises(ConflictError, match="already"):
            _change(counter)
        seen.append("refused")
        return SecretText(PASSPHRASE)

    _change(counter, Sealing(root=New("passphrase"), ask=busy))
    assert seen == ["refused"]


def test_shares_are_asked_for_by_number_when_the_root_key_changes(counter: Counter) -> None:
    changed = _change(counter, Sealing(root=New("shamir", threshold=2, shares=2)))
    words = [share.expose() for share in changed.shares]
    with pytest.raises(InvalidInputError) as refused:
        _change(counter, ask=saying(*words))
    assert (refused.value.field, refused.value.rule) == ("root_key", "required")


def test_recovery_does_not_lie_beside_the_database(counter: Counter, tmp_path: Path) -> None:
    inside = counter.furnished.settings.home / "data" / "safe.key"
    link = tmp_path / "linked"
    link.symlink_to(inside.parent)
    around = tmp_path / ".." / tmp_path.name / "linked" / ".." / "data" / "safe.key"
    for path in (inside, link / "safe.key", around):
        with pytest.raises(InvalidInputError) as refused:
            _change(counter, Sealing(recovery=New("file", file=path)))
        assert (refused.value.field, refused.value.rule) == ("recovery", "inside")
        assert not inside.exists()


def test_whoever_was_faster_on_another_host_wins_and_the_other_is_told(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.assembly.rootkeys.alone", lambda _settings: nullcontext())
    tokens, faster = _fill(counter), []

    def meanwhile(_change_of_ours: RootChange) -> None:
        faster.append(_change(counter, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE))))

    settings, clock = counter.furnished.settings, counter.furnished.clock
    with pytest.raises((ConflictError, UnavailableError)):
        change_root_key(settings, Sealing(), meanwhile, clock=clock)
    assert faster[0].new == 2
    assert not _file(counter, 2).exists()
    vault = open_vault(settings, clock=clock, ask=saying(PASSPHRASE))
    _all_open(counter, tokens, vault)
    vault.close()


def test_recovery_needs_a_passphrase_of_its_own(counter: Counter) -> None:
    both = Sealing(root=New("passphrase"), recovery=New("passphrase"), ask=saying(PASSPHRASE, PASSPHRASE))
    with pytest.raises(InvalidInputError) as refused:
        _change(counter, both)
    assert (refused.value.field, refused.value.rule) == ("recovery", "same")


def test_a_passphrase_seals_no_second_root_key_before_the_first_has_ended(on_sqlite: Counter) -> None:
    counter, used = on_sqlite, "another long passphrase"
    _change(counter, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    away = Sealing(root=New("file"), recovery=New("passphrase"), ask=saying(used))
    _change(counter, away, ask=saying(PASSPHRASE))
    with pytest.raises(ConflictError, match=r"opens root key 2 as well.*choose another"):
        _change(counter, Sealing(root=New("passphrase"), recovery=New("shamir"), ask=saying(PASSPHRASE)))
    with pytest.raises(ConflictError, match=r"opens root key 3 as well.*choose another"):
        _change(counter, Sealing(ask=saying(used)))
    kept = [row for row in _copies(counter) if row.state == "retired" and row.wrapped]
    assert [(row.version, row.slot) for row in kept] == [(2, "live")]
    with counter.vault.changes.database.writing() as connection:
        assert roots.end_copy(connection, 2, "live", ended_at=counter.vault.now_us()) == 1
    assert not any(row.wrapped for row in _copies(counter) if row.state == "retired")


def test_a_key_that_does_not_open_is_named(counter: Counter) -> None:
    key = {"kind": "lookup", "scope": "member.phone"}
    counter.tamper(update(tables.key).filter_by(**key).values(state="suspended"))
    counter.tamper(update(tables.key).filter_by(**key).values(wrapped=b"x" * 61))
    with pytest.raises(UnavailableError, match=r"lookup/member\.phone/1 does not open; nothing was changed"):
        _change(counter)


def test_a_file_left_by_a_change_that_did_not_happen_is_not_used(counter: Counter) -> None:
    _file(counter, 2).write_text("left over", encoding="utf-8")
    with pytest.raises(ConflictError, match=r"root-2\.key is there already.*move it aside"):
        _change(counter)
    assert _file(counter, 2).read_text(encoding="utf-8") == "left over"


def test_a_destroyed_epoch_stays_so_through_a_new_root_key(counter: Counter) -> None:
    tokens = _fill(counter)
    counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
    counter.vault.keys.rewrap(counter.furnished.request(counter.actor("admin")))
    while counter.vault.worker.portion() is not None:
        pass
    counter.change(tables.key, {"kind": "wrapping", "version": 1}, state="destroyed", wrapped=b"")
    _change(counter)
    assert bytes(counter.row(tables.key, kind="wrapping", version=1)["wrapped"]) == b""
    _all_open(counter, tokens, counter.node())


# Recovery


def test_a_drill_opens_every_key_with_the_shares_alone(counter: Counter) -> None:
    words = _words(_change(counter))
    # This node has the new root key in memory before its file is lost.
    _all_open(counter, _fill(counter))
    _file(counter, 2).unlink()
    shown = drill_recovery(
        counter.furnished.settings, ask=saying(words[2], words[0]), clock=counter.furnished.clock
    )
    assert (shown.version, shown.keys) == (2, counter.count(tables.key))
    entry = counter.entry(shown.log_index)
    assert (entry.action, dict(entry.target)["recovery"]) == ("drill:recovery", "shamir")
    counter.verify_log()


def test_a_drill_with_the_wrong_shares_fails_and_leaves_no_entry(counter: Counter) -> None:
    old = _words(_change(counter))
    new = _words(_change(counter))
    before = counter.next_index()
    for words, reason in (((old[0], old[1]), "does not open"), ((new[0], old[1]), "share_of_another_set")):
        with pytest.raises(UnavailableError, match=reason):
            drill_recovery(counter.furnished.settings, ask=saying(*words), clock=counter.furnished.clock)
    assert counter.next_index() == before


def test_a_vault_whose_holder_is_lost_gets_a_new_root_key_from_the_shares(counter: Counter) -> None:
    tokens = _fill(counter)
    words = _words(_change(counter))
    _file(counter, 2).unlink()
    with pytest.raises(UnavailableError, match="missing"):
        counter.node()
    changed = _change(counter, ask=saying(words[0], words[1]), from_recovery=True)
    assert changed.new == 3
    _all_open(counter, tokens, counter.node())
    _all_open(counter, tokens)


def test_a_key_file_elsewhere_is_a_copy_for_recovery_too(counter: Counter, tmp_path: Path) -> None:
    safe = tmp_path / "safe.key"
    _change(counter, Sealing(recovery=New("file", file=safe)))
    settings, clock = counter.furnished.settings, counter.furnished.clock
    assert drill_recovery(settings, file=safe, clock=clock).version == 2
    with pytest.raises(InvalidInputError) as refused:
        drill_recovery(settings, clock=clock)
    assert (refused.value.field, refused.value.rule) == ("--recovery-file", "required")
    with pytest.raises(UnavailableError, match="does not open"):
        drill_recovery(settings, file=_file(counter, 2), clock=clock)


def test_copies_put_in_each_others_place_open_nothing(counter: Counter, tmp_path: Path) -> None:
    """Whoever holds the database cannot pass the copy for recovery off as the other one."""
    _change(counter, Sealing(recovery=New("file", file=tmp_path / "safe.key")))
    live, spare = (row.wrapped for row in _copies(counter)[:2])
    for slot, wrapped in (("live", spare), ("recovery", live)):
        counter.tamper(update(tables.root_key).filter_by(version=2, slot=slot).values(wrapped=wrapped))
    with pytest.raises(UnavailableError, match="does not open"):
        counter.node()
    with pytest.raises(UnavailableError, match="does not open"):
        drill_recovery(counter.furnished.settings, file=_file(counter, 2), clock=counter.furnished.clock)


def test_a_vault_without_a_copy_for_recovery_says_so(counter: Counter) -> None:
    counter.tamper(update(tables.root_key).filter_by(slot="recovery").values(state="retired", wrapped=b""))
    with pytest.raises(UnavailableError, match="no root key for recovery use"):
        drill_recovery(counter.furnished.settings, clock=counter.furnished.clock)


# Reading what holds


def test_a_root_key_changed_while_it_was_opened_is_opened_again(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, seen = _fill(counter), []
    opens = Roots.open

    def open_slowly(self: Roots, row: roots.RootRow, vault_id: bytes) -> RootKey:
        root = opens(self, row, vault_id)
        seen.append(row.version)
        if seen == [1]:
            monkeypatch.setattr(Roots, "open", opens)
            _change(counter)
            monkeypatch.setattr(Roots, "open", open_slowly)
        return root

    monkeypatch.setattr(Roots, "open", open_slowly)
    vault = counter.node()
    assert seen == [1, 2]
    _all_open(counter, tokens, vault)


def test_a_vault_sealed_while_its_root_key_was_opened_stays_shut(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = Roots.open

    def seal_meanwhile(self: Roots, row: roots.RootRow, vault_id: bytes) -> RootKey:
        counter.tamper(update(tables.counter).values(sealed=True))
        return opens(self, row, vault_id)

    monkeypatch.setattr(Roots, "open", seal_meanwhile)
    with pytest.raises(SealedError):
        counter.node()
    counter.tamper(update(tables.counter).values(sealed=False))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MalformedError("address"), "the root key cannot be used: malformed: address"),
        (
            InvalidInputError("openbao.key is needed", field="openbao.key", rule="required"),
            "openbao.key is needed",
        ),
    ],
)
def test_settings_that_are_wrong_are_told_to_who_starts_the_vault(
    counter: Counter, error: Exception, told: str
) -> None:
    def refuse(_row: roots.RootRow) -> NoReturn:
        raise error

    held = Roots(refuse, counter.furnished.clock)
    with pytest.raises(UnavailableError, match="not been opened"):
        _ = held.held
    with pytest.raises(UnavailableError) as refused:
        held.open(_copies(counter)[0], bytes(16))
    assert told in refused.value.detail
