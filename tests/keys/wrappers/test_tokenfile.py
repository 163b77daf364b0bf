"""A wrapped token and the file it is kept in, against the real server."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest

from keys.errors import WrapperUnavailableError
from keys.secret import SecretText
from keys.wrappers.openbao import OpenBaoWrapper, unwrap_token
from keys.wrappers.tokenfile import Unwrap, kept_token
from tests.keys.wrappers.test_openbao_connections import TOKEN, assert_silent
from tests.support.openbao import OpenBaoServer, free_port

OLD = "s.token-of-before"


class Files:
    """Where a token is kept, and where a wrapped one is put."""

    def __init__(self, folder: Path) -> None:
        self.kept = folder / "token"
        self.wrapped = folder / "wrapped"

    def put(self, path: Path, text: str) -> None:
        path.write_text(f"{text}\n")
        path.chmod(0o600)

    def take(self, unwrap: Unwrap) -> str:
        return kept_token(self.kept, self.wrapped, unwrap).expose()

    def refused(self, unwrap: Unwrap) -> WrapperUnavailableError:
        with pytest.raises(WrapperUnavailableError) as caught:
            self.take(unwrap)
        return caught.value

    def names(self) -> set[str]:
        """Return what is in the folder beside the lock."""
        return {path.name for path in self.kept.parent.iterdir()} - {"token.lock"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def nobody(_token: SecretText) -> SecretText:
    pytest.fail("the server was asked")


def by(server: OpenBaoServer) -> Unwrap:
    return partial(unwrap_token, server.address)


def test_wrapped_token_is_taken_once_and_kept(files: Files, openbao: OpenBaoServer) -> None:
    key = openbao.make_key()
    files.put(files.kept, OLD)
    (files.kept.parent / "token.new").write_text("half of it")
    files.put(files.wrapped, openbao.make_token(key, wrap_ttl="60s"))
    token = files.take(by(openbao))
    assert OpenBaoWrapper(address=openbao.address, key_name=key, token=SecretText(token)).current_version()
    assert files.names() == {"token"}
    assert files.kept.read_text() == f"{token}\n"
    assert stat.S_IMODE(files.kept.stat().st_mode) == 0o600
    assert files.take(nobody) == token


def test_token_that_somebody_else_has_opened_is_told(files: Files, openbao: OpenBaoServer) -> None:
    wrapping = openbao.make_token(openbao.make_key(), wrap_ttl="60s")
    unwrap_token(openbao.address, SecretText(wrapping))
    files.put(files.kept, OLD)
    files.put(files.wrapped, wrapping)
    for _ in range(2):
        # As long as it lies there, although a token of before is kept.
        error = files.refused(by(openbao))
        assert error.rule == "wrapping_token_used"
        assert str(files.wrapped) in error.message
        assert "revoke what it stood for" in error.hint
        assert wrapping not in str(error)
    assert files.names() == {"token", "wrapped"}
    assert files.kept.read_text() == f"{OLD}\n"


def test_processes_that_start_at_once_open_it_once(files: Files, openbao: OpenBaoServer) -> None:
    files.put(files.wrapped, openbao.make_token(openbao.make_key(), wrap_ttl="60s"))
    start = Barrier(4)

    def begin(_number: int) -> str:
        start.wait()
        return files.take(by(openbao))

    with ThreadPoolExecutor(4) as pool:
        # The lock is of the open file, so threads are to each other what processes are.
        assert len(set(pool.map(begin, range(4)))) == 1


def test_server_that_is_away_costs_nothing(files: Files, openbao: OpenBaoServer) -> None:
    files.put(files.wrapped, openbao.make_token(openbao.make_key(), wrap_ttl="60s"))
    assert files.refused(partial(unwrap_token, f"http://127.0.0.1:{free_port()}")).rule == "unreachable"
    assert files.names() == {"wrapped"}
    assert files.take(by(openbao))


def test_is_not_opened_where_the_token_cannot_be_kept(files: Files) -> None:
    files.put(files.wrapped, TOKEN)
    files.kept = files.kept.parent / "nowhere" / "token"
    error = files.refused(nobody)
    assert (error.rule, str(files.kept) in error.message) == ("unwritable", True)


def test_is_not_opened_where_it_cannot_be_removed(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bent: nothing keeps the user of these tests from it."""
    files.put(files.wrapped, TOKEN)
    monkeypatch.setattr(os, "access", lambda *_: False)
    error = files.refused(nobody)
    assert (error.rule, str(files.wrapped) in error.message) == ("unwritable", True)
    assert files.names() == {"wrapped"}


def test_wrapped_token_that_stays_is_told(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bent: the disk fails once the token is kept."""

    def failing(_folder: Path) -> None:
        raise OSError

    files.put(files.wrapped, TOKEN)
    monkeypatch.setattr("keys.wrappers.tokenfile.flush_folder", failing)
    error = files.refused(lambda _token: SecretText(TOKEN))
    assert error.rule == "unwritable"


def test_kept_token_that_others_may_read_is_refused(files: Files) -> None:
    files.put(files.kept, TOKEN)
    files.kept.chmod(0o644)
    assert files.refused(nobody).rule == "permissions"


def test_full_disk_leaves_the_token_of_before(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.put(files.kept, OLD)
    files.put(files.wrapped, "s.wrapped")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = files.refused(lambda _: SecretText(TOKEN))
    assert error.rule == "unwritable"
    assert_silent(error)
    assert files.names() == {"token", "wrapped"}
    assert files.kept.read_text() == f"{OLD}\n"


@pytest.mark.parametrize(
    ("text", "mode", "rule"), [(TOKEN, 0o640, "permissions"), ("", 0o600, "format"), ("a b", 0o600, "format")]
)
def test_refuses_a_wrapped_token_that_is_none(files: Files, text: str, mode: int, rule: str) -> None:
    files.put(files.kept, OLD)
    files.put(files.wrapped, text)
    files.wrapped.chmod(mode)
    error = files.refused(nobody)
    assert (error.rule, error.message) == (rule, f"wrapped token file {files.wrapped}")


def test_refuses_a_link_to_nowhere(files: Files) -> None:
    files.put(files.kept, OLD)
    files.wrapped.symlink_to("elsewhere")
    assert files.refused(nobody).rule == "not_regular"


def test_says_where_to_write_one_when_there_is_no_token(files: Files) -> None:
    error = files.refused(nobody)
    assert (error.rule, error.hint) == ("missing", f"write a new wrapped token to {files.wrapped}")
