from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.remote import profiles
from cli.remote.profiles import Profile
from tests.cli.conftest import Command
from vault.domain.errors import AuthenticationError, InvalidInputError

PROFILE = Profile("https://vault.example", "mina", "pvn_secret", "ses_1", "2026-12-01T00:00:00+00:00")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_a_session_is_kept_for_its_owner_alone() -> None:
    path = profiles.save("default", PROFILE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert profiles.load("default") == PROFILE
    assert profiles.require("default") == PROFILE


def test_saving_again_replaces_and_leaves_nothing_behind() -> None:
    path = profiles.save("default", PROFILE)
    path.with_suffix(".new").write_text("left by a crash")
    profiles.save("default", PROFILE)
    assert [entry.name for entry in path.parent.iterdir()] == ["default.json"]


def test_the_secret_is_not_in_the_repr() -> None:
    assert "pvn_secret" not in repr(PROFILE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_refuses_a_session_file_that_others_may_read(mode: int) -> None:
    path = profiles.save("default", PROFILE)
    path.chmod(mode)
    with pytest.raises(InvalidInputError) as caught:
        profiles.load("default")
    assert caught.value.rule == "others_may_read"


def test_a_command_refuses_it_with_2(command: Command) -> None:
    path = profiles.save("default", PROFILE)
    path.chmod(0o644)
    ran = command("staff", "list")
    assert ran.code == 2
    assert "open to others" in ran.err
    assert "pvn_secret" not in ran.err


def test_refuses_a_link_in_place_of_a_session_file() -> None:
    path = profiles.save("real", PROFILE)
    path.with_name("default.json").symlink_to(path)
    with pytest.raises(InvalidInputError) as caught:
        profiles.load("default")
    assert caught.value.rule == "not_a_file"


def test_refuses_a_pipe_in_place_of_a_session_file() -> None:
    path = profiles.profile_path("default")
    path.parent.mkdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(InvalidInputError) as caught:
        profiles.load("default")
    assert caught.value.rule == "not_a_file"


def test_refuses_a_session_file_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.save("default", PROFILE)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(InvalidInputError) as caught:
        profiles.load("default")
    assert caught.value.rule == "not_yours"


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"url": 1}', b"\xff"])
def test_refuses_a_damaged_session_file(content: bytes) -> None:
    path = profiles.save("default", PROFILE)
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        profiles.load("default")
    assert caught.value.rule == "shape"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65])
def test_refuses_a_name_that_is_a_path(name: str) -> None:
    with pytest.raises(InvalidInputError):
        profiles.profile_path(name)


def test_nobody_is_logged_in_at_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert profiles.load("default") is None
    with pytest.raises(AuthenticationError):
        profiles.require("default")
    profiles.forget("default")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profiles.profile_path("default") == tmp_path / ".config" / "piivault" / "default.json"
