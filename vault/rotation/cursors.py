"""Where a job's next portion begins: the last item seen, and how much was done before this pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vault.storage.jobs import JobRow

LOWEST = -1
"""Before the first id."""
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """The numbers of the last item seen, and how much the job had done when the pass began."""

    at: tuple[int, ...]
    done_before: int

    def text(self) -> str:
        """Return what the row holds."""
        return ":".join(map(str, (*self.at, self.done_before)))


def parse(text: str, size: int, done: int) -> Cursor:
    """Return the cursor of ``size`` numbers in ``text``; the beginning of a pass where it is none."""
    try:
        *at, done_before = map(int, text.split(":"))
    except ValueError:
        return start(size, done)
    if len(at) != size or any(abs(number) > _LARGEST for number in (*at, done_before)):
        return start(size, done)
    return Cursor(tuple(at), done_before)


def start(size: int, done: int) -> Cursor:
    """Return the beginning of a pass of a job that has ``done`` so much."""
    return Cursor((LOWEST,) * size, done)


def after_portion(job: JobRow, last: tuple[int, ...] | None, left: int, size: int, *, now_us: int) -> JobRow:
    """Return ``job`` as it goes on; ``last`` is None at the end of a pass, with so much ``left``.

    A pass that ends with more left than what is broken, and has moved anything,
    is followed by another: a key was rotated meanwhile, or rows had changed under
    it. One that moved nothing ends the job: another would not either.
    """
    now = parse(job.cursor, size, job.done)
    if last is not None:
        return replace(job, cursor=Cursor(last, now.done_before).text())
    return after_pass(job, now.done_before, left, start(size, job.done).text(), now_us=now_us)


def after_pass(job: JobRow, done_before: int, left: int, again: str, *, now_us: int) -> JobRow:
    """Return ``job`` after a pass that began with ``done_before``; ``again`` is the cursor of another."""
    if left > job.failed and job.done > done_before:
        return replace(job, cursor=again, failed=0, total=job.done + left)
    return replace(job, state="done", failed=left, total=job.done + left, ended_at=now_us)
