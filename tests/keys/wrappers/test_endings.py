"""What held a root key is ended for good: a file, a version of a transit key, a key in a token or in KMS."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from keys.errors import WrapperUnavailableError
from keys.secret import SecretBytes, SecretText
from keys.wrappers.aws_kms import AwsKmsWrapper
from keys.wrappers.keyfile import KeyFileWrapper
from keys.wrappers.openbao import OpenBaoWrapper
from keys.wrappers.pkcs11 import Pkcs11Wrapper
from tests.keys.wrappers.test_aws_kms import KEY_ID, REGION, Kms
from tests.support.openbao import OpenBaoServer, impostor
from tests.support.softhsm import SoftToken, make_key

KEY = SecretBytes(bytes(range(32)))
CONTEXT = b"context"


def rule_of(use: Callable[[], object]) -> str:
    with pytest.raises(WrapperUnavailableError) as caught:
        use()
    return caught.value.rule


def failing(*_arguments: object, **_named: object) -> NoReturn:
    raise OSError(5, "Input/output error")


# A key file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "root.key"


def fingerprint(path: Path) -> str:
    return KeyFileWrapper(path).describe().rpartition(" ")[2]


def test_file_is_overwritten_and_flushed_before_it_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyFileWrapper.create(path)
    key = path.read_bytes()
    beside = path.with_name("beside")
    os.link(path, beside)
    flushed = []
    flush = os.fsync

    def record(file: int) -> None:
        flushed.append(beside.read_bytes())
        flush(file)

    monkeypatch.setattr(os, "fsync", record)
    KeyFileWrapper.destroy(path, fingerprint(path))
    assert not path.exists()
    # A second name of the file has nothing of the key, and had not when it was flushed.
    assert len(flushed) == 2
    for content in (*flushed, beside.read_bytes()):
        assert len(content) == len(key)
        assert key[21:-1] not in content


def test_file_of_another_key_stays_as_it_is(path: Path) -> None:
    KeyFileWrapper.create(path)
    before = path.read_bytes()
    assert rule_of(lambda: KeyFileWrapper.destroy(path, "0" * 16)) == "another_key"
    assert path.read_bytes() == before
    KeyFileWrapper.destroy(path, "")
    assert not path.exists()


def test_file_that_is_no_key_or_not_there_is_refused(path: Path) -> None:
    assert rule_of(lambda: KeyFileWrapper.destroy(path, "")) == "missing"
    path.write_bytes(b"somebody's letters")
    path.chmod(0o600)
    assert rule_of(lambda: KeyFileWrapper.destroy(path, "")) == "format"
    assert path.read_bytes() == b"somebody's letters"
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))
    assert rule_of(lambda: KeyFileWrapper.destroy(path, "")) == "not_regular"


def test_end_that_was_stopped_after_the_overwriting_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    KeyFileWrapper.create(path)
    print_of_it = fingerprint(path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", failing)
        assert rule_of(lambda: KeyFileWrapper.destroy(path, print_of_it)) == "unwritable"
    assert rule_of(lambda: KeyFileWrapper(path)) == "format"
    KeyFileWrapper.destroy(path, print_of_it)
    assert not path.exists()


def test_file_that_cannot_be_flushed_is_not_said_to_be_gone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    KeyFileWrapper.create(path)
    monkeypatch.setattr(os, "fsync", failing)
    assert rule_of(lambda: KeyFileWrapper.destroy(path, "")) == "unwritable"
    assert path.exists()


# A version of a transit key


def _wrapper(server: OpenBaoServer, key: str, token: str = "") -> OpenBaoWrapper:
    own = SecretText(token or server.root_token)
    return OpenBaoWrapper(address=server.address, key_name=key, token=own)


def test_removed_version_opens_nothing_and_the_next_one_does(openbao: OpenBaoServer) -> None:
    wrapper = _wrapper(openbao, openbao.make_key())
    old = wrapper.wrap(KEY, CONTEXT)
    wrapper.rotate()
    new = wrapper.wrap(KEY, CONTEXT)
    assert (wrapper.current_version(), wrapper.oldest_version()) == (2, 1)
    for _ in range(2):
        wrapper.end_versions_before(2)
        assert rule_of(lambda: wrapper.unwrap(old, CONTEXT)) == "version_removed"
        assert wrapper.unwrap(new, CONTEXT).expose() == KEY.expose()
    assert wrapper.oldest_version() == 2


def test_removed_version_cannot_be_allowed_again(openbao: OpenBaoServer) -> None:
    key = openbao.make_key()
    wrapper = _wrapper(openbao, key)
    old = wrapper.wrap(KEY, CONTEXT)
    wrapper.rotate()
    wrapper.end_versions_before(2)
    answer = openbao.request("POST", f"transit/keys/{key}/config", {"min_decryption_version": 1})
    assert answer.status_code != 204
    assert rule_of(lambda: wrapper.unwrap(old, CONTEXT)) == "version_removed"


def test_token_that_may_only_seal_and_open_ends_nothing(openbao: OpenBaoServer) -> None:
    key = openbao.make_key()
    wrapper = _wrapper(openbao, key, openbao.make_token(key))
    assert rule_of(wrapper.rotate) == "denied"
    assert rule_of(lambda: wrapper.end_versions_before(2)) == "denied"
    assert wrapper.oldest_version() == 1


def test_answer_without_an_oldest_version_is_unexpected() -> None:
    with impostor(body=b'{"data": {"latest_version": 1}}') as server:
        wrapper = OpenBaoWrapper(address=server.address, key_name="k", token=SecretText("t"))
        assert rule_of(wrapper.oldest_version) == "unexpected"


# A key in a token


def test_key_in_a_token_is_destroyed_once(soft_token: SoftToken) -> None:
    place = (soft_token.module, soft_token.label, "root", soft_token.pin)
    make_key(soft_token)
    make_key(soft_token, "other")
    kept = Pkcs11Wrapper(soft_token.module, soft_token.label, "other", soft_token.pin)
    assert Pkcs11Wrapper.destroy_key(*place)
    assert rule_of(lambda: Pkcs11Wrapper(*place)) == "missing_key"
    assert not Pkcs11Wrapper.destroy_key(*place)
    assert kept.unwrap(kept.wrap(KEY, CONTEXT), CONTEXT).expose() == KEY.expose()


# A key of AWS KMS


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from boto3.session import Session
    from moto import mock_aws

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        yield Session(region_name=REGION).client("kms")


def test_deletion_is_scheduled_once(kms: Any) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    wrapper = AwsKmsWrapper(arn, region=REGION)
    day = wrapper.schedule_deletion(30)
    assert 29 <= (day - datetime.now(UTC)).days <= 30
    assert wrapper.schedule_deletion(7) == day


def test_deletion_of_a_missing_key_is_refused_by_rule(kms: Any) -> None:
    assert kms is not None
    assert rule_of(lambda: AwsKmsWrapper(KEY_ID, region=REGION).schedule_deletion(30)) == "missing_key"


@pytest.mark.parametrize(
    ("status", "body", "rule"),
    [
        (400, {"__type": "AccessDeniedException"}, "denied"),
        (200, {"KeyMetadata": {"KeyId": KEY_ID, "KeyState": "PendingDeletion"}}, "unexpected"),
        (200, {"KeyMetadata": {"KeyId": KEY_ID, "KeyState": "Enabled"}}, "unexpected"),
        (200, {}, "unexpected"),
    ],
)
def test_deletion_without_a_date_is_none(
    monkeypatch: pytest.MonkeyPatch, status: int, body: dict[str, Any], rule: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server = Kms()
    try:
        wrapper = AwsKmsWrapper(KEY_ID, region=REGION, endpoint=server.endpoint)
        server.answer(status, json.dumps(body).encode())
        assert rule_of(lambda: wrapper.schedule_deletion(30)) == rule
        wrapper._client.close()
    finally:
        server.close()
