"""The folder of a vault: made whole or not at all, readable for its owner alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from vault.domain.errors import ConflictError
from vault.settings import FILE, TEMPLATE, Settings

ROOT_KEY: Final = "keys/root.key"
SQLITE: Final = "data/vault.db"
DATABASE_URL: Final = "data/database-url"


def require_empty(home: Path) -> None:
    """Return if there is no vault in ``home``. Raises ConflictError."""
    for name in (FILE, ROOT_KEY, SQLITE, DATABASE_URL):
        # The key or the data of a vault whose settings file is lost are a vault all the same.
        if (home / name).exists():
            raise ConflictError(f"there is a vault in this folder already: {name}")


def require_vacant(home: Path) -> None:
    """Return if a vault can be put back into ``home``: there is nothing but what opens the root key.

    Raises ConflictError.
    """
    if home.exists() and {path.name for path in home.iterdir()} - {"keys"}:
        raise ConflictError("a vault is put back into an empty folder; only keys/ may be in it")


def make_home(home: Path, database_url: str, wrappers: str, made: list[Path]) -> Settings:
    """Make folders and files; append to ``made`` each as soon as it is there."""
    home.parent.mkdir(parents=True, exist_ok=True)
    _make_folder(home, made)
    line = f'url_file = "{DATABASE_URL}"' if database_url else f"# SQLite in {SQLITE}"
    # First of all, and never over another: of two who make a vault here at once, one goes on.
    _write(home / FILE, TEMPLATE.format(database=line, wrappers=wrappers and f"\n{wrappers}"), made)
    for name in ("data", "keys", "log"):
        _make_folder(home / name, made)
    if database_url:
        # It may hold a password, so it gets a file of its own.
        _write(home / DATABASE_URL, database_url + "\n", made)
    else:
        # SQLite gives its write-ahead log the mode of the database.
        _write(home / SQLITE, "", made)
        made += [home / f"{SQLITE}-wal", home / f"{SQLITE}-shm"]
    return Settings.load(home)


def _make_folder(path: Path, made: list[Path]) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        made.append(path)


def _write(path: Path, text: str, made: list[Path]) -> None:
    """Write a new file that only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise ConflictError("another vault is being made in this folder") from None
    made.append(path)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def take_away(made: list[Path]) -> None:
    """Take away what was made, and nothing else."""
    for path in reversed(made):
        if path.is_dir():
            # Unless somebody else has put something there.
            with suppress(OSError):
                path.rmdir()
        else:
            path.unlink(missing_ok=True)
