"""wrk, the load generator: one run, checked, as a sample."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.machine import RefusedError

SCRIPT: Final = Path(__file__).with_name("wrk.lua")

LATE_S: Final = 60
"""So long after its time a run is given up."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run sends: prepared bodies of ``items`` items each."""

    path: str
    bodies: Path
    member: str
    """Member of an answer that is there once per item."""
    items: int
    connections: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. Times in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    cpu: float = 0.0
    """CPU milliseconds of the service and its database per request."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def find_wrk() -> str:
    """Return the path of wrk. Raises RefusedError when it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise RefusedError(
            "the bench needs wrk, the load generator: apt-get install wrk, or brew install wrk"
        )
    return found


def run_wrk(wrk: str, base: str, load: Load, *, credential: tuple[str, str], seconds: int) -> Sample:
    """Send ``load`` to ``base`` for ``seconds``. Raises RefusedError unless every answer is right."""
    arguments = [
        *(wrk, "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "30s"),
        *("-s", str(SCRIPT), base + load.path, "--"),
        *(str(load.bodies), load.member, str(load.items)),
    ]
    # Not in the arguments: those are everybody's to read.
    environment = os.environ | {"BENCH_HEADER": credential[0], "BENCH_CREDENTIAL": credential[1]}
    finished = subprocess.run(
        arguments, env=environment, check=False, capture_output=True, text=True, timeout=seconds + LATE_S
    )
    if finished.returncode != 0:
        raise RefusedError(f"wrk failed: {finished.stderr.strip()[:300]}")
    return parse_sample(finished.stdout)


def parse_sample(output: str) -> Sample:
    """Return what wrk's last line says. Raises RefusedError for a wrong, lost or missing answer."""
    lines = output.strip().splitlines()
    try:
        told: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise RefusedError("wrk said nothing that can be read") from None
    if told["wrong"] or told["lost"] or not told["requests"]:
        raise RefusedError(
            f"{told['wrong']} of {told['requests']} answers were wrong and {told['lost']} lost:"
            f" {told['trouble']}"
        )
    return Sample(
        requests=told["requests"],
        seconds=told["duration_us"] / 1e6,
        p50=told["p50_us"] / 1e3,
        p90=told["p90_us"] / 1e3,
        p99=told["p99_us"] / 1e3,
    )
