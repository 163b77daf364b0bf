"""Counts in the text format of Prometheus. Labels are routes and statuses, never ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MEDIA_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

OTHER: Final = "other"
"""Route of every path that no route has."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is measured when somebody asks."""

    log_index: int
    """Entries in the log."""
    integrated: int
    """Entries that the signed tree covers."""
    revision: int
    trouble: bool
    """Whether the last round of upkeep failed."""
    sealed: bool = False
    """Whether the process serves nothing."""
    background_trouble: bool = False
    """Whether a job on keys does not go on at this node."""


class Metrics:
    """Counts answers. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._items: Counter[str] = Counter()

    def answered(self, route: str, status: int) -> None:
        """Count one answer. HOT."""
        self._answers[route, status] += 1

    def took(self, route: str, items: int) -> None:
        """Count the items of one request. HOT."""
        self._items[route] += items

    def render(self, gauges: Gauges) -> bytes:
        """Return everything counted so far, and ``gauges``."""
        lines = [*self._counted(), *_measured(gauges)]
        return ("\n".join(lines) + "\n").encode("ascii")

    def _counted(self) -> Iterator[str]:
        yield from _head("piivault_http_answers_total", "counter", "Answers by route and status.")
        for (route, status), count in sorted(self._answers.items()):
            yield f'piivault_http_answers_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("piivault_items_total", "counter", "Items of requests that were taken on, by route.")
        for route, count in sorted(self._items.items()):
            yield f'piivault_items_total{{route="{route}"}} {count}'


def _measured(gauges: Gauges) -> Iterator[str]:
    yield from _head("piivault_log_entries", "gauge", "Entries in the log.")
    yield f"piivault_log_entries {gauges.log_index}"
    yield from _head("piivault_log_unintegrated_entries", "gauge", "Entries the signed tree lacks yet.")
    yield f"piivault_log_unintegrated_entries {max(gauges.log_index - gauges.integrated, 0)}"
    yield from _head("piivault_revision", "gauge", "Revision of what decisions rest on.")
    yield f"piivault_revision {gauges.revision}"
    yield from _head("piivault_upkeep_trouble", "gauge", "1 when the last round of upkeep failed.")
    yield f"piivault_upkeep_trouble {int(gauges.trouble)}"
    yield from _head("piivault_background_trouble", "gauge", "1 while a job on keys does not go on here.")
    yield f"piivault_background_trouble {int(gauges.background_trouble)}"
    yield from _head("piivault_sealed", "gauge", "1 when the vault is sealed and nothing is served.")
    yield f"piivault_sealed {int(gauges.sealed)}"


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
