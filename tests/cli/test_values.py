"""Values, files, keys and the log, by commands, at a real server."""

from __future__ import annotations

import csv
import getpass
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cli.demo_data import MEMBER_COLUMNS, csv_text, members
from tests.cli.conftest import Command
from tests.cli.stub import Canned, StubServer
from tests.cli.town import Town

ADMINISTRATOR = ("--profile", "administrator")
HANDLER = ("--profile", "handler")
REVIEWER = ("--profile", "reviewer")
INQUIRY = ("--purpose", "inquiry", "--reason", "ticket 4711")


def _tokens(at_town: Command, *values: str, field: str = "member.phone") -> list[str]:
    ran = at_town("tokenize", *INQUIRY, "--field", field, *HANDLER, stdin="".join(f"{v}\n" for v in values))
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


class TestValues:
    def test_a_value_goes_in_and_comes_back_masked_or_plain(self, at_town: Command) -> None:
        tokens = _tokens(at_town, "010-1234-5678", "02-345-6789")
        masked = at_town("detokenize", *INQUIRY, *tokens, *HANDLER)
        assert (masked.code, masked.out) == (0, "010-****-5678\n02-****-6789\n")
        plain = at_town("detokenize", *INQUIRY, "--plain", *HANDLER, stdin="\n".join(tokens))
        assert plain.out == "010-1234-5678\n02-345-6789\n"

    def test_json_is_the_body_as_the_server_sent_it(self, at_town: Command) -> None:
        [token] = _tokens(at_town, "010-1234-5678")
        ran = at_town("detokenize", *INQUIRY, token, "--json", *HANDLER)
        assert ran.err == ""
        assert ran.out.startswith('{"log_index":')
        assert set(ran.json) == {"log_index", "leaf_hash", "items"}

    def test_plain_needs_a_reason(self, at_town: Command) -> None:
        ran = at_town("detokenize", "--purpose", "inquiry", "--plain", "phn_1", *HANDLER)
        assert ran.code == 2
        assert "--reason" in ran.err

    def test_bad_values_are_told_apart_and_end_with_2(self, at_town: Command) -> None:
        ran = at_town(
            "tokenize", *INQUIRY, "--field", "member.phone", *HANDLER,
            stdin="010-1234-5678\n900101-1234567\n",
        )  # fmt: skip
        assert ran.code == 2
        assert len(ran.out.splitlines()) == 2
        assert ran.out.splitlines()[1] == ""
        assert "item 2: invalid_value (member.phone: resident_number)" in ran.err
        assert "900101" not in ran.out + ran.err

    def test_unknown_tokens_end_with_4(self, at_town: Command) -> None:
        ran = at_town("detokenize", *INQUIRY, "phn_" + "0" * 40, "--json", *HANDLER)
        assert ran.code == 4
        assert ran.json["items"][0]["error"]["code"] == "unknown_token"

    def test_a_closed_purpose_ends_with_4_and_names_the_request(self, at_town: Command) -> None:
        ran = at_town("detokenize", "--purpose", "ethics", "--reason", "r", "phn_" + "0" * 40, *HANDLER)
        assert ran.code == 4
        assert "purpose_not_allowed" in ran.err
        assert "request req_" in ran.err

    def test_items_may_come_as_json(self, at_town: Command) -> None:
        items = [
            {"field": "member.phone", "value": "010-1234-5678", "external_ref": "user-1", "reference": "r1"},
            {"field": "member.gender", "value": "여", "external_ref": "user-1"},
        ]
        ran = at_town("tokenize", *INQUIRY, "--items", "--json", *HANDLER, stdin=json.dumps(items))
        assert ran.code == 0, ran.err
        first, second = ran.json["items"]
        assert first["reference"] == "r1"
        assert first["subject"] == second["subject"]
        again = at_town(
            "tokenize", *INQUIRY, "--field", "member.phone", "--external-ref", "user-1", "--json", *HANDLER,
            stdin="010-1234-5678\n",
        )  # fmt: skip
        assert again.json["items"][0]["token"] == first["token"]
        more = at_town(
            "tokenize", *INQUIRY, "--field", "member.age_band", "--subject", first["subject"], "--json",
            *HANDLER, stdin="20-29\n",
        )  # fmt: skip
        assert more.json["items"][0]["subject"] == first["subject"]

    @pytest.mark.parametrize("stdin", ["", "{", "{}", "[]"])
    def test_refuses_items_that_are_no_array(self, at_town: Command, stdin: str) -> None:
        assert at_town("tokenize", *INQUIRY, "--items", *HANDLER, stdin=stdin).code == 2

    @pytest.mark.parametrize("options", [[], ["--items", "--field", "member.phone"]])
    def test_values_come_in_one_way(self, at_town: Command, options: list[str]) -> None:
        ran = at_town("tokenize", *INQUIRY, *options, *HANDLER, stdin="[]")
        assert ran.code == 2
        assert "exclusive" in ran.err

    def test_more_than_a_request_takes_is_refused_before_it_is_sent(self, at_town: Command) -> None:
        ran = at_town("detokenize", *INQUIRY, *HANDLER, stdin="phn_1\n" * 1001)
        assert ran.code == 2
        assert "piivault import" in ran.err
        assert at_town("tokenize", *INQUIRY, "--field", "f", *HANDLER, stdin="").code == 2

    def test_a_value_is_asked_for_without_echo(
        self, at_town: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(getpass, "getpass", lambda *_: "010-1234-5679")
        made = at_town("tokenize", *INQUIRY, "--field", "member.phone", *HANDLER, typed="")
        found = at_town("search", *INQUIRY, "--field", "member.phone", *HANDLER, typed="")
        assert made.out.strip() in found.out

    def test_search_finds_every_token_of_a_value(self, at_town: Command) -> None:
        tokens = _tokens(at_town, "010-1999-0001", "010-1999-0001")
        ran = at_town("search", *INQUIRY, "--field", "member.phone", *HANDLER, stdin="01019990001\n")
        assert {line.split()[0] for line in ran.out.splitlines()[1:]} == set(tokens)
        told = at_town(
            "search", *INQUIRY, "--field", "member.phone", "--json", *HANDLER, stdin="01019990001\n"
        )
        assert {item["token"] for item in told.json["items"]} == set(tokens)
        none = at_town("search", *INQUIRY, "--field", "member.phone", *HANDLER, stdin="010-1999-0009\n")
        assert (none.code, none.out, none.err) == (0, "", "no token stands for this value\n")
        assert at_town("search", *INQUIRY, "--field", "member.phone", *HANDLER, stdin="").code == 2

    def test_a_token_is_shown_without_its_value_and_revoked_once(self, at_town: Command) -> None:
        [token] = _tokens(at_town, "010-1999-0002")
        shown = at_town("token", "show", token, "--purpose", "inquiry", *HANDLER)
        assert "live" in shown.out
        assert "0002" not in shown.out
        revoked = at_town("token", "revoke", token, "--purpose", "inquiry", "--json", *HANDLER)
        assert revoked.json["state"] == "revoked"
        again = at_town("token", "revoke", token, "--purpose", "inquiry", *HANDLER)
        assert again.code == 4
        assert "token_revoked" in again.err

    def test_a_one_time_token_is_spent_by_the_first_look(self, at_town: Command) -> None:
        made = at_town(
            "tokenize", *INQUIRY, "--field", "member.phone", "--one-time", *HANDLER, stdin="010-1999-0011\n"
        )
        token = made.out.strip()
        assert at_town("detokenize", *INQUIRY, token, *HANDLER).out == "010-****-0011\n"
        again = at_town("detokenize", *INQUIRY, "--plain", token, *HANDLER)
        assert (again.code, again.out) == (4, "\n")
        assert "token_spent" in again.err
        shown = at_town("token", "show", token, "--purpose", "inquiry", *HANDLER)
        assert "one_time" in shown.out
        assert "spent" in shown.out
        revoked = at_town("token", "revoke", token, "--purpose", "inquiry", *HANDLER)
        assert revoked.code == 4
        assert "token_spent" in revoked.err

    def test_an_audience_keeps_its_token_while_the_value_changes(self, at_town: Command) -> None:
        def swap(value: str, audience: str) -> str:
            ran = at_town(
                *("tokenize", *INQUIRY, "--field", "member.phone", "--external-ref", "user-17"),
                *("--audience", audience, *HANDLER),
                stdin=f"{value}\n",
            )
            assert ran.code == 0, ran.err
            return ran.out.strip()

        token = swap("010-1999-0012", "message_sender")
        assert swap("010-1999-0013", "message_sender") == token
        assert swap("010-1999-0013", "call_centre") != token
        assert at_town("detokenize", *INQUIRY, token, *HANDLER).out == "010-****-0013\n"
        shown = at_town("token", "show", token, "--purpose", "inquiry", *HANDLER)
        assert "message_sender" in shown.out
        found = at_town("search", *INQUIRY, "--field", "member.phone", *HANDLER, stdin="010-1999-0013\n")
        assert {line.split()[-1] for line in found.out.splitlines()[1:]} == {"message_sender", "call_centre"}

    def test_kinds_that_do_not_go_together_are_refused(self, at_town: Command) -> None:
        options = ("tokenize", *INQUIRY, "--field", "member.phone", *HANDLER)
        ran = at_town(*options, "--one-time", "--audience", "call_centre", stdin="010-1999-0014\n")
        assert (ran.code, "audience: exclusive" in ran.err) == (2, True)
        ran = at_town(*options, "--audience", "call_centre", stdin="010-1999-0014\n")
        assert (ran.code, "subject: required" in ran.err) == (2, True)
        for option in (("--one-time",), ("--audience", "call_centre")):
            ran = at_town("tokenize", *INQUIRY, "--items", *option, *HANDLER, stdin="[]")
            assert (ran.code, "exclusive" in ran.err) == (2, True)

    def test_a_service_acts_with_its_own_secret(self, at_town: Command, town: Town) -> None:
        ran = at_town(
            "tokenize", "--purpose", "member_communication", "--field", "member.phone", *town.shop(),
            stdin="010-1999-0003\n",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        secret = town.host.work / "wrong.secret"
        secret.write_text("pvs_wrong\n")
        secret.chmod(0o600)
        wrong = at_town(
            *("detokenize", *INQUIRY, "x", "--url", town.url, "--client-id", town.cast.shop["service_id"]),
            *("--client-secret-file", secret),
        )
        assert wrong.code == 3


class TestFiles:
    def _file(self, folder: Path, rows: int) -> Path:
        path = folder / "members.csv"
        path.write_text(csv_text(MEMBER_COLUMNS, islice(members(), rows)), encoding="utf-8")
        path.chmod(0o600)
        return path

    def _rows(self, path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def test_an_import_for_an_audience_gives_it_tokens_that_stay(
        self, at_town: Command, town: Town, tmp_path: Path
    ) -> None:
        file = tmp_path / "numbers.csv"
        arguments = ("import", file, "--purpose", "member_communication", "--kind", "member", *town.shop())

        def tokens(start: int, *more: str) -> list[str]:
            rows = "".join(f"aud-{at},010-1888-{start + at:04d}\n" for at in range(30))
            file.write_text("external_ref,phone\n" + rows, encoding="utf-8")
            ran = at_town(*arguments, *more, "--json")
            assert ran.code == 0, ran.err
            return [row["member.phone"] for row in self._rows(Path(ran.json["tokens_file"]))]

        sender = tokens(0, "--audience", "message_sender")
        assert {token[:5] for token in sender} == {"phn_3"}
        assert tokens(100, "--audience", "message_sender") == sender
        assert not set(tokens(100, "--audience", "call_centre")) & set(sender)
        refused = at_town(*arguments, "--audience", "nobody")
        assert (refused.code, "unknown_audience" in refused.err) == (2, True)

    def test_an_import_that_is_run_again_makes_nothing_twice(
        self, at_town: Command, town: Town, tmp_path: Path
    ) -> None:
        file = self._file(tmp_path, 400)
        arguments = ("import", file, "--purpose", "member_communication", "--kind", "member", *town.shop())
        first = at_town(*arguments, "--json")
        assert first.code == 0, first.err
        assert first.err == ""
        assert (first.json["rows"], first.json["existing"]) == (400, 0)
        tokens = Path(first.json["tokens_file"])
        assert tokens == tmp_path / "members.tokens.csv"
        before = tokens.read_text()

        # As after a crash: the tokens are lost, half of the file was done.
        tokens.unlink()
        again = at_town(*arguments)
        assert again.code == 0
        assert f"0 values tokenized, {first.json['tokenized']:,} had their token" in again.out
        assert tokens.read_text() == before
        rows = self._rows(tokens)
        assert len({row["subject"] for row in rows if row["subject"]}) == len(
            [row for row in rows if row["subject"]]
        )

        longer = self._file(tmp_path, 500)
        more = at_town(*arguments, "--json").json
        assert (more["rows"], more["existing"]) == (500, first.json["tokenized"])
        assert tokens.read_text().startswith(before)
        assert longer.exists()

        rejects = self._rows(tmp_path / "members.rejects.csv")
        assert {"row": "32", "field": "member.phone", "rule": "length"} in rejects
        assert set(rejects[0]) == {"row", "field", "rule"}
        assert len(rejects) == more["rejected"]

    def test_a_file_of_tokens_is_exported_masked(self, at_town: Command, town: Town, tmp_path: Path) -> None:
        file = self._file(tmp_path, 30)
        purpose = ("--purpose", "member_communication")
        at_town("import", file, *purpose, "--kind", "member", *town.shop())
        tokens, masked = tmp_path / "members.tokens.csv", tmp_path / "masked.csv"
        ran = at_town("export", tokens, *purpose, "--out", masked, *town.shop())
        assert ran.code == 0, ran.err
        rows = self._rows(masked)
        assert f"{len(rows)} masked values" in ran.out
        phones = [row["masked"] for row in rows if row["field"] == "member.phone"]
        assert len(phones) == 30
        assert all("****" in phone for phone in phones)
        assert "kakao:" not in masked.read_text()
        tokens.write_text(tokens.read_text() + f"x,,phn_{0:040x},,\n")
        partly = at_town("export", tokens, *purpose, "--out", masked, "--json", *town.shop())
        assert (partly.code, partly.json["failed"]) == (4, 1)

    def test_says_when_others_may_read_the_file(self, at_town: Command, town: Town, tmp_path: Path) -> None:
        file = self._file(tmp_path, 5)
        file.chmod(0o644)
        purpose = ("--purpose", "member_communication", "--kind", "member")
        assert f"others on this host may read {file}" in at_town("import", file, *purpose, *town.shop()).err
        assert at_town("import", tmp_path / "none.csv", *purpose, *town.shop()).code == 2

    def test_odd_values_are_counted(self, command: Command, tmp_path: Path) -> None:
        file = self._file(tmp_path, 1)
        item = {"token": "phn_1", "subject": "sub_1", "warnings": ["odd"]}
        token = Canned(200, {"access_token": "pva_1", "token_type": "Bearer", "expires_in": 600})
        secret = tmp_path / "secret"
        secret.write_text("pvs_1")
        secret.chmod(0o600)
        with StubServer(token, Canned(200, {"items": [item] * 3})) as stub:
            ran = command(
                *("import", file, "--purpose", "p", "--kind", "member", "--url", stub.url),
                *("--client-id", "svc_1", "--client-secret-file", secret),
            )
        assert "3 values were accepted but look odd." in ran.err


def _keys(at_town: Command) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = at_town("keys", "list", "--json", *ADMINISTRATOR).json["items"]
    return keys


BECAUSE = ("--reason", "the old disk was sold")


class TestKeys:
    def test_rotate_and_rewrap_to_the_end(self, at_town: Command, town: Town) -> None:
        _tokens(at_town, "010-1999-0004")
        rotated = at_town("keys", "rotate", *ADMINISTRATOR)
        assert "is in force" in rotated.out
        listed = at_town("keys", "list", "--json", *ADMINISTRATOR).json["items"]
        epochs = [key for key in listed if key["kind"] == "wrapping"]
        assert epochs[-2]["data_keys"] > 0
        before = epochs[-2]["data_keys"]
        refused = at_town("keys", "destroy", str(epochs[-2]["version"]), *BECAUSE, *ADMINISTRATOR)
        assert (refused.code, f"{before:,} data keys still hang" in refused.err) == (5, True)
        done = at_town("keys", "rewrap", "--json", *ADMINISTRATOR).json["job"]
        assert (done["state"], done["failed"], done["done"]) == ("done", 0, before)
        assert "0 data keys moved to the key in force" in at_town("keys", "rewrap", *ADMINISTRATOR).out
        table = at_town("keys", "list", *ADMINISTRATOR).out
        assert " deactivated " in table
        assert at_town("keys", "rotate", *HANDLER).code == 4
        assert town.url

    def test_census_jobs_and_destruction(self, at_town: Command) -> None:
        _tokens(at_town, "010-1999-0005")
        old = at_town("keys", "rotate", "--json", *ADMINISTRATOR).json["old"]
        at_town("keys", "rewrap", *ADMINISTRATOR)
        rows = at_town("keys", "jobs", *ADMINISTRATOR).out.splitlines()
        assert rows[0].split()[:4] == ["job", "kind", "state", "done"]
        assert " done " in rows[1]
        assert at_town("keys", "jobs", "--json", *ADMINISTRATOR).json["items"][0]["seconds_left"] == 0
        census = at_town("keys", "census", "--json", *ADMINISTRATOR).json["items"]
        (left,) = [key for key in census if (key["kind"], key["version"]) == ("wrapping", old)]
        assert left["total"] == 0
        assert "member.phone" in at_town("keys", "census", *ADMINISTRATOR).out
        proposed = at_town("keys", "destroy", str(old), *BECAUSE, *ADMINISTRATOR)
        assert f"wrapping//{old} ends when another administrator approves apr_" in proposed.out
        waiting = proposed.out.split()[-1].rstrip(".")
        assert at_town("approval", "approve", waiting, *ADMINISTRATOR).code == 4
        ended = at_town("approval", "approve", waiting, "--profile", "second")
        assert (ended.code, f"{waiting} is approved" in ended.out) == (0, True)
        states = {(key["kind"], key["version"]): key["state"] for key in _keys(at_town)}
        assert states["wrapping", old] == "destroyed"
        assert at_town("keys", "census", *HANDLER).code == 4
        wrong = at_town("keys", "destroy", "1", "--kind", "token", *BECAUSE, *ADMINISTRATOR)
        assert (wrong.code, "kind" in wrong.err) == (2, True)

    def test_a_compromised_epoch_is_left_and_ends(self, at_town: Command) -> None:
        _tokens(at_town, "010-1999-0006")
        old = at_town("keys", "rotate", "--json", *BECAUSE, *ADMINISTRATOR).json["old"]
        assert at_town("keys", "compromise", str(old), *ADMINISTRATOR).code == 2
        said = at_town("keys", "compromise", str(old), *BECAUSE, *ADMINISTRATOR)
        assert f"wrapping//{old} is compromised.\n" in said.out
        assert "Watch with: piivault keys reencrypt" in said.out
        assert "--all" in said.err
        assert " compromised " in at_town("keys", "list", *ADMINISTRATOR).out
        assert f"compromised: wrapping//{old}" in at_town("status", *ADMINISTRATOR).out
        done = at_town("keys", "reencrypt", *ADMINISTRATOR)
        assert "replaced, and every value under them sealed anew" in done.out
        census = at_town("keys", "census", "--json", *ADMINISTRATOR).json["items"]
        (left,) = [key for key in census if (key["kind"], key["version"]) == ("wrapping", old)]
        assert (left["total"], left["suspect_data_keys"]) == (0, 0)
        waiting = at_town("keys", "destroy", str(old), *BECAUSE, *ADMINISTRATOR).out.split()[-1].rstrip(".")
        assert at_town("approval", "approve", waiting, "--profile", "second").code == 0
        assert "compromised" not in at_town("status", *ADMINISTRATOR).out

    def test_a_suspended_epoch_shuts_what_hangs_on_it_until_it_is_resumed(self, at_town: Command) -> None:
        (token,) = _tokens(at_town, "010-1999-0008")
        old = at_town("keys", "rotate", "--json", *BECAUSE, *ADMINISTRATOR).json["old"]
        assert at_town("keys", "suspend", str(old), *ADMINISTRATOR).code == 2
        said = at_town("keys", "suspend", str(old), *BECAUSE, *ADMINISTRATOR)
        assert f"wrapping//{old} is suspended.\nNothing opens under its " in said.out
        assert " suspended " in at_town("keys", "list", *ADMINISTRATOR).out
        assert f"yellow; suspended: wrapping//{old}" in at_town("status", *ADMINISTRATOR).out
        shut = at_town("detokenize", *INQUIRY, token, *HANDLER)
        assert "key_suspended" in shut.out + shut.err
        at_town("keys", "rotate", "--kind", "lookup", "--scope", "member.phone", *ADMINISTRATOR)
        waits = at_town("keys", "redigest", "member.phone", *ADMINISTRATOR)
        assert (waits.code, f"resume or compromise wrapping//{old} first" in waits.err) == (5, True)
        said = at_town("keys", "resume", str(old), *BECAUSE, *ADMINISTRATOR)
        assert f"wrapping//{old} unwraps again; " in said.out
        assert at_town("keys", "redigest", "member.phone", *ADMINISTRATOR).code == 0
        assert at_town("keys", "rewrap", *ADMINISTRATOR).code == 0
        assert "suspended" not in at_town("status", *ADMINISTRATOR).out
        assert at_town("detokenize", *INQUIRY, token, *HANDLER).code == 0

    def test_says_whose_data_keys_or_which_lookup_key_somebody_has(self, at_town: Command) -> None:
        asked = ("tokenize", *INQUIRY, "--field", "member.phone", "--json", *HANDLER)
        (made,) = at_town(*asked, stdin="010-1999-0007\n").json["items"]
        said = at_town("keys", "compromise", "--subject", made["subject"], *BECAUSE, *ADMINISTRATOR)
        assert (said.code, said.out.startswith("1 data keys are being replaced")) == (0, True)
        assert at_town("keys", "reencrypt", *ADMINISTRATOR).code == 0
        both = at_town("keys", "compromise", "1", "--subject", made["subject"], *BECAUSE, *ADMINISTRATOR)
        assert (both.code, at_town("keys", "compromise", *BECAUSE, *ADMINISTRATOR).code) == (2, 2)

    @pytest.mark.parametrize("kind", ["authority", "staff_data"])
    def test_rotate_and_reseal_to_the_end(self, at_town: Command, kind: str) -> None:
        rotated = at_town("keys", "rotate", "--kind", kind, *ADMINISTRATOR)
        assert f"Go on with: piivault keys reseal {kind}" in rotated.out
        done = at_town("keys", "reseal", kind, "--json", *ADMINISTRATOR).json["job"]
        assert (done["state"], done["target"], done["failed"]) == ("done", kind, 0)
        assert done["done"] == done["total"] > 0
        assert "0 rows moved to the key in force" in at_town("keys", "reseal", kind, *ADMINISTRATOR).out
        assert at_town("keys", "reseal", kind, *HANDLER).code == 4

    def test_every_kind_says_what_comes_after_its_rotation(self, at_town: Command) -> None:
        said = at_town("keys", "rotate", "--kind", "token", *ADMINISTRATOR)
        assert said.out.strip().endswith("reads its tokens for ever.")
        said = at_town("keys", "rotate", "--kind", "session", *ADMINISTRATOR)
        assert "is good for what was given out. What still hangs on it: piivault keys census" in said.out
        table = at_town("keys", "census", *ADMINISTRATOR).out
        assert "credentials" in table
        assert "held until" in table
        assert at_town("keys", "reseal", "session", *ADMINISTRATOR).code == 2
        assert at_town("keys", "rotate", "--kind", "nothing", *ADMINISTRATOR).code == 2

    def test_follows_a_rewrap_and_says_what_does_not_unwrap(self, command: Command) -> None:
        from cli.remote import profiles

        job = {
            "id": "job_1",
            "kind": "rewrap",
            "state": "running",
            "target": "2",
            "total": 503,
            "done": 0,
            "failed": 0,
        }
        half = {**job, "done": 500}
        done = {**job, "state": "done", "done": 502, "failed": 1}
        answers = [{"job": job}, {"items": [half]}, {"items": [done]}]
        with StubServer(*(Canned(200, answer) for answer in answers)) as stub:
            profiles.save("default", profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", ""))
            ran = command("keys", "rewrap")
        assert len(stub.seen) == 3
        assert ran.code == 6
        assert "502 data keys moved to the key in force." in ran.out
        assert "1 data keys do not open" in ran.err

    def test_starts_a_rewrap_without_waiting_for_it(self, command: Command) -> None:
        from cli.remote import profiles

        job = {
            "id": "job_1",
            "kind": "rewrap",
            "state": "running",
            "target": "2",
            "total": 1_503,
            "done": 0,
            "failed": 0,
        }
        with StubServer(Canned(200, {"job": job})) as stub:
            profiles.save("default", profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", ""))
            ran = command("keys", "rewrap", "--no-wait")
        assert (ran.code, len(stub.seen)) == (0, 1)
        assert "job_1 is under way: 1,503 data keys." in ran.out


class TestLog:
    def test_the_reviewer_lists_and_shows(self, at_town: Command) -> None:
        for _ in range(3):
            at_town("detokenize", *INQUIRY, "phn_" + "0" * 40, *HANDLER)
        page = at_town("audit", "list", "--limit", "2", "--action", "token:detokenize", *REVIEWER)
        assert page.code == 0, page.err
        rows = page.out.splitlines()
        assert rows[0].split() == ["index", "time", "actor", "action", "outcome", "purpose", "error"]
        assert "이수아" in rows[1]
        assert "more: --before" in page.err
        index = rows[1].split()[0]
        shown = at_town("audit", "show", index, *REVIEWER)
        assert "ticket 4711" in shown.out
        told = at_town("audit", "show", index, "--json", *REVIEWER).json
        assert told["reason"] == "ticket 4711"
        none = at_town("audit", "list", "--actor", "nobody", *REVIEWER)
        assert (none.out, none.err) == ("", "no entry\n")
        assert at_town("audit", "list", "--json", *REVIEWER).json["items"]
        assert at_town("audit", "list", *ADMINISTRATOR).code == 4
        assert at_town("audit", "show", "99999999", *REVIEWER).code == 4

    def test_an_export_is_verified_and_a_changed_one_is_not(
        self, at_town: Command, town: Town, tmp_path: Path
    ) -> None:
        key = at_town("audit", "key", "--url", town.url).out.strip()
        folder = tmp_path / "log"
        town.host.settle()
        exported = at_town("audit", "export", folder, *REVIEWER)
        assert exported.code == 0, exported.err
        assert at_town("audit", "export", folder, *REVIEWER).code == 5
        good = at_town("audit", "verify", folder, "--key", key)
        assert good.code == 0
        assert at_town("audit", "verify", folder, "--key", key, "--key", key).code == 0
        assert "verified." in good.out
        kept = tmp_path / "checkpoint"
        kept.write_bytes((folder / "checkpoint").read_bytes())
        vkey = tmp_path / "log.vkey"
        vkey.write_text(key + "\n")
        later = tmp_path / "later"
        town.host.settle()
        told = at_town("audit", "export", later, "--json", *REVIEWER).json
        assert told["folder"] == str(later)
        with_known = at_town("audit", "verify", later, "--key-file", vkey, "--known", kept, "--json")
        assert with_known.json["verified"] is True
        assert with_known.json["entries"] == told["entries"]

        for number in range(30):
            (later / f"stray-{number}").touch()
        stray = at_town("audit", "verify", later, "--key", key)
        assert stray.code == 6
        assert "30 findings" in stray.out
        assert "and more; see --json" in stray.out

        bundle = min(path for path in (folder / "tile").rglob("*") if path.is_file())
        data = bytearray(bundle.read_bytes())
        data[len(data) // 2] ^= 1
        bundle.write_bytes(data)
        bad = at_town("audit", "verify", folder, "--key", key, "--json")
        assert bad.code == 6
        assert bad.json["verified"] is False
        assert bad.json["findings"]
        assert "DOES NOT VERIFY" in at_town("audit", "verify", folder, "--key", key).out

    def test_a_folder_that_is_no_export_does_not_verify(
        self, command: Command, town: Town, tmp_path: Path
    ) -> None:
        key = command("audit", "key", "--url", town.url).out.strip()
        told = command("audit", "verify", tmp_path, "--key", key)
        assert told.code == 6
        assert "missing_file: checkpoint" in told.out
        none = command("audit", "verify", tmp_path / "none", "--key", key)
        assert none.code == 2
        assert "no folder" in none.err

    @pytest.mark.parametrize(
        ("options", "rule"),
        [
            ([], "exclusive"),
            (["--key", "x", "--key-file", "y"], "exclusive"),
            (["--key", "nonsense"], "vkey"),
            (["--key-file", "/nonexistent"], "unreadable"),
            (["--key", "x", "--known", "/nonexistent"], "unreadable"),
        ],
    )
    def test_refuses_to_verify_with_what_is_no_key(
        self, command: Command, tmp_path: Path, options: list[str], rule: str
    ) -> None:
        ran = command("audit", "verify", tmp_path, *options)
        assert ran.code == 2
        assert f"rule {rule}" in ran.err

    def test_a_server_that_stops_in_the_middle_of_an_export_is_noticed(
        self, command: Command, tmp_path: Path
    ) -> None:
        from cli.remote import profiles

        note = "log\n2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— log AAAAAAAA\n"
        first = {"start": 0, "size": 2, "entries": ["e30="], "checkpoints": [note]}
        with StubServer(Canned(200, first), Canned(200, {**first, "entries": []})) as stub:
            profiles.save("default", profiles.Profile(stub.url, "mina", "pvn_1", "ses_1", ""))
            ran = command("audit", "export", tmp_path / "log")
        assert ran.code == 7
        assert "stopped at entry 1 of 2" in ran.err
        assert not (tmp_path / "log" / "checkpoint").exists()


class TestStatus:
    def test_of_a_server(self, at_town: Command, town: Town) -> None:
        told = at_town("status", *REVIEWER)
        assert told.code == 0, told.err
        assert "in the signed tree" in told.out
        assert at_town("status", "--url", town.url, "--json", *REVIEWER).json["database"] == "sqlite"

    def test_of_the_vault_on_this_host(self, command: Command, town: Town) -> None:
        told = command("status", "--home", town.host.home, "--json")
        assert told.code == 0, told.err
        assert told.json["sealed"] is False
        assert told.json["home"] == str(town.host.home)
        assert "log entries" in command("status", "--home", town.host.home).out

    def test_of_nothing(self, command: Command, tmp_path: Path) -> None:
        assert command("status").code == 3
        assert command("status", "--home", tmp_path).code == 2
        assert command("status", "--url", "http://127.0.0.1:1").code == 3
