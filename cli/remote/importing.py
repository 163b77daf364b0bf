"""Import a CSV file of values: one token for each, one subject for each row.

What a row is called by (``external_ref``) makes it repeatable: run it again,
after whatever stopped it, and what was sealed before is answered with the token
it has. A value that breaks a rule is left out alone; the rejects file names its
row, field and rule, never the value. What would hold for a whole column (an
unknown field, no grant) ends the import instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cli.errors import ProblemError
from cli.remote import retrying
from cli.remote.retrying import Patience
from cli.remote.server import Server
from cli.remote.sheets import Row, Sheet, new_sheet, open_sheet
from vault.domain.errors import InvalidInputError

BATCH: Final = 1_000
BATCH_BYTES: Final = 900_000
"""A request has at most 1 MiB; so much of it is values, the rest is around them."""

REFERENCE: Final = "external_ref"
LONGEST_REFERENCE: Final = 255
LONGEST_VALUE: Final = 8_192

_AROUND_ITEM: Final = 80

_OF_THE_COLUMN: Final = frozenset({"access_denied", "purpose_not_allowed", "approval_required"})
_RULES_OF_THE_COLUMN: Final = frozenset({"unknown_field", "unknown_audience", "not_received"})

Write = Callable[[Sequence[Any]], object]
Watch = Callable[[int, int, int], None]
"""Told bytes read, bytes in all, values done."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to import as what."""

    file: Path
    tokens: Path
    rejects: Path
    purpose: str
    kind: str
    reason: str | None = None
    reference: str = REFERENCE
    encoding: str = "utf-8-sig"
    audience: str | None = None
    """Recipient for whom the tokens are; else they are random."""


@dataclass(slots=True)
class Tally:
    """What became of the rows and values."""

    rows: int = 0
    tokenized: int = 0
    """Values sealed by this run."""
    existing: int = 0
    """Values that had a token from an earlier run."""
    rejected: int = 0
    warned: int = 0
    """Values accepted that look odd."""

    @property
    def values(self) -> int:
        """Values looked at."""
        return self.tokenized + self.existing + self.rejected


@dataclass(slots=True)
class _Batch:
    rows: list[Row] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    """Of each item: position of its row in the batch, position of its column."""
    size: int = 0


def run_import(server: Server, order: Order, patience: Patience, watch: Watch) -> Tally:
    """Import a file and return what became of it.

    Raises InvalidInputError for the file as a whole, ProblemError and
    UnavailableError when the server does not go on. Nothing is lost then: run
    it again.
    """
    _require_apart(order)
    tally = Tally()
    with open_sheet(order.file, order.encoding) as sheet:
        columns = _fields_of(sheet, order)
        names = [name for name in columns if name]
        with (
            new_sheet(order.tokens, [REFERENCE, "subject", *names]) as write,
            new_sheet(order.rejects, ["row", "field", "rule"]) as reject,
        ):
            importer = _Importer(columns, tally, write, reject, audience=order.audience)
            for batch in importer.batches(sheet):
                answers = _answers(server, order, batch, patience)
                importer.take(batch, answers)
                watch(sheet.position, sheet.size, tally.values)
    return tally


