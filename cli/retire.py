"""``keys retire``: the one procedure after which old copies of the database are dead.

It looks at the vault, takes every step that is due, and says what is left to a
person. Nothing of it is remembered but in the vault, so whatever stops it, the
same command goes on.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import asking
from cli.errors import WAITS
from cli.local import retiring as host
from cli.local.homes import Home, home_of
from cli.local.retiring import Holders
from cli.local.roots import FromRecovery, NewRecovery, NewRootKey, RecoveryFile
from cli.local.unsealing import UnsealFd
from cli.output import Output, moment
from cli.remote import retiring as remote
from cli.remote.command import add_targeted
from cli.remote.server import Server, Target, connect
from vault.domain.errors import InvalidInputError

Begin = Annotated[
    bool, typer.Option("--begin", help="Begin: everything from before this moment is to end. Else go on.")
]
Status = Annotated[bool, typer.Option("--status", help="Only show what is left. Asks no server.")]
Of = Annotated[
    str | None,
    typer.Option("--of", metavar="DATE", help="Show what a copy of the database of then still opens by."),
]
Confirm = Annotated[
    list[str] | None,
    typer.Option("--confirm", metavar="NAME", help="This copy is gone, everywhere. May be repeated."),
]
DeleteInKms = Annotated[
    bool, typer.Option("--schedule-kms-deletion", help="Have AWS KMS delete the old key after 30 days.")
]

LATER: Final = "later"

HOW: Final = MappingProxyType(
    {
        "absent": "not there",
        "confirmed": "confirmed",
        "destroyed": "destroyed in the token",
        "disallowed": "its version is disallowed by the server",
        "overwritten": "overwritten and removed",
        "removed": "its version is removed from the server",
        "scheduled": "its deletion is scheduled",
    }
)
"""How a copy ended, in words for people."""

NO_PROOF: Final = (
    "An overwritten file may live on: in backups of it, on an SSD, on a file system that copies on write."
)


def add_to(keys: typer.Typer) -> None:
    """Add ``retire`` to the group ``keys``."""
    add_targeted(
        keys,
        "retire",
        retire,
        "piivault keys retire --begin --home /srv/piivault",
        "piivault keys retire --home /srv/piivault",
        "piivault keys retire --confirm /srv/piivault/keys/root.key \\",
        '    --confirm "3 recovery shares of root key 1"',
        "piivault keys retire --of 2026-11-24 --json",
    )


def retire(  # noqa: PLR0913 - an option for each thing that can be said
    target: Target,
    out: Output,
    *,
    home: Home = None,
    begin: Begin = False,
    status: Status = False,
    of: Of = None,
    root_key: NewRootKey = None,
    recovery: NewRecovery = None,
    from_recovery: FromRecovery = False,
    recovery_file: RecoveryFile = None,
    confirm: Confirm = None,
    schedule_kms_deletion: DeleteInKms = False,
    unseal_fd: UnsealFd = None,
) -> None:
    """Make old copies of the database dead.

    Run on the host, logged in as an administrator. Takes every step that is
    due: rotates wrapping and lookup keys, moves what hangs on them, proposes
    their end, and, when another administrator has approved, draws a new root
    key and ends every copy of the old ones, each confirmed by its name. Ends
    with 8 while a person has something to do. Run it again to go on.
    """
    folder = home_of(home)
    if status or of is not None:
        _show(out, host.state(folder, _date(of)), whose="A copy" if of else "Copies")
        return
    with connect(target) as server:
        holders = Holders(root_key, recovery, from_recovery, recovery_file, unseal_fd, schedule_kms_deletion)
        procedure = _Procedure(server, out, folder, holders)
        procedure.require_administrator(target.profile)
        if begin:
            procedure.begin()
        procedure.run(confirm or [])
    procedure.tell()


class _Procedure:
    """One run: what was done, and what is left."""

    def __init__(self, server: Server, out: Output, home: Path, holders: Holders) -> None:
        self._server = server
        self._out = out
        self._home = home
        self._holders = holders
        self._say = out.note if out.as_json else out.line
        self._by = ""
        self._waiting: list[remote.Waiting] = []
        self._ended: list[dict[str, str]] = []
        self._root_key: dict[str, Any] | None = None
        self._state = host.state(home)

    def require_administrator(self, profile: str) -> None:
        """Return if an administrator of this very vault is logged in."""
        remote.require_vault(self._server, self._state["vault_id"])
        self._by = remote.administrator(self._server, profile)

    def begin(self) -> None:
        """Make a new epoch: what is from before it is to end."""
        epoch = remote.rotate_epoch(self._server)
        self._say(f"Epoch {epoch} is in force.")
        self._look()

    def run(self, confirmed: list[str]) -> None:
        """Take the steps that are due, one after the other, as far as it goes without others."""
        if self._state["step"] == "rotate":
            count = remote.rotate(self._server, self._state["keys"])
            self._say(f"{count} lookup keys were replaced.")
            self._look()
        if self._state["step"] == "destroy":
            moved = remote.move(self._server, self._out, self._state["keys"])
            self._say(f"{moved:,} data keys and digests moved; nothing hangs on the keys of before.")
            self._waiting = remote.propose(self._server, self._state["keys"])
        if self._state["step"] == "root":
            self._root_key = host.change_root_key(self._home, self._out, self._holders, reason=remote.WHY)
            self._say(f"Root key {self._root_key['new']} is in force.")
            self._look()
        if self._state["step"] == "copies":
            self._end_copies(confirmed)

    def _end_copies(self, confirmed: list[str]) -> None:
        names = [copy["name"] for copy in self._state["copies"]]
        for name in confirmed:
            if name not in names:
                self._out.note(f"No copy is called {name}, or it has ended already.")
        chosen = [name for name in names if name in confirmed]
        if sys.stdin.isatty():
            chosen += [copy["name"] for copy in self._state["copies"] if self._is_gone(copy, chosen)]
        if chosen:
            self._ended = host.end_copies(self._home, chosen, self._holders, by=self._by, reason=remote.WHY)
            self._look()

    def _is_gone(self, copy: dict[str, Any], chosen: list[str]) -> bool:
        """Ask somebody at the terminal to type the name of a copy."""
        if copy["name"] in chosen:
            return False
        self._out.note(f"\n{copy['name']}\n  {copy['to_do']}")
        answer = asking.ask("Type its name if that is done", option="--confirm", default=LATER)
        if answer not in {copy["name"], LATER}:
            self._out.note("That is not its name: later, then.")
        return answer == str(copy["name"])

    def _look(self) -> None:
        self._state = host.state(self._home)

    def tell(self) -> None:
        """Say what was done and what is left; end with 8 if that is a person's to do."""
        for copy in self._ended:
            self._say(f"{copy['name']}: {HOW[copy['how']]}.")
        if any(copy["how"] == "overwritten" for copy in self._ended):
            self._out.note(NO_PROOF)
        if self._out.as_json:
            approvals = [{"key": one.key, "approval_id": one.approval_id} for one in self._waiting]
            done = {"approvals": approvals, "changed_root_key": self._root_key, "ended": self._ended}
            self._out.document({**self._state, **done})
        else:
            self._tell_rest()
        if self._state["step"] != "done":
            raise typer.Exit(WAITS)

    def _tell_rest(self) -> None:
        if self._waiting:
            self._say("Another administrator has to approve the end of each key. What they type:\n")
            for one in self._waiting:
                self._say(f"  piivault approval approve {one.approval_id}    # {one.key}")
            self._say("\nThen go on with: piivault keys retire")
            return
        _tell_left(self._out, self._state)


