"""What stands in the way of a holder comes with what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keys.errors import WrapperUnavailableError
from keys.secret import SecretText
from keys.wrappers import aws_kms
from keys.wrappers.cryptoki import Token
from keys.wrappers.files import HINTS
from keys.wrappers.keyfile import KeyFileWrapper
from keys.wrappers.openbao import read_token

RECOVER = "piivault keys root rotate --from-recovery"


def _token(path: Path) -> object:
    return read_token(path)


def _pin(path: Path) -> object:
    return read_token(path, what="PIN file")


@pytest.mark.parametrize(
    ("read", "about", "anew"),
    [
        (KeyFileWrapper, "key file", RECOVER),
        (_token, "token file", "write the token to it, one line, mode 0600"),
        (_pin, "PIN file", "write the PIN to it, one line, mode 0600"),
    ],
)
def test_a_file_that_is_gone_or_damaged_is_put_back_or_written_anew(
    tmp_path: Path, read: Callable[[Path], object], about: str, anew: str
) -> None:
    path = tmp_path / "secret"
    for rule in ("missing", "format"):
        with pytest.raises(WrapperUnavailableError) as refused:
            read(path)
        assert refused.value.rule == rule
        assert refused.value.message.startswith(about)
        assert refused.value.hint == f"{HINTS[rule]}; without one: {anew}"
        path.write_bytes(b"two lines\nof it\n")
        path.chmod(0o600)


def test_a_link_or_a_folder_in_the_place_of_a_file_comes_with_a_next_step(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for path in (link, tmp_path):
        with pytest.raises(WrapperUnavailableError, match="put the file itself there"):
            KeyFileWrapper(path)


@pytest.mark.parametrize("rule", ["extractable", "key_type", "mechanism", "missing_key"])
def test_a_key_in_a_token_that_cannot_be_used_is_got_away_from_by_recovery(tmp_path: Path, rule: str) -> None:
    fault = Token(tmp_path / "module.so", "token", SecretText("1234"), "the key").fault(rule)
    assert RECOVER in fault.hint


def test_a_deleted_key_of_kms_is_got_away_from_by_recovery() -> None:
    assert RECOVER in aws_kms._HINTS["missing_key"][1]
