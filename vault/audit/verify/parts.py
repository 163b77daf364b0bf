"""The parts of an entry are whole, contiguous, in order and alike (docs/formats/log-entry.md section 7.3)."""

from __future__ import annotations

from dataclasses import replace

from vault.audit.entry import Entry
from vault.audit.verify.report import Findings


class PartSequence:
    """Follows the entries of a log in order and notes where parts do not fit together."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._open: Entry | None = None
        self._start = 0

    def follow(self, index: int, entry: Entry) -> None:
        """Look at the next entry."""
        before = self._open
        k, n = entry.part
        if before is None and k == 1:
            self._start = index
        elif before is None or not _continues(before, entry):
            self._findings.add("part_sequence", index if before is None else self._start)
            self._start = index
        self._open = entry if k < n else None

    def skip(self) -> None:
        """Begin anew after an entry that cannot be read and has been reported."""
        self._open = None

    def end(self) -> None:
        """No entry follows."""
        if self._open is not None:
            self._findings.add("part_sequence", self._start)


def _continues(before: Entry, entry: Entry) -> bool:
    k, n = before.part
    return replace(entry, items=None, part=(k, n)) == replace(before, items=None) and entry.part == (k + 1, n)
