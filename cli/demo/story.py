"""The story, chapter by chapter, over the same HTTP interface as everybody uses."""

from __future__ import annotations

import csv
import shutil
import unicodedata
from itertools import chain
from typing import Any, Final

from cli.demo.account import Account, Figures
from cli.demo.adversary import PLANTED_GRANT, Planted, flip_byte, plant_grant
from cli.demo.cast import (
    COMMUNICATION,
    ETHICS,
    INQUIRY,
    INQUIRY_FIELDS,
    MEMBER_FIELDS,
    PARTNER,
    PARTNER_FIELDS,
    Cast,
)
from cli.demo.endings import Endings
from cli.demo.host import Host
from cli.demo.refusals import Refusals
from cli.demo_data import members, partners
from cli.output import Output
from cli.remote.files import watched
from cli.remote.importing import BATCH, Order, run_import
from cli.remote.log import run_export
from cli.remote.retrying import Patience
from cli.remote.server import Server
from vault.audit.verify import ExportRejectedError, verify_certificate, verify_export
from vault.domain.errors import TamperDetectedError
from vault.domain.model import Reveal

PAGE: Final = 100


class Story:
    """One run. ``figures`` says how far it got, whatever happens."""

    def __init__(self, host: Host, account: Account) -> None:
        self.figures: Final = Figures()
        self.cast: Final = Cast(host.url)
        self._host = host
        self._account = account
        self._say = account.say
        self._vkey = ""
        self._refusals: Refusals | None = None
        self._phones: list[tuple[str, str]] = []
        """Tokens, and the digits that went in."""
        self._leaver = ("", "")
        """Somebody who asks to be erased: the subject, and the token of the number."""
        self._endings: Final = Endings(self.cast, account, self.figures)
        self._certificate = ""

    def tell(self) -> None:
        """Run every chapter. Raises what goes wrong."""
        self._found_a_vault()
        self._bring_in_people()
        self._create_services()
        self._import_files()
        self._use_values()
        self._refuse()
        self._end()
        self._restart()
        self._read_log()
        self._verify()
        self._search_plaintext()

    def _found_a_vault(self) -> None:
        self._account.chapter("A vault on this host, with the embedded database")
        cast = self.cast
        told = self._host.initialise(
            administrator=f"{cast.administrator.login}:{cast.administrator.name}",
            officer=f"{cast.officer.login}:{cast.officer.name}",
        )
        self._say(f"piivault init: a vault in {self._host.home}, and two one-time codes")
        self._host.start()
        self._say(f"piivault serve: {self._host.url}")
        with Server(self._host.url) as server:
            self._vkey = server.get("/v1/audit/key", public=True).body["vkey"]
        self._say("The public key of the log is noted down; the log is verified with it at the end.")
        cast.enter(cast.administrator, told["administrator"]["invitation"])
        cast.enter(cast.officer, told["officer"]["invitation"])

    def _bring_in_people(self) -> None:
        self._account.chapter("Five people, each with a password and an authenticator")
        cast = self.cast
        for person in (cast.administrator, cast.officer):
            self._say(f"{person.name}, {person.role}: enrolled with a code of init, logged in")
        for person in (cast.second, cast.handler, cast.reviewer):
            cast.enter(person, cast.invite(person))
            self._say(f"{person.name}, {person.role}: invited by {cast.administrator.name}, enrolled,")
            self._say(f"   approved by {cast.officer.name}, logged in")

    def _create_services(self) -> None:
        self._account.chapter("Two services, one of them with grants")
        cast = self.cast
        cast.create_services()
        shop = ("service", cast.shop["service_id"])
        actions = ["token:tokenize", "token:detokenize"]
        for fields, purpose in ((MEMBER_FIELDS, COMMUNICATION), (PARTNER_FIELDS, PARTNER)):
            grant = cast.propose(shop, actions, fields, purpose=purpose, reveal=Reveal.PLAIN)
            cast.approve(grant)
        self._say("shop: may tokenize and see plain values for two purposes, approved by the officer")
        self._say("statistics: has no grant")

    def _import_files(self) -> None:
        self._account.chapter("10,000 members and 500 partners, from files as they come")
        work = self._host.work
        with self.cast.service(self.cast.shop) as server:
            for name, kind, purpose in (
                ("members", "member", COMMUNICATION),
                ("partners", "partner", PARTNER),
            ):
                tokens, rejects = work / f"{name}.tokens.csv", work / f"{name}.rejects.csv"
                order = Order(work / f"{name}.csv", tokens, rejects, purpose=purpose, kind=kind)
                with watched(Output(), name) as watch:
                    tally = run_import(server, order, Patience(), watch)
                self.figures.tokenized += tally.tokenized
                self.figures.rejected += tally.rejected
                self._say(
                    f"{name}.csv: {tally.rows:,} rows, {tally.tokenized:,} values tokenized, "
                    f"{tally.rejected} rejected, each by row, field and rule"
                )
        with (work / "members.tokens.csv").open(encoding="utf-8", newline="") as file:
            given = {row["external_ref"]: row["member.phone"] for row in members()}
            rows = [row for row in csv.DictReader(file) if row["member.phone"]]
        self._phones = [(row["member.phone"], _digits(given[row["external_ref"]])) for row in rows]
        self._leaver = (rows[-1]["subject"], rows[-1]["member.phone"])

    def _use_values(self) -> None:
        self._account.chapter("Values come back for a purpose, and only for that")
        released = 0
        with self.cast.service(self.cast.shop) as server:
            for start in range(0, len(self._phones), BATCH):
                wanted = self._phones[start : start + BATCH]
                items = [{"token": token} for token, _ in wanted]
                body = {"purpose": COMMUNICATION, "reveal": Reveal.PLAIN, "items": items}
                answers = server.post("/v1/detokenize", body).body["items"]
                if [_digits(answer["value"]) for answer in answers] != [digits for _, digits in wanted]:
                    raise TamperDetectedError("another number came back than went in")
                released += len(answers)
        self.figures.detokenized += released
        self._say(f"shop, to send messages: {released:,} phone numbers, {BATCH:,} at a time,")
        self._say("   each the number that went in")
        self._grant_handler(Reveal.MASKED)
        shown = self._reveal(Reveal.MASKED)
        self._say(f"{self.cast.handler.name}, answering a call: {shown} (masked; takes no approval)")

    def _refuse(self) -> None:
        self._account.chapter("What is refused, and logged as refused")
        cast, refusals = self.cast, Refusals(self._host.url, self._account, self._phones[0][0])
        with cast.service(cast.shop) as server:
            refusals.of_request("shop, for a purpose that is not its own", server, purpose=ETHICS)
        with cast.service(cast.statistics) as server:
            refusals.of_request("statistics, without a grant", server, purpose=COMMUNICATION)
            self._plant_grant()
            refusals.of_request(
                "statistics, with a grant put straight into the database", server, purpose=COMMUNICATION
            )
        with cast.administrator.server(cast.url) as server:
            refusals.of_request(f"{cast.administrator.name}, administrator", server, purpose=INQUIRY)
        refusals.of_login(f"{cast.handler.name}, logging in with a code used before", cast.handler)
        grant = self._grant_handler(Reveal.PLAIN)
        with cast.handler.server(cast.url) as server:
            what = f"{cast.handler.name}, plain, under a grant not approved yet"
            refusals.of_request(what, server, purpose=INQUIRY, reveal=Reveal.PLAIN)
        cast.approve(grant)
        self._say(f"   {cast.officer.name} approves it: {self._reveal(Reveal.PLAIN)} (plain)")
        token = cast.spent_access_token()
        refusals.of_access_token(
            "shop, with the access token of a credential that has ended", token, purpose=COMMUNICATION
        )
        self._refusals = refusals

    def _end(self) -> None:
        assert self._refusals is not None  # a chapter before
        self._endings.of_a_key(self._refusals)
        self.figures.refused = self._refusals.count
        self._certificate = self._endings.of_a_person(*self._leaver)

    def _restart(self) -> None:
        self._account.chapter("The server is stopped and started again")
        self._host.stop()
        self._host.start()
        self._say("Same data, same sessions: whatever was acknowledged is there.")

    def _read_log(self) -> None:
        self._account.chapter(f"{self.cast.reviewer.name}, reviewer, reads the log")
        with self.cast.reviewer.server(self._host.url) as server:
            refused = server.get("/v1/audit/entries", params={"outcome": "refused", "limit": PAGE}).body
            alarms = server.get("/v1/audit/entries", params={"action": "integrity:alarm"}).body
        for entry in reversed(refused["items"]):
            who = entry["actor"]["name"] or "somebody unknown"
            self._say(
                f"entry {entry['index']}: {who}, {entry['action']},"
                f" refused: {entry['decision']['rule'] or entry['error']}"
            )
        rows = {entry["target"].get("row") for entry in alarms["items"]}
        if PLANTED_GRANT not in rows:
            raise TamperDetectedError("the planted grant raised no alarm")
        self._say(f"and an alarm: the row {PLANTED_GRANT} does not verify")

    def _verify(self) -> None:
        self._account.chapter("The log is exported, and verified without the vault")
        folder, tampered = self._host.work / "log", self._host.work / "log-tampered"
        self._host.settle()
        with self.cast.reviewer.server(self._host.url) as server:
            note = self._endings.signed(server, self._certificate)
            run_export(server, Output(), folder)
            portions = self._count(server, action="key:rewrap", actor="vault")
            looks = self._count(server, action="key:jobs") + self._count(server, action="certificate:show")
        report = verify_export(folder, self._vkey)
        # How many portions the re-wrap took, and how often it was looked at, is a matter of the host's speed.
        self.figures.log_entries = report.entries - portions - looks
        self.figures.log_verified = True
        self._say(f"{report.entries} entries, root {report.root.hex()[:16]}…: verified")
        self._say(f"   ({portions} of them portions of the re-wrap, {looks} looks at how far something was)")
        certified = verify_certificate(note, [self._vkey], export=folder).certificate
        self.figures.certified = True
        self._say(f"The certificate of destruction verifies with it: entry {certified.log_index},")
        self._say(f"   copies from before are dead by {certified.lines['copies dead by']}")
        shutil.copytree(folder, tampered)
        bundle = flip_byte(tampered)
        try:
            verify_export(tampered, self._vkey)
        except ExportRejectedError as error:
            self.figures.tamper_detected = True
            self._say(f"One bit flipped in {bundle.relative_to(tampered)}: the export does not verify")
            self._say(f"   ({', '.join(dict.fromkeys(found.rule for found in error.report.findings))})")

    def _count(self, server: Server, **filters: str) -> int:
        """Count the entries of the log that match."""
        params: dict[str, Any] = {**filters, "limit": PAGE}
        found = 0
        while True:
            page = server.get("/v1/audit/entries", params=params).body
            found += len(page["items"])
            if page["next"] is None:
                return found
            params["before"] = page["next"]

    def _search_plaintext(self) -> None:
        self._account.chapter("What whoever steals the disk finds")
        planted = Planted(chain(members(), partners()))
        files = [*self._host.home.joinpath("data").iterdir(), self._host.log]
        files += [path for path in (self._host.work / "log").rglob("*") if path.is_file()]
        self.figures.plaintext_found = sum(planted.found_in(path.read_bytes()) for path in files)
        size = sum(path.stat().st_size for path in files)
        self._say(
            f"{planted.count:,} values of the two files, looked for in {size / 1e6:,.0f} MB of database,"
        )
        self._say(f"   write-ahead log, server log and export: {self.figures.plaintext_found} found")

    def _grant_handler(self, reveal: Reveal) -> str:
        holder = ("staff", self.cast.handler.staff_id)
        return self.cast.propose(holder, ["token:detokenize"], INQUIRY_FIELDS, purpose=INQUIRY, reveal=reveal)

    def _reveal(self, reveal: Reveal) -> str:
        shown = self.cast.reveal(self._phones[0][0], reveal)
        self.figures.detokenized += 1
        return shown

    def _plant_grant(self) -> None:
        holder, another = self.cast.shop["service_id"], self.cast.statistics["service_id"]
        plant_grant(self._host.database, holder=holder, another=another)


def _digits(number: str) -> str:
    """Return the digits of a Korean telephone number, however it is written."""
    digits = "".join(filter(str.isdecimal, unicodedata.normalize("NFKC", number)))
    return f"0{digits.removeprefix('82')}" if digits.startswith("82") else digits