class _Importer:
    """Gathers rows into batches and takes the answers apart again."""

    def __init__(
        self, columns: list[str], tally: Tally, write: Write, reject: Write, *, audience: str | None
    ) -> None:
        self._more = {"audience": audience} if audience else {}
        self._columns = columns
        self._tally = tally
        self._write = write
        self._reject = reject
        self._reference = columns.index("")
        self._refused: list[tuple[int, str, str]] = []
        """Not written yet: what a row is refused for comes to light at two moments, before and after."""

    def batches(self, sheet: Sheet) -> Iterator[_Batch]:
        """Yield the rows of a file, whole rows together, as much as one request takes."""
        batch = _Batch()
        for row in sheet.rows():
            self._tally.rows += 1
            items = list(self._items(row, width=len(sheet.columns)))
            size = sum(
                _AROUND_ITEM
                + len(item["value"].encode())
                + len(item[REFERENCE].encode())
                + len(item.get("audience", "").encode())
                for _, item in items
            )
            if batch.items and (len(batch.items) + len(items) > BATCH or batch.size + size > BATCH_BYTES):
                yield batch
                batch = _Batch()
            batch.places += [(len(batch.rows), place) for place, _ in items]
            batch.items += [item for _, item in items]
            batch.rows.append(row)
            batch.size += size
        yield batch

    def _items(self, row: Row, *, width: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the values given in a row with their columns; rejects what no request may carry."""
        number, cells = row
        if len(cells) != width:
            self._refuse(number, "row", "columns")
            return
        reference = cells[self._reference]
        if not 1 <= len(reference) <= LONGEST_REFERENCE:
            self._refuse(number, REFERENCE, "length" if reference else "required")
            return
        for place, name in enumerate(self._columns):
            if not name or not cells[place]:
                continue
            if len(cells[place]) > LONGEST_VALUE:
                self._refuse(number, name, "length")
                continue
            yield place, {"field": name, "value": cells[place], REFERENCE: reference, **self._more}

    def take(self, batch: _Batch, answers: list[dict[str, Any]]) -> None:
        """Write down what became of each row, ``answers`` being those to the items of the batch."""
        tokens: list[dict[int, str]] = [{} for _ in batch.rows]
        subjects = [""] * len(batch.rows)
        for (at, place), answer in zip(batch.places, answers, strict=True):
            error = answer.get("error")
            if error is not None:
                self._refuse(batch.rows[at][0], self._columns[place], self._rule(error, place))
                continue
            tokens[at][place] = answer["token"]
            subjects[at] = answer["subject"]
            self._tally.existing += bool(answer.get("existing"))
            self._tally.tokenized += not answer.get("existing")
            self._tally.warned += bool(answer.get("warnings"))
        for (_, cells), subject, found in zip(batch.rows, subjects, tokens, strict=True):
            reference = cells[self._reference] if len(cells) > self._reference else ""
            places = [place for place, name in enumerate(self._columns) if name]
            self._write([reference, subject, *(found.get(place, "") for place in places)])
        if batch.rows:
            self._write_rejects(batch.rows[-1][0])

    def _rule(self, error: dict[str, Any], place: int) -> str:
        """Return the rule a value broke. Raises ProblemError for what no value of its column would pass."""
        code, rule = str(error.get("code")), str(error.get("rule") or error.get("code"))
        if code in _OF_THE_COLUMN or rule in _RULES_OF_THE_COLUMN:
            detail = (
                f"{error.get('detail') or code}; values of other columns may have been stored: run it again"
            )
            raise ProblemError(207, {**error, "detail": detail, "field": self._columns[place]})
        return rule

    def _refuse(self, number: int, name: str, rule: str) -> None:
        self._tally.rejected += 1
        self._refused.append((number, name, rule))

    def _write_rejects(self, last: int) -> None:
        """Write the rejects of the rows up to ``last``, in the order of the file."""
        due = [refused for refused in self._refused if refused[0] <= last]
        self._refused = [refused for refused in self._refused if refused[0] > last]
        for refused in sorted(due, key=lambda refused: refused[0]):
            self._reject(refused)


def _answers(server: Server, order: Order, batch: _Batch, patience: Patience) -> list[dict[str, Any]]:
    if not batch.items:
        return []
    body = {"purpose": order.purpose, "reason": order.reason, "items": batch.items}
    answers: list[dict[str, Any]] = retrying.tokenize(server, body, patience).body["items"]
    return answers


def _fields_of(sheet: Sheet, order: Order) -> list[str]:
    """Return the field each column stands for, "" for the reference. Raises InvalidInputError."""
    if order.reference not in sheet.columns:
        raise InvalidInputError(
            f"{sheet.path} has no column {order.reference}; see --ref-column", field="file", rule="reference"
        )
    fields = []
    for column in sheet.columns:
        name = column if "." in column else f"{order.kind}.{column}"
        if column == order.reference:
            name = ""
        elif not name.startswith(f"{order.kind}."):
            raise InvalidInputError(
                f"column {column} is no field of a {order.kind}", field="file", rule="kind"
            )
        fields.append(name)
    if len(fields) == 1:
        raise InvalidInputError(f"{sheet.path} has no column with values", field="file", rule="columns")
    return fields


def _require_apart(order: Order) -> None:
    paths = [path.absolute() for path in (order.file, order.tokens, order.rejects)]
    if len(set(paths)) != len(paths):
        raise InvalidInputError("three different files are needed", field="--out", rule="same_file")