def _show(out: Output, state: dict[str, Any], *, whose: str) -> None:
    if out.as_json:
        out.document(state)
        return
    left = [
        *map(_key_row, state["keys"]),
        *map(_root_row, state["root_keys"]),
        *map(_copy_row, state["copies"]),
    ]
    if left:
        out.line(f"{whose} of the database from before {moment(state['before'])} may still be opened by:\n")
        out.table(("what", "state", "how it ends"), left)
        return
    _tell_left(out, {**state, "step": "done"})


def _key_row(key: dict[str, Any]) -> tuple[str, str, str]:
    name = f"epoch {key['version']}" if key["kind"] == "wrapping" else f"{key['scope']} {key['version']}"
    used = key["state"] == "active"
    return f"{key['kind']} key, {name}", key["state"], "replaced, then destroyed" if used else "destroyed"


def _root_row(root: dict[str, Any]) -> tuple[str, str, str]:
    if root["in_force"]:
        return f"root key {root['version']}", "in force", "replaced when these keys are destroyed"
    ends = "" if root["ends_at"] is None else f"; one on {moment(root['ends_at'])}"
    return f"root key {root['version']}", "replaced", f"every copy ends{ends}"


def _copy_row(copy: dict[str, Any]) -> tuple[str, str, str]:
    return copy["name"], f"may open root key {copy['root_key']}", copy["to_do"]


def _tell_left(out: Output, state: dict[str, Any]) -> None:
    if state["step"] == "copies":
        out.line("What opens an older root key may still be somewhere:\n")
        for copy in state["copies"]:
            out.line(f"  {copy['name']}\n    {copy['to_do']}")
        out.line("\nWhen one is gone: piivault keys retire --confirm NAME")
    elif state["step"] == "wait":
        out.line(
            f"All is done but what AWS KMS deletes on {moment(state['ends_at'])}, unless that is cancelled."
        )
    elif state["step"] != "done":
        # Others changed keys meanwhile, or a clock was behind: a step is due that was thought to be taken.
        out.line(f"The step {state['step']} is due again: run piivault keys retire once more.")
    else:
        out.line(f"Copies of the database from before {moment(state['before'])} are dead.")
        out.note("Begin anew, so that those from before now die: piivault keys retire --begin")


def _date(text: str | None) -> datetime | None:
    """Return the moment that ``text`` says (a day: its beginning), in this host's zone if it names none."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise InvalidInputError(
            "a date like 2026-11-24 or 2026-11-24T15:30", field="--of", rule="date"
        ) from None
