"""The settings file: every error names the key at fault, and nothing in it is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vault.domain.errors import InvalidInputError
from vault.settings import FILE, TEMPLATE, Settings


def load(home: Path, text: str) -> Settings:
    (home / FILE).write_text(text, encoding="utf-8")
    return Settings.load(home)


def test_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Settings(
        home=tmp_path,
        database_url=f"sqlite:///{tmp_path}/data/vault.db",
        root_key=tmp_path / "keys" / "root.key",
        checkpoint=tmp_path / "log" / "checkpoint",
        host="127.0.0.1",
        port=8443,
        certificate=None,
        private_key=None,
        workers=1,
        wrappers={},
    )


def test_template_says_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, TEMPLATE.format(database="# SQLite", wrappers="")) == load(tmp_path, "")


def test_every_key_is_taken(tmp_path: Path) -> None:
    text = """
    [database]
    url = "postgresql://vault@/vault"
    [keys]
    root = "/etc/piivault/root.key"
    [log]
    checkpoint = "elsewhere/checkpoint"
    [server]
    host = "::1"
    port = 0
    certificate = "tls/chain.pem"
    private_key = "tls/key.pem"
    workers = 4
    """
    assert load(tmp_path, text) == Settings(
        home=tmp_path,
        database_url="postgresql://vault@/vault",
        root_key=Path("/etc/piivault/root.key"),
        checkpoint=tmp_path / "elsewhere" / "checkpoint",
        host="::1",
        port=0,
        certificate=tmp_path / "tls" / "chain.pem",
        private_key=tmp_path / "tls" / "key.pem",
        workers=4,
        wrappers={},
    )


def test_paths_are_absolute_whatever_the_home_was_given_as(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / FILE).write_text("")
    monkeypatch.chdir(tmp_path)
    assert Settings.load(Path()).root_key == tmp_path / "keys" / "root.key"


def test_url_of_the_database_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://vault:secret@db/vault\n")
    settings = load(tmp_path, '[database]\nurl_file = "url"')
    assert settings.database_url == "postgresql://vault:secret@db/vault"


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("[database", FILE, "toml"),
        ("[nonsense]", "nonsense", "unknown_key"),
        ("database = 1", "database", "unknown_key"),
        ("[database]\nurI = 'x'", "database.urI", "unknown_key"),
        ("[database]\nurl = 1", "database.url", "type"),
        ("[database]\nurl_file = 1", "database.url_file", "type"),
        ("[database]\nurl_file = 'nowhere'", "database.url_file", "missing"),
        ("[database]\nurl_file = 'binary'", "database.url_file", "missing"),
        ("[database]\nurl_file = 'blank'", "database.url_file", "empty"),
        ("[database]\nurl_file = 'blank'\nurl = 'x'", "database.url_file", "ambiguous"),
        ("[keys]\nroot = 1", "keys.root", "type"),
        ("[log]\ncheckpoint = []", "log.checkpoint", "type"),
        ("[server]\nhost = 1", "server.host", "type"),
        ("[server]\nport = '8443'", "server.port", "range"),
        ("[server]\nport = 65536", "server.port", "range"),
        ("[server]\nport = -1", "server.port", "range"),
        ("[server]\nport = true", "server.port", "range"),
        ("[server]\ncertificate = 1", "server.certificate", "type"),
        ("[server]\nprivate_key = 1", "server.private_key", "type"),
        ("[server]\nworkers = 0", "server.workers", "range"),
        ("[server]\nworkers = 65", "server.workers", "range"),
        ("[server]\nunseal_networks = '10.0.0.0/8'", "server.unseal_networks", "type"),
        ("[server]\nunseal_networks = [1]", "server.unseal_networks", "type"),
        ("[server]\nunseal_networks = ['10.0.0.1/8']", "server.unseal_networks", "cidr"),
    ],
)
def test_error_names_the_key_at_fault(tmp_path: Path, text: str, field: str, rule: str) -> None:
    (tmp_path / "blank").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError) as caught:
        load(tmp_path, text)
    assert (caught.value.field, caught.value.rule) == (field, rule)
    assert field in str(caught.value)


def test_folder_without_a_vault_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="piivault init") as caught:
        Settings.load(tmp_path)
    assert caught.value.rule == "missing"


def test_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(InvalidInputError) as caught:
        Settings.load(tmp_path)
    assert caught.value.rule == "unreadable"


def test_file_that_is_not_text_says_so(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError) as caught:
        Settings.load(tmp_path)
    assert caught.value.rule == "toml"


def test_an_unseal_comes_from_this_host_unless_more_is_said(tmp_path: Path) -> None:
    assert load(tmp_path, "").unseal_networks == ("127.0.0.0/8", "::1/128")
    assert load(tmp_path, "[server]\nunseal_networks = ['10.0.0.0/8']").unseal_networks == ("10.0.0.0/8",)
    assert load(tmp_path, "[server]\nunseal_networks = []").unseal_networks == ()
