"""``make bench``: measure, print the table, write ``build/bench.md`` and ``build/bench.json``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench import databases, stages
from bench.figures import EMBEDDED, OURS, growth, ratios
from bench.furnish import SUBJECTS, VALUES
from bench.generator import find_wrk
from bench.machine import RefusedError, choose_cores, describe_machine, on_cores
from bench.peer import find_bao, version_of
from bench.report import Outcome, document, table
from bench.rewrap import moved
from bench.rounds import Bench

BUILD: Final = Path(__file__).parents[1] / "build"
PARTS: Final = ("cold", "growth", "rewrap", "workers")
REFUSED: Final = 2


def main() -> int:
    """Run what the arguments ask for; return the exit code."""
    options = _options()
    try:
        outcome = run(options)
    except RefusedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return REFUSED
    BUILD.mkdir(exist_ok=True)
    text = table(outcome)
    (BUILD / "bench.md").write_text(text, encoding="utf-8")
    (BUILD / "bench.json").write_text(json.dumps(document(outcome), indent=2) + "\n", encoding="utf-8")
    print(text)
    return 0


def run(options: argparse.Namespace) -> Outcome:
    """Measure. Raises RefusedError where that is impossible or an answer was wrong."""
    cores = choose_cores(os.sched_getaffinity(0))
    wrk, bao = find_wrk(), find_bao()
    bench = Bench(wrk, rounds=options.rounds, seconds=options.seconds, tell=_tell)
    if bao is None:
        _tell("no bao on PATH and none in PIIVAULT_BENCH_BAO: there will be no ratios")
    with (
        tempfile.TemporaryDirectory(prefix="pv-bench-", dir="/tmp") as folder,
        on_cores(cores.generator),
        stages.place(Path(folder), cores) as at,
    ):
        facts = _facts(at, bao, options)
        _tell("filling the vaults")
        sites = {name: at.site(name) for name in (OURS, EMBEDDED)}
        samples = stages.side_by_side(bench, at, sites, bao)
        wanted = [part for part in PARTS if part not in options.skip and not options.quick]
        cold = {name: stages.cold(bench, at, name, site) for name, site in sites.items() if "cold" in wanted}
        grown = stages.grown(bench, at) if "growth" in wanted else {}
        rewrapped = moved(bench, at) if "rewrap" in wanted else None
        scaled = stages.scaled(bench, at, sites[OURS], (1, 2)) if "workers" in wanted else {}
    small, large = (
        {name: sizes[size] for name, sizes in grown.items()} for size in (stages.SMALL, stages.LARGE)
    )
    return Outcome(facts, samples, ratios(samples), growth(small, large), cold, grown, scaled, rewrapped)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds, at least 5 for a goal")
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--skip", action="append", default=[], choices=PARTS, help="leave a part out")
    parser.add_argument("--quick", action="store_true", help="one round of a second: only to see it work")
    options = parser.parse_args()
    if options.quick:
        options.rounds = options.seconds = 1
    return options


def _facts(at: stages.Place, bao: str | None, options: argparse.Namespace) -> dict[str, str]:
    settings = ", ".join(f"{name}={value}" for name, value in databases.SETTINGS.items())
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": describe_machine(),
        "versions": (
            f"piivault {version('piivault')}, Python {platform.python_version()},"
            f" PostgreSQL {databases.server_version(at.cluster)}, SQLite {databases.sqlite_version()}"
            + (f", OpenBao {version_of(bao)}" if bao else "")
        ),
        "PostgreSQL": settings,
        "SQLite": "WAL, synchronous=FULL",
        "load": (
            f"{VALUES:,} values of {SUBJECTS} subjects, tokens chosen uniformly,"
            f" {options.rounds} rounds of {options.seconds} s, medians"
        ),
    }


def _tell(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
