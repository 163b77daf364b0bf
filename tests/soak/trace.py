"""System calls of a process, as ``strace -f -ttt -T -yy`` writes them down."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

CALLS = "fsync,fdatasync,write,writev,pwrite64,pwritev,sendto,sendmsg,recvfrom"

NEVER = float("inf")

_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)", re.DOTALL)
_RETURN = r"\) += (-?\d+)(?: .*)? <(\d+\.\d+)>"
_BEGUN = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>", re.DOTALL)
_WHOLE = re.compile(r"(\w+)\((.*)" + _RETURN, re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)" + _RETURN, re.DOTALL)


@dataclass(frozen=True)
class Call:
    """One system call. Times are seconds since the epoch, on the clock that all traces share."""

    process: int
    name: str
    arguments: str
    started: float
    ended: float
    result: int | None
    """None when it never returned."""

    @property
    def flushes(self) -> bool:
        return self.name in {"fsync", "fdatasync"} and self.result == 0

    @property
    def writes(self) -> bool:
        return self.name in {"write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg"}


def strace(output: Path) -> tuple[str, ...]:
    """Return the command that traces the one after it into ``output``. Fails where there is no strace."""
    program = shutil.which("strace")
    assert program is not None, "strace is not installed: apt-get install strace"
    # -D: the traced process stays the one that was started, so that signals reach it.
    return (program, "-D", "-f", "-ttt", "-T", "-yy", "-s", "8192", "-e", f"trace={CALLS}", "-o", str(output))


def calls(output: Path) -> list[Call]:
    """Return the calls of a trace in the order in which they started."""
    found: list[Call] = []
    open_calls: dict[int, int] = {}
    for line in output.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = _LINE.fullmatch(line)
        if parts is None:
            continue
        process, at, rest = int(parts[1]), float(parts[2]), parts[3]
        if (whole := _WHOLE.fullmatch(rest)) is not None:
            ended = at + float(whole[4])
            found.append(Call(process, whole[1], whole[2], at, ended, int(whole[3])))
        elif (begun := _BEGUN.fullmatch(rest)) is not None:
            open_calls[process] = len(found)
            found.append(Call(process, begun[1], begun[2], at, NEVER, None))
        elif (resumed := _RESUMED.fullmatch(rest)) is not None and process in open_calls:
            position = open_calls.pop(process)
            first = found[position]
            arguments = first.arguments + resumed[2]
            found[position] = replace(first, arguments=arguments, ended=at, result=int(resumed[3]))
    return found
