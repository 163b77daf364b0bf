"""What the demo tells while it goes, and the figures it ends with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any, Final

from rich.text import Text

from cli.output import console, shown

TOKENIZED: Final = 30_677
REJECTED: Final = 146
"""Values of the two files that are good and that break a rule; they follow from the seed."""

REFUSALS: Final = 9

DESTROYED: Final = "wrapping//1"


@dataclass(slots=True)
class Figures:
    """The figures, as far as the story got."""

    tokenized: int = 0
    rejected: int = 0
    detokenized: int = 0
    refused: int = 0
    log_entries: int = 0
    log_verified: bool = False
    tamper_detected: bool = False
    plaintext_found: int = 0
    rotation_from: int | None = None
    rotation_to: int | None = None
    remaining: int | None = None
    destroyed: str = ""
    """Name of the key that two administrators have destroyed."""
    erased: bool = False
    """Of somebody who asked for it nothing comes back."""
    certified: bool = False
    """The certificate of that verifies, and its entry is in the log."""

    def document(self) -> dict[str, Any]:
        """Return the object of ``--json``."""
        return {
            "tokenized": self.tokenized,
            "rejected": self.rejected,
            "detokenized": self.detokenized,
            "refused": self.refused,
            "log_entries": self.log_entries,
            "log_verified": self.log_verified,
            "tamper_detected": self.tamper_detected,
            "plaintext_found": self.plaintext_found,
            "rotation": {
                "from": self.rotation_from,
                "to": self.rotation_to,
                "remaining": self.remaining,
            },
            "erased": self.erased,
            "certified": self.certified,
        }

    def faults(self) -> list[str]:
        """Return what is not as it has to be."""
        wanted = {
            "tokenized": (self.tokenized, TOKENIZED),
            "rejected": (self.rejected, REJECTED),
            "refused": (self.refused, REFUSALS),
            "log_verified": (self.log_verified, True),
            "tamper_detected": (self.tamper_detected, True),
            "plaintext_found": (self.plaintext_found, 0),
            "rotation.remaining": (self.remaining, 0),
            "rotation.destroyed": (self.destroyed, DESTROYED),
            "erased": (self.erased, True),
            "certified": (self.certified, True),
        }
        return [f"{name} is {is_}, not {due}" for name, (is_, due) in wanted.items() if is_ != due]


class Account:
    """A readable account: numbered chapters and what happened in them."""

    def __init__(self, stream: IO[str]) -> None:
        self._console = console(stream)
        self._chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        self._console.print()
        self._console.print(Text(f"{self._chapters}. {title}", style="bold"))

    def say(self, text: str) -> None:
        """Tell one thing."""
        self._console.print(Text(f"   {shown(text)}"))

    def refusal(self, what: str, answer: str) -> None:
        """Tell of a request that was refused."""
        self._console.print(Text.assemble("   ", (what, ""), " → ", (shown(answer), "red")))
