"""What was acknowledged before a crash, and the checks that it holds afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.vault.storage.units import require_whole_log
from vault.audit.entry import decode
from vault.audit.folder import write_export
from vault.audit.verify import verify_export
from vault.domain.model import Outcome
from vault.service.vault import Vault
from vault.storage import log


@dataclass
class Evidence:
    """Answers that were received. Each names its entry in the log."""

    values: dict[str, str] = field(default_factory=dict)
    """Value by token that was acknowledged."""
    answers: list[dict[str, Any]] = field(default_factory=list)
    """``act``, ``index``, ``leaf`` and ``pairs`` of each answer."""
    checked: int = 0

    def take(self, answer: dict[str, Any]) -> None:
        """Take one answer; a value that was released must be the one that was swapped."""
        self.answers.append(answer)
        for token, value in answer["pairs"]:
            if answer["act"] == "tokenize":
                assert token not in self.values, "one token was given out twice"
                self.values[token] = value
            else:
                assert self.values.get(token, value) == value, "a token opened to another value"

    def check_entries(self, vault: Vault) -> None:
        """Check that the entry of every answer since the last check is in the log, as it was said to be."""
        with vault.changes.database.reading() as connection:
            for answer in self.answers[self.checked :]:
                index = answer["index"]
                (row,) = log.read_entries(connection, index, index + 1)
                assert row.leaf.hex() == answer["leaf"], "the entry is not the one that was acknowledged"
                entry = decode(row.body)
                assert entry.action == f"token:{answer['act']}"
                if answer["act"] == "detokenize":
                    assert entry.outcome is Outcome.RELEASED
                    assert entry.items is not None
                    assert len(list(entry.items.rows())) == len(answer["pairs"])
        self.checked = len(self.answers)

    def check_log(self, vault: Vault) -> None:
        """Check that indexes have no gap and that everything verifies and is signed."""
        entries = require_whole_log(vault.changes.database)
        vault.upkeep.round()
        health = vault.upkeep.health
        assert health.trouble == ""
        assert health.integrated >= entries


def check_export(vault: Vault, folder: Path) -> None:
    """Check the log as an outsider would: from an export, with the public key alone."""
    vault.upkeep.round()
    size = vault.upkeep.health.integrated
    with vault.changes.database.reading() as connection:
        notes = log.read_checkpoints(connection, up_to=size)
        write_export(folder, log.iterate_bodies(connection, size), notes)
    report = verify_export(folder, vault.audit.public_key())
    assert (report.size, report.findings) == (size, ())
