"""Time and settings come in as parameters: keys and the vault's core read no clock and no environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.sources import PRODUCT, Source, python_sources

CLOCKS = frozenset(
    {
        "datetime.date.today",
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "time.clock_gettime",
        "time.gmtime",
        "time.localtime",
        "time.monotonic",
        "time.monotonic_ns",
        "time.perf_counter",
        "time.perf_counter_ns",
        "time.time",
        "time.time_ns",
    }
)
ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"})

SEAMS: dict[str, str] = {
    "vault/service/vault.py": "the clock of a running vault, which every layer below is handed",
}
"""Modules of the vault that may read them all the same, each with its reason; ``assembly`` always may."""


def ambient_reads(tree: ast.AST) -> Iterator[str]:
    """Yield ``line: name`` for each use of a clock or the environment, whatever it was imported as."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            dotted = _dotted(node, names)
            if dotted in CLOCKS | ENVIRONMENT:
                yield f"{node.lineno}: {dotted}"


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return ""


def _is_seam(source: Source) -> bool:
    return source.name in SEAMS or source.name.startswith("vault/assembly")


@pytest.mark.parametrize("folder", ["keys", "vault"])
def test_reads_no_clock_and_no_environment(folder: str) -> None:
    reads = [
        f"{source.name}:{read}"
        for source in python_sources(folder)
        if not _is_seam(source)
        for read in ambient_reads(source.tree)
    ]
    assert reads == []


def test_every_seam_is_still_one() -> None:
    sources = {source.name: source for source in python_sources("vault")}
    assert [
        name for name in SEAMS if name not in sources or not list(ambient_reads(sources[name].tree))
    ] == []


@pytest.mark.parametrize("folder", PRODUCT)
def test_keeps_no_global_state(folder: str) -> None:
    rebound = [
        f"{source.name}:{node.lineno}"
        for source in python_sources(folder)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Global)
    ]
    assert rebound == []


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "import time as clock\nclock.monotonic()",
        "from time import time_ns as stamp\nstamp()",
        "from datetime import datetime\ndatetime.now(tz)",
        "import datetime\ndatetime.datetime.now()",
        "import datetime as dt\ndt.date.today()",
        "import os\nos.environ['X']",
        "from os import getenv\ngetenv('X')",
        "from os import environ as e\ne.get('X')",
        "import os.path\nimport os\nos.getenv('X')",
    ],
)
def test_sees_through_imports(code: str) -> None:
    assert len(list(ambient_reads(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code", ["from datetime import UTC, datetime\ndatetime(2026, 1, 1, tzinfo=UTC)", "now.time()"]
)
def test_lets_values_of_time_pass(code: str) -> None:
    assert list(ambient_reads(ast.parse(code))) == []
