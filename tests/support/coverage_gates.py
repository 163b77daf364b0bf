"""Holds the coverage of a run against the gates: ``python -m tests.support.coverage_gates REPORT``.

Lines and branches count alike. The parts whose mistakes nobody would notice must be covered whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.holders import without_softhsm

WHOLE = ("keys/", "vault/audit/", "vault/access/")
OF_SOFTHSM = ("keys/wrappers/cryptoki.py", "keys/wrappers/pkcs11.py")
"""Not measured where SoftHSM2 is not installed: see tests/support/holders.py."""

OVERALL_PERCENT = 97.0


def percent(summaries: Iterable[Mapping[str, int]]) -> float:
    """Return what share of statements and branches was covered, in percent; of nothing, all of it."""
    covered = total = 0
    for summary in summaries:
        covered += summary["covered_lines"] + summary["covered_branches"]
        total += summary["num_statements"] + summary["num_branches"]
    return 100.0 * covered / total if total else 100.0


def shortfalls(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each gate that ``report``, coverage's JSON, does not pass."""
    files: Mapping[str, Mapping[str, Any]] = report["files"]
    lines = []
    for gate in WHOLE:
        inside = {path: entry for path, entry in files.items() if path.startswith(gate)}
        if not inside:
            lines.append(f"{gate} was not measured")
        lines += [_line(path, entry) for path, entry in inside.items() if percent([entry["summary"]]) < 100.0]
    overall = percent(entry["summary"] for entry in files.values())
    if overall < OVERALL_PERCENT:
        lines.append(f"overall {overall:.2f} %, must be {OVERALL_PERCENT:g} %")
    return lines


def _line(path: str, entry: Mapping[str, Any]) -> str:
    missing = [str(line) for line in entry["missing_lines"]]
    missing += [f"{start}->{end}" for start, end in entry["missing_branches"]]
    return f"{path} {percent([entry['summary']]):.2f} %, must be 100 %; missing {', '.join(missing)}"


def main(path: str) -> int:
    """Say what the report at ``path``, coverage's JSON, falls short of; return 0 if of nothing."""
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    if without_softhsm():
        report["files"] = {name: entry for name, entry in report["files"].items() if name not in OF_SOFTHSM}
    lines = shortfalls(report)
    for line in lines:
        sys.stderr.write(f"coverage: {line}\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
