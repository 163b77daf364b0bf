"""What an import makes of files and answers; the answers are laid out. With a real server: test_files.py."""

from __future__ import annotations

import csv
import stat
from pathlib import Path
from typing import Any

import pytest

from cli.errors import ProblemError
from cli.remote.exporting import run_export
from cli.remote.importing import Order, Tally, run_import
from cli.remote.retrying import Patience
from cli.remote.server import Server
from tests.cli.stub import Canned, StubServer
from vault.domain.errors import InvalidInputError, UnavailableError

HEADER = "external_ref,member.phone,gender\n"


class Import:
    """One import of ``text`` into files of the test's own."""

    def __init__(self, folder: Path, text: str | bytes, **terms: Any) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        self.order = Order(
            **{
                "file": folder / "in.csv",
                "tokens": folder / "tokens.csv",
                "rejects": folder / "rejects.csv",
                "purpose": "inquiry",
                "kind": "member",
                **terms,
            }
        )
        self.order.file.write_bytes(data)
        self.waits: list[float] = []
        self.said: list[str] = []
        self.watched: list[tuple[int, int, int]] = []

    def run(self, *answers: Canned) -> tuple[Tally, StubServer]:
        patience = Patience(self.waits.append, self.said.append, attempts=4)
        with StubServer(*answers) as stub, Server(stub.url, bearer=lambda _server: "pva_1") as server:
            tally = run_import(server, self.order, patience, lambda *seen: self.watched.append(seen))
            return tally, stub

    @property
    def tokens(self) -> list[list[str]]:
        return _rows(self.order.tokens)

    @property
    def rejects(self) -> list[list[str]]:
        return _rows(self.order.rejects)


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _done(*items: dict[str, Any]) -> Canned:
    return Canned(207, {"log_index": 1, "items": list(items)})


def _token(number: int, subject: int, **rest: Any) -> dict[str, Any]:
    return {"token": f"phn_{number:040x}", "subject": f"sub_{subject:040x}", **rest}


def _error(code: str, rule: str) -> dict[str, Any]:
    return {"error": {"code": code, "field": "member.phone", "rule": rule, "detail": "no"}}


def test_each_value_gets_its_token_and_each_row_its_subject(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "a,010-1,F\nb,,M\n")
    tally, stub = job.run(_done(_token(1, 7), _token(2, 7), _token(3, 8, existing=True, warnings=["odd"])))
    assert tally == Tally(rows=2, tokenized=2, existing=1, rejected=0, warned=1)
    assert tally.values == 3
    assert stub.seen[0].json == {
        "purpose": "inquiry",
        "items": [
            {"field": "member.phone", "value": "010-1", "external_ref": "a"},
            {"field": "member.gender", "value": "F", "external_ref": "a"},
            {"field": "member.gender", "value": "M", "external_ref": "b"},
        ],
    }
    assert job.tokens == [
        ["external_ref", "subject", "member.phone", "member.gender"],
        ["a", f"sub_{7:040x}", f"phn_{1:040x}", f"phn_{2:040x}"],
        ["b", f"sub_{8:040x}", "", f"phn_{3:040x}"],
    ]
    assert job.rejects == [["row", "field", "rule"]]
    assert job.watched == [(len(HEADER + "a,010-1,F\nb,,M\n"), len(HEADER + "a,010-1,F\nb,,M\n"), 3)]


def test_both_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "a,1,\n")
    job.run(_done(_token(1, 7)))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (job.order.tokens, job.order.rejects)}
    assert modes == {0o600}


def test_rejects_name_row_field_and_rule_and_never_the_value(tmp_path: Path) -> None:
    rows = [
        "a,12345,F",
        "",
        '"b\nb",900101-1234567,M',
        ",010,F",
        "c" * 256 + ",,F",
        "d,1",
        "e," + "9" * 8193 + ",",
    ]
    job = Import(tmp_path, HEADER + "\n".join(rows) + "\n")
    tally, _ = job.run(
        _done(
            _error("invalid_value", "length"),
            _token(2, 7),
            _error("invalid_value", "resident_number"),
            _token(3, 8),
        )
    )
    assert job.rejects[1:] == [
        ["2", "member.phone", "length"],
        ["4", "member.phone", "resident_number"],
        ["5", "external_ref", "required"],
        ["6", "external_ref", "length"],
        ["7", "row", "columns"],
        ["8", "member.phone", "length"],
    ]
    assert (tally.rows, tally.rejected) == (6, 6)
    for secret in ("12345", "900101", "9999"):
        assert secret not in job.order.rejects.read_text()
    assert [row[0] for row in job.tokens[1:]] == ["a", "b\nb", "", "c" * 256, "d", "e"]


