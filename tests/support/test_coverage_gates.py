"""The coverage gates: some parts whole, everything nearly so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.coverage_gates import main, shortfalls


def _file(*, lines: int, missing: int = 0, missing_branches: int = 0) -> dict[str, Any]:
    summary = {
        "covered_lines": lines - missing,
        "num_statements": lines,
        "covered_branches": 10 - missing_branches,
        "num_branches": 10,
    }
    branches = [[line, line + 1] for line in range(1, missing_branches + 1)]
    return {"summary": summary, "missing_lines": list(range(1, missing + 1)), "missing_branches": branches}


def _report(**files: dict[str, Any]) -> dict[str, Any]:
    whole = {path: _file(lines=100) for path in ("keys/otp.py", "vault/audit/a.py", "vault/access/b.py")}
    return {"files": whole | {path.replace("__", "/") + ".py": entry for path, entry in files.items()}}


def test_passes_what_is_covered() -> None:
    assert shortfalls(_report(api__app=_file(lines=100, missing=2))) == []


@pytest.mark.parametrize("path", ["keys__lookup", "vault__audit__verify__fold", "vault__access__decide"])
def test_refuses_one_missing_branch_in_a_part_that_must_be_whole(path: str) -> None:
    (line,) = shortfalls(_report(**{path: _file(lines=500, missing_branches=1)}))
    assert line.startswith(path.replace("__", "/"))
    assert line.endswith("missing 1->2")


def test_refuses_too_little_overall() -> None:
    (line,) = shortfalls(_report(cli__main=_file(lines=100, missing=50)))
    assert line.startswith("overall 88.64 %")


def test_refuses_a_part_that_was_not_measured() -> None:
    report = _report()
    del report["files"]["keys/otp.py"]
    assert shortfalls(report) == ["keys/ was not measured"]


def test_counts_nothing_as_covered() -> None:
    empty = _file(lines=0)
    empty["summary"] |= {"covered_branches": 0, "num_branches": 0}
    assert shortfalls(_report(keys____init__=empty)) == []


def test_exit_code_says_whether_the_gates_passed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(_report()), encoding="utf-8")
    assert main(str(path)) == 0
    path.write_text(json.dumps(_report(keys__otp=_file(lines=500, missing=1))), encoding="utf-8")
    assert main(str(path)) == 1
    assert "coverage: keys/otp.py" in capsys.readouterr().err
