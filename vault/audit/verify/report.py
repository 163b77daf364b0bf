"""What a verification came to. Rules: docs/formats/export.md section 5.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FINDING_LIMIT: Final = 1_000
"""Findings kept; the rest is counted, so that a ruined export cannot fill memory."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. Never the content of an entry."""

    rule: str
    """Rule of section 5.3."""
    index: int | None = None
    """Index of the entry at or after which the fault lies, where that can be told."""
    detail: str = ""
    """A rule of the format concerned, a tree size, or a path in ASCII."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified, and what is wrong. An export is good only if ``findings`` is empty."""

    origin: str
    """Name of the log, as the key says it."""
    size: int
    """Entries the latest checkpoint covers."""
    root: bytes
    """Root hash of the latest checkpoint; empty if there is none."""
    entries: int
    """Entries that were read."""
    checkpoints: int
    """Stored checkpoints that are properly signed."""
    findings: tuple[Finding, ...]
    omitted: int
    """Findings beyond ``FINDING_LIMIT``, not listed."""


class ExportRejectedError(Exception):
    """The export does not verify. ``report`` says everything that is wrong with it."""

    def __init__(self, report: Report) -> None:
        count = len(report.findings) + report.omitted
        super().__init__(
            f"the export does not verify: {count} findings, the first is {report.findings[0].rule}"
        )
        self.report = report


class Findings:
    """Collects findings, each once, up to the limit."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self._omitted = 0

    def add(self, rule: str, index: int | None = None, detail: str = "") -> None:
        """Note one finding."""
        finding = Finding(rule, index, detail)
        if len(self._found) < FINDING_LIMIT:
            self._found[finding] = None
        elif finding not in self._found:
            self._omitted += 1

    @property
    def found(self) -> tuple[Finding, ...]:
        """The findings kept, in the order they were found."""
        return tuple(self._found)

    @property
    def omitted(self) -> int:
        """How many were not kept."""
        return self._omitted
