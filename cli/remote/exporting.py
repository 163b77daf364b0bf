"""Export: the masked values of a file of tokens. Plain values never leave in bulk this way.

Written are subject, field, token and masked value; the caller's own references
stay out, so that what is handed on cannot be joined with more than it needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.remote import retrying
from cli.remote.importing import BATCH, Watch
from cli.remote.retrying import Patience
from cli.remote.server import Server
from cli.remote.sheets import Sheet, new_sheet, open_sheet
from vault.domain.errors import InvalidInputError
from vault.domain.model import Reveal

COLUMNS: Final = ("subject", "field", "token", "masked", "error")

_TOKEN: Final = re.compile(r"[a-z]{3}_[0-9a-f]{40}").fullmatch
_SUBJECT: Final = "sub_"

Found = tuple[str, str]
"""Subject and token."""


@dataclass(slots=True)
class Shown:
    """What became of the tokens."""

    detokenized: int = 0
    failed: int = 0
    first_error: str = ""


def run_export(
    server: Server, source: Path, target: Path, *, terms: dict[str, Any], patience: Patience, watch: Watch
) -> Shown:
    """Write the masked values of the tokens in ``source`` to ``target``. ``terms``: purpose and reason.

    Raises InvalidInputError for the file, ProblemError and UnavailableError
    when the server does not go on.
    """
    if source.absolute() == target.absolute():
        raise InvalidInputError("two different files are needed", field="--out", rule="same_file")
    shown = Shown()
    with open_sheet(source) as sheet, new_sheet(target, COLUMNS) as write:
        for batch in _batches(sheet):
            body = {**terms, "reveal": Reveal.MASKED.value, "items": [{"token": token} for _, token in batch]}
            answers = retrying.detokenize(server, body, patience).body["items"]
            for (subject, token), answer in zip(batch, answers, strict=True):
                write([subject, *_cells(token, answer, shown)])
            watch(sheet.position, sheet.size, shown.detokenized + shown.failed)
        if not shown.detokenized and not shown.failed:
            raise InvalidInputError(f"{source} holds no token", field="file", rule="no_tokens")
    return shown


def _cells(token: str, answer: dict[str, Any], shown: Shown) -> list[str]:
    error = answer.get("error")
    if error is not None:
        shown.failed += 1
        shown.first_error = shown.first_error or str(error["code"])
        return ["", token, "", str(error["code"])]
    shown.detokenized += 1
    return [answer["field"], token, answer["value"], ""]


def _batches(sheet: Sheet) -> Iterator[list[Found]]:
    batch: list[Found] = []
    for _, cells in sheet.rows():
        tokens = [cell for cell in cells if _TOKEN(cell)]
        subject = next((cell for cell in tokens if cell.startswith(_SUBJECT)), "")
        for token in tokens:
            if token.startswith(_SUBJECT):
                continue
            batch.append((subject, token))
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch
