"""A server whose root key's holder is not there yet waits for it; one that cannot be right does not start."""

from __future__ import annotations

import base64
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from api.app import build_app
from tests.support.furnished import START
from tests.support.openbao import OpenBaoServer, impostor
from tests.vault.test_holders import PASSPHRASE, make, saying
from vault.access.standing import Why
from vault.assembly import Initialised, New, Sealing, open_or_wait, open_vault
from vault.domain.errors import UnavailableError
from vault.service.vault import Vault
from vault.settings import Settings
from vault.storage import tables
from vault.storage.database import Database


class Clock:
    """Time that stands until it is moved."""

    now = START

    def __call__(self) -> datetime:
        return self.now


def held_by(server: OpenBaoServer, folder: Path, **options: Any) -> tuple[Initialised, str]:
    """Make a vault whose root key the server holds; return it and its token, made with ``options``."""
    key = server.make_key()
    token = server.make_token(key, **options)
    write_token(folder, token)
    tables = f'[openbao]\naddress = "{server.address}"\nkey = "{key}"\ntoken_file = "{folder / "token"}"\n'
    return make(folder / "home", Sealing(root=New("openbao"), tables=tables)), token


def write_token(folder: Path, token: str) -> None:
    file = folder / "token"
    file.write_text(f"{token}\n", encoding="utf-8")
    file.chmod(0o600)


def left(server: OpenBaoServer, token: str) -> int:
    """Return the seconds that a token has."""
    return int(server.call("POST", "auth/token/lookup", {"token": token})["data"]["ttl"])


def renewed(vault: Vault) -> None:
    """Do a round, and another when the holder has answered."""
    vault.upkeep.round()
    if vault.upkeep._renewal.ident is not None:
        vault.upkeep._renewal.join()
    vault.upkeep.round()


def test_opens_by_itself_when_the_holder_is_back(tmp_path: Path, own_openbao: OpenBaoServer) -> None:
    made, _ = held_by(own_openbao, tmp_path)
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


def test_waits_for_a_holder_behind_a_load_balancer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = make(tmp_path / "home", Sealing(root=New("file")))
    with impostor(502, b"<html>bad gateway</html>") as balancer:
        write_token(tmp_path, "s.token")
        table = f'[openbao]\naddress = "{balancer.address}"\nkey = "k"\ntoken_file = "{tmp_path / "token"}"\n'
        file = made.settings.home / "piivault.toml"
        file.write_text(file.read_text(encoding="utf-8") + table, encoding="utf-8")
        with closing(Database.open(made.settings.database_url)) as database, database.writing() as connection:
            values = {"kind": "openbao", "wrapped": b"\x03vault:v1:" + base64.b64encode(bytes(60))}
            connection.execute(update(tables.root_key).where(tables.root_key.c.slot == "live").values(values))
        vault = open_or_wait(Settings.load(made.settings.home), clock=Clock())
        assert vault.unsealing.state().why is Why.UNREACHABLE
        vault.upkeep.round()
        assert "(status 502): unreachable" in caplog.text
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


def test_token_of_the_holder_is_prolonged_at_half_of_its_time(tmp_path: Path, openbao: OpenBaoServer) -> None:
    made, token = held_by(openbao, tmp_path, period="60s", no_default_policy=False)
    clock = Clock()
    vault = open_or_wait(made.settings, clock=clock)
    renewed(vault)
    while left(openbao, token) > 58:
        time.sleep(0.1)
    clock.now += timedelta(seconds=20)
    renewed(vault)
    assert left(openbao, token) <= 58
    clock.now += timedelta(seconds=20)
    renewed(vault)
    assert left(openbao, token) > 58
    assert vault.upkeep.health.trouble == ""
    vault.close()


def test_a_token_that_is_refused_is_told_and_another_is_taken(
    tmp_path: Path, openbao: OpenBaoServer, caplog: pytest.LogCaptureFixture
) -> None:
    made, token = held_by(openbao, tmp_path, period="60s", no_default_policy=False)
    clock = Clock()
    vault = open_or_wait(made.settings, clock=clock)
    openbao.call("POST", "auth/token/revoke", {"token": token})
    renewed(vault)
    assert vault.upkeep.health.trouble == "holder"
    assert "get a new token" in caplog.text
    assert token not in caplog.text
    # The root key is in memory: it serves, and says so.
    assert not vault.is_sealed
    client = TestClient(build_app(vault))
    assert client.get("/readyz").status_code == 200
    (tmp_path / "other").mkdir()
    _, other = held_by(openbao, tmp_path / "other", period="60s", no_default_policy=False)
    write_token(tmp_path, other)
    renewed(vault)
    assert vault.upkeep.health.trouble == "holder"
    clock.now += timedelta(minutes=2)
    renewed(vault)
    assert vault.upkeep.health.trouble == ""
    vault.close()


def test_a_wrapped_token_is_taken_while_it_runs(tmp_path: Path, openbao: OpenBaoServer) -> None:
    made, token = held_by(openbao, tmp_path, period="60s", no_default_policy=False)
    wrapped = tmp_path / "wrapped"
    openbao_table = made.settings.wrappers["openbao"]
    table = {"openbao": {**openbao_table, "wrapped_token_file": str(wrapped)}}
    clock = Clock()
    vault = open_or_wait(replace(made.settings, wrappers=table), clock=clock)
    openbao.call("POST", "auth/token/revoke", {"token": token})
    renewed(vault)
    assert vault.upkeep.health.trouble == "holder"
    options = {"period": "60s", "no_default_policy": False}
    wrapped.touch(0o600)
    wrapped.write_text(openbao.make_token(openbao_table["key"], wrap_ttl="60s", **options), encoding="utf-8")
    clock.now += timedelta(minutes=2)
    renewed(vault)
    assert (vault.upkeep.health.trouble, wrapped.exists()) == ("", False)
    vault.close()


def test_a_token_that_nears_its_end_is_told_in_time(tmp_path: Path, openbao: OpenBaoServer) -> None:
    made, token = held_by(openbao, tmp_path, ttl="100s", renewable=False, no_default_policy=False)
    clock = Clock()
    vault = open_or_wait(made.settings, clock=clock)
    renewed(vault)
    assert vault.upkeep.health.trouble == ""
    while left(openbao, token) > 97:
        time.sleep(0.1)
    clock.now += timedelta(seconds=50)
    renewed(vault)
    assert vault.upkeep.health.trouble == "holder"
    vault.close()


def test_a_token_without_an_end_is_left_alone(tmp_path: Path, openbao: OpenBaoServer) -> None:
    made, _ = held_by(openbao, tmp_path)
    write_token(tmp_path, openbao.root_token)
    vault = open_or_wait(made.settings, clock=Clock())
    renewed(vault)
    renewed(vault)
    assert vault.upkeep.health.trouble == ""
    vault.close()
