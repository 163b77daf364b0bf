"""Two cores: the service and its database on one, the load generator on the other."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORES_NEEDED: Final = 2


class RefusedError(RuntimeError):
    """The bench cannot be run here, or what it measured does not count. The message says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core each side is pinned to."""

    generator: int
    service: int

    @property
    def both(self) -> frozenset[int]:
        """Both of them."""
        return frozenset({self.generator, self.service})


def choose_cores(available: Collection[int]) -> Cores:
    """Return the first two of ``available``. Raises RefusedError when there are fewer."""
    if len(available) < CORES_NEEDED:
        raise RefusedError(
            f"the bench needs {CORES_NEEDED} CPU cores, one for the service and one for the load generator;"
            f" this machine gives {len(available)}"
        )
    generator, service = sorted(available)[:CORES_NEEDED]
    return Cores(generator, service)


@contextmanager
def on_cores(*cores: int) -> Iterator[None]:
    """Run this thread on ``cores``; what is started meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def family(pid: int) -> set[int]:
    """Return ``pid`` and every process below it that is alive."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(folder)
        if fields:
            parents[int(folder.name)] = int(fields[1])
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def cpu_seconds(pids: Collection[int]) -> float:
    """Return the user and system time of ``pids`` and of the children they have waited for."""
    ticks = 0
    for pid in pids:
        for process in family(pid):
            fields = _stat(Path(f"/proc/{process}"))
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(folder: Path) -> list[str]:
    """Return the fields of ``stat`` after the name, or none when the process is gone."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def describe_machine() -> str:
    """Return processor, cores, memory and kernel in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = os.cpu_count()
    return f"{model or platform.machine()}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}"
