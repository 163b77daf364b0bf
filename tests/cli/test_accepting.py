"""Whoever restores without the newest tombstones is asked for two people, by name, and the log says who."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest

from tests.cli.conftest import Command
from tests.cli.test_root_keys import lines
from tests.cli.town import Ran
from tests.conformance.counter import Counter
from tests.conformance.dumps import Dump, take
from tests.conformance.keeper import Keeper
from tests.conformance.yard import Yard
from tests.support.furnished import PASSWORD, Clock, Furnished, furnish
from vault.assembly import open_vault
from vault.audit.entry import decode
from vault.settings import Settings
from vault.storage.log import read_entries

PEOPLE = ("admin", "officer")


@dataclass(frozen=True)
class Copies:
    """A vault that has erased somebody, and its copies from before: a backup, a dump, the log folder."""

    office: Furnished
    folder: Path
    dump: Dump

    def restoring(self, kind: str, home: Path) -> list[object]:
        """Lay out what is needed in ``home``; return the command, which has older tombstones."""
        command: list[object] = ["restore", "--home", home]
        if kind == "raw":
            self.dump.restore(home)
            command.append("--raw")
        else:
            shutil.copytree(self.office.home / "keys", home / "keys")
            command += [self.folder / "backup", "--identity", self.folder / "identities.txt"]
        older, newest = self.folder / "older", self.office.home / "log"
        return [*command, "--tombstones", older / "tombstones", "--checkpoint", newest / "checkpoint"]

    def shown(self, login: str) -> tuple[str, str, str]:
        """Return what somebody shows: login, password, and the code of this moment."""
        return login, PASSWORD, pyotp.TOTP(self.office.seeds[login]).now()

    def require_told(self, ran: Ran, home: Path) -> None:
        """Return if the entry of the restore names the two people and the gap, as whoever ran it was told."""
        assert ran.code == 0, ran.err
        told = ran.json
        with (
            closing(open_vault(Settings.load(home))) as vault,
            vault.changes.database.reading() as connection,
        ):
            (row,) = read_entries(connection, told["log_index"], told["log_index"] + 1)
        entry = decode(row.body)
        said, people = dict(entry.target), self.office.people
        assert entry.action == "vault:restore"
        assert [said["administrator"], said["officer"]] == [people[login] for login in PEOPLE]
        assert (said["gap.from"], said["gap.to"]) == (str(told["gap"]["from"]), str(told["gap"]["to"]))
        assert told["gap"]["from"] < told["gap"]["to"]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    """Made an hour ago: the commands go by the clock of the system, and a code is good once."""
    folder = tmp_path_factory.mktemp("copies")
    office = furnish(folder / "home", clock=Clock(datetime.now(UTC) - timedelta(hours=1)))
    counter = Counter(office)
    with closing(counter):
        keeper, yard = Keeper(counter), Yard(counter, folder, "")
        subject, _ = keeper.somebody()
        counter.verify_log()
        shutil.copytree(office.home / "log", folder / "older")
        yard.backup()
        (folder / "identities.txt").write_text("\n".join(found.expose() for found in yard.identities))
        dump = take(counter, folder / "dump", None)
        keeper.erase(subject)
        counter.verify_log()
    return Copies(office, folder, dump)


@pytest.mark.parametrize("kind", ["backup", "raw"])
def test_both_vouch_through_a_file_descriptor(
    command: Command, copies: Copies, tmp_path: Path, kind: str
) -> None:
    home = tmp_path / "new"
    restoring = copies.restoring(kind, home)
    refused = command(*restoring)
    assert (refused.code, "falls short" in refused.err, "--accept-gap" in refused.err) == (4, True, True)
    with lines(*copies.shown("admin"), *copies.shown("officer")) as descriptor:
        ran = command(*restoring, "--accept-gap", "--credentials-fd", descriptor, "--json")
    copies.require_told(ran, home)
    assert "nothing is known: whoever they erased is back" in ran.err
    assert PASSWORD not in ran.err + ran.out


def test_both_vouch_at_the_terminal(
    command: Command, copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def unseen(question: str, *_screen: object) -> str:
        asked.append(question)
        return PASSWORD

    monkeypatch.setattr("getpass.getpass", unseen)
    restoring = copies.restoring("backup", tmp_path / "new")
    shown = [copies.shown(login) for login in PEOPLE]
    typed = "".join(f"{login}\n{code}\n" for login, _, code in shown)
    ran = command(*restoring, "--accept-gap", "--json", typed=typed)
    copies.require_told(ran, tmp_path / "new")
    # Seen as they are typed: logins and codes, which are good for once. Unseen: passwords.
    for question in ("Administrator, login: ", "Officer, login: ", "Code: "):
        assert question in ran.err
    assert asked == ["Password: "] * 2
    assert PASSWORD not in ran.err + ran.out


def test_whom_the_role_is_not_of_accepts_nothing(command: Command, copies: Copies, tmp_path: Path) -> None:
    home = tmp_path / "new"
    restoring = [*copies.restoring("backup", home), "--accept-gap", "--json"]
    (admin, password, code), officer = copies.shown("admin"), copies.shown("officer")
    wrong = "000000" if code != "000000" else "111111"
    for shown in (
        (*officer, admin, password, code),
        (admin, password, code) * 2,
        (admin, password, code, *copies.shown("minji")),
        (admin, password, wrong, *officer),
        (admin, f"{password}!", code, *officer),
        (admin, password, code),
        (),
    ):
        with lines(*shown) as descriptor:
            ran = command(*restoring, "--credentials-fd", descriptor)
        assert (ran.code, ran.json["error"]["code"]) == (3, "authentication_failed")
        assert [path.name for path in home.iterdir()] == ["keys"]


def test_where_nobody_can_be_asked_the_option_is_named(
    command: Command, copies: Copies, tmp_path: Path
) -> None:
    home = tmp_path / "new"
    restoring = [*copies.restoring("backup", home), "--accept-gap"]
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    for more, told in (((), "give --credentials-fd"), (("--credentials-fd", reading), "cannot be read")):
        ran = command(*restoring, *more)
        assert (ran.code, told in ran.err) == (2, True)
        assert [path.name for path in home.iterdir()] == ["keys"]