def test_batches_hold_whole_rows_and_at_most_a_thousand_values(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "".join(f"r{n},1,F\n" for n in range(501)))
    _, stub = job.run(_done(*[_token(1, 1)] * 1000), _done(*[_token(1, 1)] * 2))
    assert [len(seen.json["items"]) for seen in stub.seen] == [1000, 2]


def test_rejects_are_in_the_order_of_the_file_across_batches(tmp_path: Path) -> None:
    rows = [f"r{n},1,F\n" for n in range(500)] + ["r500,1," + "9" * 8193 + "\n", ",1,F\n", "r502,1,F\n"]
    job = Import(tmp_path, HEADER + "".join(rows))
    bad = _error("invalid_value", "length")
    _, stub = job.run(_done(*[_token(1, 1)] * 999, bad), _done(bad, bad, bad))
    assert [len(seen.json["items"]) for seen in stub.seen] == [1000, 3]
    assert [int(row[0]) for row in job.rejects[1:]] == [501, 502, 502, 503, 504, 504]
    assert len(job.tokens) == 1 + len(rows)


def test_batches_stay_below_what_a_request_may_weigh(tmp_path: Path) -> None:
    job = Import(tmp_path, "external_ref,text\n" + "".join(f"r{n},{'가' * 8000}\n" for n in range(60)))
    _, stub = job.run(_done(*[_token(1, 1)] * 37), _done(*[_token(1, 1)] * 23))
    assert [len(seen.json["items"]) for seen in stub.seen] == [37, 23]
    assert max(len(seen.body.encode()) for seen in stub.seen) < 1 << 20


def test_a_file_without_values_asks_nothing(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "a,,\n")
    tally, stub = job.run(Canned(500))
    assert (tally.values, stub.seen) == (0, [])
    assert job.tokens[1:] == [["a", "", "", ""]]


@pytest.mark.parametrize("status", [409, 429, 502, 503, 504])
def test_asks_again_with_the_same_key_when_the_outcome_is_unknown(tmp_path: Path, status: int) -> None:
    job = Import(tmp_path, HEADER + "a,1,\n")
    trouble = Canned(status, {"code": "outcome_unknown"}, {"Retry-After": "3"})
    tally, stub = job.run(trouble, Canned(0), _done(_token(1, 7)))
    assert tally.tokenized == 1
    keys = {seen.headers["Idempotency-Key"] for seen in stub.seen}
    assert (len(stub.seen), len(keys)) == (3, 1)
    assert len({seen.body for seen in stub.seen}) == 1
    assert job.waits == [3, 1.0]
    assert job.said[0] == "outcome_unknown; asking again in 3 s"


def test_each_batch_has_a_key_of_its_own(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "".join(f"r{n},1,F\n" for n in range(501)))
    _, stub = job.run(_done(*[_token(1, 1)] * 1000), _done(*[_token(1, 1)] * 2))
    assert len({seen.headers["Idempotency-Key"] for seen in stub.seen}) == 2


def test_gives_up_in_the_end_and_leaves_the_files_of_before(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "a,1,\n")
    job.order.tokens.write_text("before")
    with pytest.raises(ProblemError) as caught:
        job.run(Canned(503, {"code": "sealed"}))
    assert caught.value.failure.exit_code == 7
    assert job.waits == [0.5, 1.0, 2.0]
    assert job.order.tokens.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "tokens.csv"]


def test_gives_up_when_nobody_is_there(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "a,1,\n")
    with pytest.raises(UnavailableError):
        job.run(Canned(0))


def test_what_is_refused_is_not_asked_again(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER + "a,1,\n")
    with pytest.raises(ProblemError) as caught:
        job.run(Canned(403, {"code": "purpose_not_allowed"}))
    assert caught.value.failure.exit_code == 4
    assert job.waits == []


