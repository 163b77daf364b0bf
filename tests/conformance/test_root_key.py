"""The root key changes as a whole or not at all, on both databases, and its copy for recovery is proved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from keys.secret import SecretText
from tests.conformance.counter import Counter, phone
from tests.support.furnished import phones
from vault.assembly import Ask, New, Sealing, change_root_key, drill_recovery, open_vault
from vault.assembly.rootkeys import RootChanged
from vault.domain.errors import ConflictError, InvalidInputError, OutcomeUnknownError, UnavailableError
from vault.service.vault import Vault
from vault.storage import database, roots, tables

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


def _change(counter: Counter, sealing: Sealing | None = None, **more: object) -> RootChanged:
    settings = counter.furnished.settings
    return change_root_key(settings, sealing or Sealing(), clock=counter.furnished.clock, **more)  # type: ignore[arg-type]


def _copies(counter: Counter) -> list[roots.RootRow]:
    with counter.vault.changes.database.reading() as connection:
        return roots.read_roots(connection)


def _words(changed: RootChanged) -> list[str]:
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


def test_a_running_node_without_the_new_root_key_reveals_nothing_and_says_why(counter: Counter) -> None:
    tokens = _fill(counter)
    _change(counter)
    _file(counter, 2).rename(_file(counter, 9))
    with pytest.raises(UnavailableError, match="missing"):
        counter.detokenize(*tokens)
    _file(counter, 9).rename(_file(counter, 2))
    _all_open(counter, tokens)


def test_the_holder_changes_with_the_root_key(counter: Counter) -> None:
    tokens = _fill(counter)
    changed = _change(counter, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    assert changed.root_key.startswith("passphrase")
    vault = open_vault(counter.furnished.settings, clock=counter.furnished.clock, ask=saying(PASSPHRASE))
    _all_open(counter, tokens, vault)
    vault.close()
    again = _change(counter, Sealing(root=New("file")), ask=saying(PASSPHRASE))
    assert (again.new, again.old_file) == (3, None)
    _all_open(counter, tokens, counter.node())


def test_nobody_is_asked_once_a_vault_is_open(counter: Counter) -> None:
    tokens = _fill(counter)
    _change(counter, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    ask = saying(PASSPHRASE, PASSPHRASE)
    vault = open_vault(counter.furnished.settings, clock=counter.furnished.clock, ask=ask)
    _change(counter, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)), ask=saying(PASSPHRASE))
    with pytest.raises(UnavailableError, match="nobody can be asked"):
        counter.detokenize(*tokens, at=vault)
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


def test_an_unknown_outcome_keeps_both_key_files(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = _fill(counter)
    commit: Callable[..., None] = database._commit

    def lose_the_answer(*arguments: object) -> None:
        commit(*arguments)
        raise OutcomeUnknownError("the database did not answer a commit")

    monkeypatch.setattr(database, "_commit", lose_the_answer)
    with pytest.raises(OutcomeUnknownError):
        _change(counter)
    monkeypatch.undo()
    assert _file(counter, 1).exists()
    assert _file(counter, 2).exists()
    _all_open(counter, tokens, counter.node())


def test_a_file_left_by_a_change_that_did_not_happen_is_not_used(counter: Counter) -> None:
    _file(counter, 2).write_text("left over", encoding="utf-8")
    with pytest.raises(ConflictError, match=r"root-2\.key is there already"):
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
