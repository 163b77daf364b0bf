"""Rounds: every system in turn, again and again, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.cases import Case, Loads
from bench.generator import Load, Sample, run_wrk
from bench.machine import cpu_seconds
from bench.processes import System

WARM_S = 1


@dataclass(frozen=True, slots=True)
class Bench:
    """How long to measure, and with what."""

    wrk: str
    rounds: int
    seconds: int
    tell: Callable[[str], None]
    """Take a line about what is going on."""

    def measure(
        self, system: System, load: Load, *, seconds: int | None = None, settle: bool = True
    ) -> Sample:
        """Return one sample, with the CPU time that the system spent on it.

        It begins when the system has nothing left to do, unless ``settle`` is false.
        """
        if settle:
            system.settle()
        before = cpu_seconds(system.pids)
        sample = run_wrk(
            self.wrk, system.base, load, credential=system.credential(), seconds=seconds or self.seconds
        )
        spent = cpu_seconds(system.pids) - before
        return replace(sample, cpu=1e3 * spent / sample.requests)

    def interleave(
        self, systems: Sequence[tuple[System, Loads]], cases: Sequence[Case]
    ) -> dict[tuple[str, str], list[Sample]]:
        """Return the samples of all rounds by system and case; each pair is warmed up once."""
        samples: dict[tuple[str, str], list[Sample]] = {}
        for case in cases:
            for system, loads in systems:
                self.measure(system, loads[case.name], seconds=WARM_S)
        for number in range(self.rounds):
            for case in cases:
                self.tell(f"round {number + 1} of {self.rounds}: {case.name}")
                for at in range(len(systems)):
                    system, loads = systems[(at + number) % len(systems)]
                    taken = self.measure(system, loads[case.name])
                    samples.setdefault((system.name, case.name), []).append(taken)
        return samples