@pytest.mark.parametrize(
    ("code", "rule", "exit_code"),
    [
        ("access_denied", "access_denied", 4),
        ("purpose_not_allowed", "purpose_not_allowed", 4),
        ("invalid_input", "unknown_field", 2),
        ("invalid_input", "unknown_audience", 2),
        ("invalid_input", "not_received", 2),
    ],
)
def test_what_holds_for_a_whole_column_ends_the_import(
    tmp_path: Path, code: str, rule: str, exit_code: int
) -> None:
    job = Import(tmp_path, HEADER + "a,1,\n")
    with pytest.raises(ProblemError) as caught:
        job.run(_done(_error(code, rule)))
    assert caught.value.failure.exit_code == exit_code
    assert caught.value.failure.field == "member.phone"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"external_ref,a,a\n", "columns"),
        (b"external_ref,,a\n", "columns"),
        (b"external_ref\nx\n", "columns"),
        (b"id,phone\n", "reference"),
        (b"external_ref,partner.phone\n", "kind"),
        (b"external_ref,phone\na,\xff\n", "encoding"),
        (b'external_ref,phone\na,"b"c\n', "csv"),
    ],
)
def test_refuses_a_file_that_cannot_be_meant(tmp_path: Path, text: bytes, rule: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Import(tmp_path, text).run(_done())
    assert caught.value.rule == rule


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    job = Import(tmp_path, HEADER)
    job.order.file.unlink()
    with pytest.raises(InvalidInputError) as caught:
        job.run(_done())
    assert caught.value.rule == "unreadable"


def test_refuses_to_write_over_what_it_reads(tmp_path: Path) -> None:
    for terms in ({"tokens": tmp_path / "in.csv"}, {"rejects": tmp_path / "tokens.csv"}):
        with pytest.raises(InvalidInputError) as caught:
            Import(tmp_path, HEADER, **terms).run(_done())
        assert caught.value.rule == "same_file"


def test_reads_what_a_korean_spreadsheet_writes(tmp_path: Path) -> None:
    job = Import(
        tmp_path, "번호,company_name\r\n1,가온북스\r\n".encode("cp949"), encoding="cp949", reference="번호"
    )
    _, stub = job.run(_done(_token(1, 7)))
    assert stub.seen[0].json["items"] == [
        {"field": "member.company_name", "value": "가온북스", "external_ref": "1"}
    ]
    with pytest.raises(InvalidInputError) as caught:
        Import(tmp_path, HEADER, encoding="nonesuch").run(_done())
    assert caught.value.rule == "unknown_encoding"


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    tally, _ = Import(tmp_path, b"\xef\xbb\xbf" + HEADER.encode() + b"a,1,\n").run(_done(_token(1, 7)))
    assert tally.tokenized == 1


class TestExport:
    TOKENS = "external_ref,subject,member.phone\n"

    def _run(self, folder: Path, text: str, *answers: Canned) -> tuple[list[list[str]], StubServer]:
        (folder / "tokens.csv").write_text(text)
        terms = {"purpose": "inquiry", "reason": None}
        with StubServer(*answers) as stub, Server(stub.url, bearer=lambda _server: "pva_1") as server:
            run_export(
                server,
                folder / "tokens.csv",
                folder / "masked.csv",
                terms=terms,
                patience=Patience(lambda _s: None, attempts=2),
                watch=lambda *_: None,
            )
            return _rows(folder / "masked.csv"), stub

    def test_writes_tokens_and_masked_values_and_no_reference(self, tmp_path: Path) -> None:
        token, subject = f"phn_{1:040x}", f"sub_{2:040x}"
        shown = {"token": token, "field": "member.phone", "value": "010-****-1"}
        rows, stub = self._run(
            tmp_path, f"{self.TOKENS}user-1,{subject},{token}\nuser-2,,\n", Canned(200, {"items": [shown]})
        )
        assert stub.seen[0].json == {"purpose": "inquiry", "reveal": "masked", "items": [{"token": token}]}
        assert rows == [
            ["subject", "field", "token", "masked", "error"],
            [subject, "member.phone", token, "010-****-1", ""],
        ]
        assert stat.S_IMODE((tmp_path / "masked.csv").stat().st_mode) == 0o600
        assert "Idempotency-Key" not in stub.seen[0].headers

    def test_goes_on_after_a_token_that_fails(self, tmp_path: Path) -> None:
        tokens = [f"phn_{n:040x}" for n in range(1001)]
        good = [{"token": token, "field": "f", "value": "v"} for token in tokens]
        bad = {"token": tokens[0], "error": {"code": "unknown_token"}}
        text = self.TOKENS + "".join(f"r,,{token}\n" for token in tokens)
        rows, stub = self._run(
            tmp_path, text, Canned(207, {"items": [bad, *good[1:1000]]}), Canned(200, {"items": good[1000:]})
        )
        assert rows[1] == ["", "", tokens[0], "", "unknown_token"]
        assert (len(rows), len(stub.seen)) == (1002, 2)

    def test_refuses_a_file_without_tokens(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError) as caught:
            self._run(tmp_path, self.TOKENS + "a,b,c\n", Canned(200))
        assert caught.value.rule == "no_tokens"

    def test_refuses_to_write_over_what_it_reads(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError) as caught, Server("http://127.0.0.1:1") as server:
            run_export(server, tmp_path, tmp_path, terms={}, patience=Patience(), watch=lambda *_: None)
        assert caught.value.rule == "same_file"
