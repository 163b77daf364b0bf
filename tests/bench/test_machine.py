"""The bench says clearly when it cannot be run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.generator import find_wrk
from bench.machine import Cores, RefusedError, choose_cores, cpu_seconds, family, on_cores
from bench.peer import VARIABLE, find_bao


@pytest.mark.parametrize("available", [set(), {0}, {7}])
def test_refuses_fewer_than_two_cores(available: set[int]) -> None:
    with pytest.raises(RefusedError, match=f"needs 2 CPU cores.*this machine gives {len(available)}"):
        choose_cores(available)


def test_pins_the_two_sides_to_different_cores() -> None:
    assert choose_cores({5, 3, 9}) == Cores(generator=3, service=5)


def test_the_command_refuses_one_core_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    monkeypatch.setattr("sys.argv", ["bench"])
    assert bench.main() == bench.REFUSED
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("bench: the bench needs 2 CPU cores")
    assert told.err.count("\n") == 1


def test_refuses_a_host_without_wrk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedError, match="apt-get install wrk"):
        find_wrk()


def test_there_may_be_no_peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find_bao() is None


def test_refuses_a_peer_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "bao"))
    with pytest.raises(RefusedError, match=VARIABLE):
        find_bao()


def test_a_thread_is_on_its_cores_only_within_the_block() -> None:
    before = os.sched_getaffinity(0)
    with on_cores(min(before)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_counts_the_cpu_time_of_a_process_and_those_below_it() -> None:
    assert os.getpid() in family(os.getpid())
    assert cpu_seconds([os.getpid()]) > 0
