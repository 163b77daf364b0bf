"""Where a job's next portion begins: the last item seen, and how far and how well this pass goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from vault.storage.jobs import JobRow

LOWEST = -1
"""Before the first id."""
_LARGEST = (1 << 63) - 1

IDLE_PASSES: Final = 5
"""So many passes in a row may move nothing, though not all that is left is broken, before the job ends."""


class Pass(Protocol):
    """What is known of the pass that a job is in."""

    @property
    def done_before(self) -> int:
        """How much the job had done when it began."""

    @property
    def idle(self) -> int:
        """Passes before it, one after the other, in which nothing was moved."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The numbers of the last item seen, and how much the job had done when the pass began."""

    at: tuple[int, ...]
    done_before: int
    idle: int = 0
    """Passes before it, one after the other, in which nothing was moved."""

    def text(self) -> str:
        """Return what the row holds."""
        return ":".join(map(str, (*self.at, self.done_before, self.idle)))


def parse(text: str, size: int, done: int) -> Cursor:
    """Return the cursor of ``size`` numbers in ``text``; the beginning of a pass where it is none."""
    try:
        *at, done_before, idle = map(int, text.split(":"))
    except ValueError:
        return start(size, done)
    if len(at) != size or any(abs(number) > _LARGEST for number in (*at, done_before, idle)):
        return start(size, done)
    return Cursor(tuple(at), done_before, idle)


def start(size: int, done: int, idle: int = 0) -> Cursor:
    """Return the beginning of a pass of a job that has ``done`` so much, after so many ``idle`` ones."""
    return Cursor((LOWEST,) * size, done, idle)


def after_portion(job: JobRow, last: tuple[int, ...] | None, left: int, size: int, *, now_us: int) -> JobRow:
    """Return ``job`` as it goes on; ``last`` is None at the end of a pass, with so much ``left``."""
    now = parse(job.cursor, size, job.done)
    if last is not None:
        return replace(job, cursor=replace(now, at=last).text())
    return after_pass(job, now, left, lambda idle: start(size, job.done, idle).text(), now_us=now_us)


def after_pass(job: JobRow, now: Pass, left: int, again: Callable[[int], str], *, now_us: int) -> JobRow:
    """Return ``job`` after the pass ``now``; ``again`` gives the cursor of another, after so many idle ones.

    A pass that ends with more left than what is broken is followed by another: a
    key was rotated meanwhile, or others had changed rows under it, who may be
    faster more than once. After some that moved nothing the job ends all the same.
    """
    idle = 0 if job.done > now.done_before else now.idle + 1
    if left > job.failed and idle <= IDLE_PASSES:
        return replace(job, cursor=again(idle), failed=0, total=job.done + left)
    return replace(job, state="done", failed=left, total=job.done + left, ended_at=now_us)
