from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from cli.output import Output, cell, console, moment, private_file, shown


class Screen:
    """A terminal that keeps what is written on it."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert shown("a\x1b[31mb\u202ec\x00") == "a\\u001b[31mb\\u202ec\\u0000"
    assert shown("김민아\n\tx") == "김민아\n\tx"


def test_cells() -> None:
    values = [None, "", True, False, 3, [], ["a", "b"], {}, {"a": None, "b": 1}, "\x1b"]
    assert [cell(value) for value in values] == [
        *("-", "-", "yes", "no", "3", "-", "a, b", "-", "a=-, b=1", "\\u001b"),
    ]


def test_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    assert moment("2026-12-01T00:00:00.123456+00:00") == "2026-12-01 09:00:00+09:00"
    assert moment("2026-12-01T00:00:00.123456Z") == "2026-12-01 09:00:00+09:00"
    assert moment("2026-12-01T00:00:00") == "2026-12-01 09:00:00+09:00"
    assert moment(None) == "-"
    assert moment("someday") == "someday"
    monkeypatch.delenv("TZ")
    time.tzset()


def test_a_table_in_a_pipe_is_whole_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("id", "text"), [("1", "x" * 200), ("2", "[red]y[/red]")])
    assert capsys.readouterr().out.splitlines() == ["id  text", "1   " + "x" * 200, "2   [red]y[/red]"]


def test_no_rows_are_said_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("id",), [], none="nothing")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "nothing\n")


def test_a_table_on_a_screen_fits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    Output().pairs([("name", "x" * 100)])
    assert max(map(len, screen.text.splitlines())) <= 60  # 40, and what makes it bold
    assert console(sys.stdout).width == 40


def test_progress_shows_rate_and_time_left_on_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with Output().progress("values", of_bytes=True) as progress:
        task = progress.add_task("importing", total=None, done=0)
        progress.update(task, completed=50, total=100, done=1_234)
    assert "1,234 values" in screen.text
    assert "/s" in screen.text
    assert "50%" in screen.text


def test_progress_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with Output().progress("values") as progress:
        progress.update(progress.add_task("importing", total=3), completed=3)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "")


def test_a_private_file_is_private_though_it_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text("old")
    path.chmod(0o644)
    with private_file(path) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_private_file_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        private_file(tmp_path / "link")
    assert not os.path.lexists(tmp_path / "elsewhere")


def test_a_document_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).document(b'{"a":1}\n')
    Output(as_json=True).document({"이름": 1})
    assert capsys.readouterr().out == '{"a":1}\n{"이름": 1}\n'


def test_a_job_that_others_began_is_shown_at_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as if everything had been done since this command looks."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    with Output().progress("data keys") as progress:
        task = progress.add_task("data keys", total=1_000_000, completed=900_000)
        progress.update(task, completed=901_500, rate=763.0, seconds_left=129.2)
        progress.refresh()
    assert "901,500 data keys, 763/s" in screen.text
    assert "0:02:10" in screen.text
