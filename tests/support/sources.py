"""The project's own files, as the architecture tests read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PRODUCT = ("keys", "vault", "api", "cli")
"""The packages that are installed."""

_NOT_OURS = frozenset({"build", "dist", "node_modules", "__pycache__"})


@dataclass(frozen=True)
class Source:
    """One Python file."""

    path: Path

    @property
    def name(self) -> str:
        """Path from the project's root, with forward slashes."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        """What the file says."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The file, parsed."""
        return ast.parse(self.text, filename=self.name)


def python_sources(*folders: str) -> list[Source]:
    """Return the Python files beneath ``folders``, all of them by default."""
    tops = [ROOT / folder for folder in folders or (*PRODUCT, "tests", "bench", "examples")]
    return [
        Source(path) for top in tops for path in sorted(top.rglob("*.py")) if "__pycache__" not in path.parts
    ]


def project_files(folder: Path = ROOT) -> Iterator[Path]:
    """Yield every file of the project that is not built, cached or hidden away by a tool."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name == ".ci" or not (path.name.startswith(".") or path.name in _NOT_OURS):
                yield from project_files(path)
        elif path.is_file():
            yield path
