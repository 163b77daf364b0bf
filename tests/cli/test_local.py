from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli.demo_data import policy_text
from cli.local.homes import home_of
from tests.cli.conftest import Command

PEOPLE = ("--administrator", "mina:김민아", "--officer", "jun:박준")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(policy_text(), encoding="utf-8")
    return path


def test_init_makes_a_vault_and_two_codes(command: Command, tmp_path: Path, policy: Path) -> None:
    home = tmp_path / "vault"
    ran = command("init", "--home", home, "--policy", policy, *PEOPLE, "--json")
    assert ran.code == 0, ran.err
    codes = {ran.json[role]["invitation"] for role in ("administrator", "officer")}
    assert len(codes) == 2
    assert all(code.startswith("pvi_") for code in codes)
    assert ran.json["home"] == str(home)
    assert stat.S_IMODE((home / "keys" / "root.key").stat().st_mode) == 0o600
    again = command("init", "--home", home, "--policy", policy, *PEOPLE, "--json")
    assert again.code == 5
    assert again.json["error"]["code"] == "conflict"

    assert command("migrate", "--home", home).code == 0
    assert command("migrate", "--home", home, "--json").json["schema"] == "current"

    (home / "keys" / "root.key").chmod(0o644)
    open_key = command("status", "--home", home)
    assert open_key.code == 7
    assert "permissions" in open_key.err


def test_init_asks_for_what_it_is_not_told(command: Command, tmp_path: Path, policy: Path) -> None:
    typed = f"{policy}\n\nmina\n김민아\njun\n박준\n"
    ran = command("init", "--home", tmp_path / "vault", typed=typed)
    assert ran.code == 0, ran.err
    assert "Policy [policy.toml]: Administrator, login: Administrator, login: " in ran.err
    assert "administrator mina: pvi_" in ran.out
    assert "piivault serve --home" in ran.out
    assert "never beside the database" in ran.err


def test_init_asks_nobody_without_a_terminal(command: Command, tmp_path: Path, policy: Path) -> None:
    for options, named in (([], "--policy"), (["--policy", policy], "--administrator")):
        ran = command("init", "--home", tmp_path / "vault", *options)
        assert ran.code == 2
        assert named in ran.err
    assert not (tmp_path / "vault").exists()


@pytest.mark.parametrize("person", ["mina", "mina:", ":김민아"])
def test_a_person_has_a_login_and_a_name(command: Command, tmp_path: Path, policy: Path, person: str) -> None:
    ran = command(
        "init", "--home", tmp_path / "v", "--policy", policy, "--administrator", person, "--officer", "a:b"
    )
    assert ran.code == 2
    assert "LOGIN:NAME" in ran.err


def test_one_person_cannot_be_both(command: Command, tmp_path: Path, policy: Path) -> None:
    people = ("--administrator", "mina:김민아", "--officer", "mina:김민아")
    ran = command("init", "--home", tmp_path / "vault", "--policy", policy, *people)
    assert ran.code == 2
    assert not (tmp_path / "vault").exists()


def test_refuses_a_policy_that_is_none(command: Command, tmp_path: Path, policy: Path) -> None:
    arguments = ("init", "--home", tmp_path / "vault", *PEOPLE, "--policy")
    assert command(*arguments, tmp_path / "none.toml").code == 2
    policy.write_bytes(b"\xff")
    assert "not UTF-8" in command(*arguments, policy).err
    policy.write_text("x = 1")
    assert command(*arguments, policy).code == 2
    assert not (tmp_path / "vault").exists()


def test_a_database_url_comes_from_one_place(command: Command, tmp_path: Path, policy: Path) -> None:
    url = tmp_path / "url"
    url.write_text("postgresql://nobody@127.0.0.1:1/none\n")
    arguments = ("init", "--home", tmp_path / "vault", "--policy", policy, *PEOPLE)
    away = command(*arguments, "--database-url-file", url)
    assert away.code == 7
    both = command(*arguments, "--database-url-file", url, "--database-url", "postgresql://x")
    assert both.code == 2
    assert command(*arguments, "--database-url-file", tmp_path / "none").code == 2
    assert not (tmp_path / "vault").exists()


def test_a_vault_is_where_it_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_of(None) == tmp_path / ".local" / "share" / "piivault"
    assert home_of(Path("~/vault")) == tmp_path / "vault"
    monkeypatch.setenv("XDG_DATA_HOME", "/srv")
    assert home_of(None) == Path("/srv/piivault")


@pytest.mark.parametrize(
    ("exported", "typed", "code"),
    [
        ({"PIIVAULT_URL": "http://127.0.0.1:9"}, ("--home", "/nonexistent"), 2),
        ({"PIIVAULT_HOME": "/nonexistent"}, ("--url", "http://127.0.0.1:9"), 3),
    ],
    ids=["home", "url"],
)
def test_what_is_typed_counts_before_what_is_exported(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    exported: dict[str, str],
    typed: tuple[str, ...],
    code: int,
) -> None:
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    assert command("status", *typed).code == code
