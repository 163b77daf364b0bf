"""Which folder is the vault's on this host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

FOLDER: Final = "piivault"

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="PIIVAULT_HOME",
        show_envvar=True,
        help="Folder of the vault; else piivault under XDG_DATA_HOME (~/.local/share).",
    ),
]


def home_of(home: Path | None) -> Path:
    """Return the folder that ``--home`` names, or the one a vault has when nobody says."""
    if home is not None:
        return home.expanduser().absolute()
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / FOLDER
