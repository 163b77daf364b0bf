"""A server whose root key's holder is not there yet waits for it; one that cannot be right does not start."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.furnished import START
from tests.support.openbao import OpenBaoServer
from tests.vault.test_holders import PASSPHRASE, make, saying
from vault.access.standing import Why
from vault.assembly import New, Sealing, open_or_wait, open_vault
from vault.domain.errors import UnavailableError


class Clock:
    """Time that stands until it is moved."""

    now = START

    def __call__(self) -> datetime:
        return self.now


def test_opens_by_itself_when_the_holder_is_back(tmp_path: Path, own_openbao: OpenBaoServer) -> None:
    key = own_openbao.make_key()
    token = tmp_path / "token"
    token.write_text(own_openbao.make_token(key) + "\n", encoding="utf-8")
    token.chmod(0o600)
    tables = f'[openbao]\naddress = "{own_openbao.address}"\nkey = "{key}"\ntoken_file = "{token}"\n'
    made = make(tmp_path / "home", Sealing(root=New("openbao"), tables=tables))
    own_openbao.seal()
    with pytest.raises(UnavailableError, match="sealed"):
        open_vault(made.settings)
    clock = Clock()
    vault = open_or_wait(made.settings, clock=clock)
    assert vault.unsealing.state().why is Why.UNREACHABLE
    vault.upkeep.round()
    assert vault.unsealing.state().why is Why.UNREACHABLE
    own_openbao.unseal()
    # The holder is left alone for five seconds after a failure.
    vault.upkeep.round()
    assert vault.unsealing.state().why is Why.UNREACHABLE
    clock.now += timedelta(seconds=6)
    vault.upkeep.round()
    assert not vault.is_sealed
    assert vault.status().root_key.startswith("OpenBao transit")
    vault.close()


def test_what_waiting_would_not_help_does_not_start(tmp_path: Path) -> None:
    made = make(tmp_path / "home", Sealing())
    made.settings.root_key.unlink()
    with pytest.raises(UnavailableError, match="missing"):
        open_or_wait(made.settings)


def test_a_wrong_passphrase_does_not_start(tmp_path: Path) -> None:
    made = make(tmp_path / "home", Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    with pytest.raises(UnavailableError, match="does not open"):
        open_or_wait(made.settings, ask=saying("correct horse 배터리 stable"))
    opened = open_or_wait(made.settings, ask=saying(PASSPHRASE))
    assert not opened.is_sealed
    opened.close()


def test_a_holder_that_fails_later_is_told_and_asked_again(tmp_path: Path) -> None:
    made = make(tmp_path / "home", Sealing())
    clock = Clock()
    vault = open_or_wait(made.settings, clock=clock)
    file = made.settings.root_key
    vault.standings._seal(vault.standings.current)
    moved = file.rename(tmp_path / "elsewhere")
    vault.upkeep.round()
    assert vault.upkeep.health.trouble == "unavailable"
    assert vault.unsealing.state().why is Why.FAILED
    moved.rename(file)
    clock.now += timedelta(seconds=6)
    vault.upkeep.round()
    assert not vault.is_sealed
    vault.close()
