"""Where a vault lives on its host: ``piivault.toml`` in the home folder.

The file holds no secret. A database URL with a password belongs into a file of
its own, named by ``database.url_file``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vault.access.networks import parse_networks
from vault.domain.errors import InvalidInputError
from vault.service.unsealing import THIS_HOST

FILE: Final = "piivault.toml"

TEMPLATE: Final = """\
# A vault's place on this host. Paths are relative to this folder. No secrets here.

[database]
{database}

[keys]
# The key file, where one seals the root key. Never in a backup that also holds the database.
root = "keys/root.key"
{wrappers}
[log]
# The last checkpoint, outside the database.
checkpoint = "log/checkpoint"

[server]
host = "127.0.0.1"
port = 8443
# certificate = "tls/certificate.pem"
# private_key = "tls/private-key.pem"
# From where a sealed server may be unsealed over the network; this host alone unless said.
# unseal_networks = ["127.0.0.0/8", "::1/128"]
"""

WRAPPERS: Final[Mapping[str, frozenset[str]]] = {
    "openbao": frozenset(
        {"address", "mount", "key", "token_file", "wrapped_token_file", "ca_file", "namespace"}
    ),
    "pkcs11": frozenset({"module", "token", "key", "pin_file"}),
    "aws_kms": frozenset({"key", "region", "endpoint"}),
}
"""Kinds of wrappers that have a table of their own, and the keys in it."""

_KEYS: Final[dict[str, frozenset[str]]] = {
    "database": frozenset({"url", "url_file"}),
    "keys": frozenset({"root"}),
    "log": frozenset({"checkpoint"}),
    "server": frozenset({"host", "port", "certificate", "private_key", "workers", "unseal_networks"}),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The file, read and checked. Paths are absolute."""

    home: Path
    database_url: str
    root_key: Path
    checkpoint: Path
    host: str
    port: int
    certificate: Path | None
    private_key: Path | None
    workers: int
    wrappers: Mapping[str, Mapping[str, str]]
    """Where this host finds what seals the root key: a table each, as it stands in the file."""
    unseal_networks: tuple[str, ...] = THIS_HOST
    """Where an unseal may come from, in CIDR form."""

    @classmethod
    def load(cls, home: Path) -> Settings:
        """Read ``piivault.toml`` in ``home``. Raises InvalidInputError naming the key at fault."""
        home = home.absolute()
        try:
            data = tomllib.loads((home / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise _refused(FILE, "missing", "there is no vault here; run: piivault init") from None
        except OSError:
            raise _refused(FILE, "unreadable", "the file cannot be read") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise _refused(FILE, "toml", "the file is not TOML") from None
        _require_known(data)
        server = data.get("server", {})
        return cls(
            home=home,
            database_url=_database_url(home, data.get("database", {})),
            root_key=_path(home, data, "keys", "root") or home / "keys" / "root.key",
            checkpoint=_path(home, data, "log", "checkpoint") or home / "log" / "checkpoint",
            host=_text(server, "server.host", "127.0.0.1"),
            port=_number(server, "server.port", 8443, highest=65_535),
            certificate=_path(home, data, "server", "certificate"),
            private_key=_path(home, data, "server", "private_key"),
            workers=_number(server, "server.workers", 1, lowest=1, highest=64),
            unseal_networks=_networks(server),
            wrappers={name: _texts(data[name], name) for name in WRAPPERS if name in data},
        )


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite:///{path}"


def _require_known(data: dict[str, Any]) -> None:
    for table, members in data.items():
        known = _KEYS.get(table) or WRAPPERS.get(table)
        if known is None or not isinstance(members, dict):
            raise _refused(table, "unknown_key", "there is no such table")
        for key in members:
            if key not in known:
                raise _refused(f"{table}.{key}", "unknown_key", "there is no such key")


def _database_url(home: Path, table: dict[str, Any]) -> str:
    if "url_file" not in table:
        return _text(table, "database.url", "") or sqlite_url(home / "data" / "vault.db")
    if "url" in table:
        raise _refused("database.url_file", "ambiguous", "url and url_file exclude each other")
    try:
        url = (home / _text(table, "database.url_file", "")).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise _refused("database.url_file", "missing", "the file cannot be read") from None
    if not url:
        raise _refused("database.url_file", "empty", "the file holds no URL")
    return url


def _path(home: Path, data: dict[str, Any], table: str, key: str) -> Path | None:
    text = _text(data.get(table, {}), f"{table}.{key}", "")
    return home / text if text else None


def _text(table: dict[str, Any], path: str, default: str) -> str:
    value = table.get(path.rpartition(".")[2], default)
    if not isinstance(value, str):
        raise _refused(path, "type", "a text is needed")
    return value


def _networks(server: dict[str, Any]) -> tuple[str, ...]:
    path = "server.unseal_networks"
    found = server.get("unseal_networks", list(THIS_HOST))
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise _refused(path, "type", "a list of texts is needed")
    try:
        parse_networks(found)
    except InvalidInputError as error:
        raise _refused(path, error.rule, "a list of networks in CIDR form is needed") from None
    return tuple(found)


def _texts(table: dict[str, Any], name: str) -> dict[str, str]:
    return {key: _text(table, f"{name}.{key}", "") for key in table}


def wrapper_tables(text: str) -> str:
    """Return ``text``, which is to become part of the file. Raises InvalidInputError for what is not TOML.

    Only tables of wrappers may be in it.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise _refused("root key settings", "toml", "the file is not TOML") from None
    for name in data:
        if name not in WRAPPERS:
            raise _refused(name, "unknown_key", f"one of the tables {', '.join(WRAPPERS)} is needed")
    _require_known(data)
    return text if text.endswith("\n") else text + "\n"


def _number(table: dict[str, Any], path: str, default: int, *, highest: int, lowest: int = 0) -> int:
    value = table.get(path.rpartition(".")[2], default)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise _refused(path, "range", f"a whole number from {lowest} to {highest} is needed")
    return value


def _refused(field: str, rule: str, detail: str) -> InvalidInputError:
    return InvalidInputError(f"{field}: {detail}", field=field, rule=rule)
