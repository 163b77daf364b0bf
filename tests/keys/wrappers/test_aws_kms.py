"""Against moto, and a server of our own for what moto does not answer.

moto (5.2.5) knows key states, but keys that are disabled or pending deletion still encrypt and decrypt there;
it asks nobody for permission; and it answers AccessDeniedException for a ciphertext of another key, where KMS
answers IncorrectKeyException. What KMS does in these cases is scripted by its documented codes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from botocore.retries import standard
from moto import mock_aws
from moto.kms.models import kms_backends

from keys.errors import DecryptionError, KeysError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes
from keys.wrappers import KeyWrapper
from keys.wrappers.aws_kms import AwsKmsWrapper

REGION = "eu-central-1"
ACCOUNT = "123456789012"
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
KEY = SecretBytes(b"canary-canary-canary-canary-key!")
CONTEXT = b"piivault/root-wrap/v1"
BOUND = {"piivault": base64.urlsafe_b64encode(hashlib.sha256(CONTEXT).digest()).decode().rstrip("=")}
MOTO_KEY_ID_LENGTH = 36


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fake credentials, and none of whoever runs the tests; retries do not wait."""
    empty = tmp_path_factory.mktemp("aws")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-access-key")
        patch.setenv("AWS_CONFIG_FILE", str(empty / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(empty / "credentials"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0)
        yield


@pytest.fixture
def kms() -> Iterator[Any]:
    """A client of moto's KMS, to make and break keys with."""
    from boto3.session import Session

    with mock_aws():
        yield Session(region_name=REGION).client("kms")


@pytest.fixture
def key_arn(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
def wrapper(key_arn: str) -> AwsKmsWrapper:
    return AwsKmsWrapper(key_arn, region=REGION)


class Kms:
    """A server that answers every request with one text, and keeps what it was sent."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.requests: list[dict[str, Any]] = []
        owner = self

        class Answer(BaseHTTPRequestHandler):
            def _take(self) -> None:
                length = int(self.headers["Content-Length"])
                owner.requests.append(json.loads(self.rfile.read(length)))
                self.send_response(owner.status)
                self.send_header("Content-Length", str(len(owner.body)))
                self.end_headers()
                self.wfile.write(owner.body)

            do_POST = _take  # noqa: N815 (named by the library)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Answer)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, status: int, body: bytes) -> None:
        """Answer so from now on, and forget what was asked before."""
        self.status, self.body = status, body
        self.requests.clear()

    def fail(self, code: str, status: int = 400) -> None:
        """Answer with an error of KMS from now on."""
        self.answer(status, json.dumps({"__type": code, "message": "canary-in-the-message"}).encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def server(environment: None) -> Iterator[Kms]:  # noqa: ARG001 (its credentials come first)
    """The server of this module; each test says what it answers."""
    started = Kms()
    yield started
    started.close()


@pytest.fixture(scope="module")
def asking(server: Kms) -> Iterator[AwsKmsWrapper]:
    """A wrapper that asks the server."""
    opened = AwsKmsWrapper(KEY_ID, region=REGION, endpoint=server.endpoint)
    yield opened
    opened._client.close()


def refused(use: Callable[[], object]) -> WrapperUnavailableError:
    with pytest.raises(WrapperUnavailableError) as caught:
        use()
    return caught.value


def both(wrapper: AwsKmsWrapper) -> list[Callable[[], object]]:
    return [lambda: wrapper.wrap(KEY, CONTEXT), lambda: wrapper.unwrap(b"\x05blob", CONTEXT)]


# Sealing


def test_opens_what_it_sealed(key_arn: str) -> None:
    one: KeyWrapper = AwsKmsWrapper(key_arn, region=REGION)
    other: KeyWrapper = AwsKmsWrapper(key_arn.rpartition("/")[2], region=REGION)
    sealed = one.wrap(KEY, CONTEXT)
    assert sealed[:1] == b"\x05"
    assert KEY.expose() not in sealed
    assert other.unwrap(sealed, CONTEXT).expose() == KEY.expose()


@pytest.mark.parametrize("context", [b"", b"piivault/root-wrap/v2", CONTEXT + b"\x00", CONTEXT[:-1]])
def test_refuses_another_context(wrapper: AwsKmsWrapper, context: bytes) -> None:
    sealed = wrapper.wrap(KEY, CONTEXT)
    with pytest.raises(DecryptionError):
        wrapper.unwrap(sealed, context)


def test_refuses_a_change_at_every_position(wrapper: AwsKmsWrapper) -> None:
    """In the part where moto keeps the id of the key it says AccessDenied for every other id."""
    sealed = wrapper.wrap(KEY, CONTEXT)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises((DecryptionError, WrapperUnavailableError)) as caught:
            wrapper.unwrap(bytes(changed), CONTEXT)
        names_key = 1 <= position <= MOTO_KEY_ID_LENGTH
        assert isinstance(caught.value, WrapperUnavailableError) <= names_key


@pytest.mark.parametrize("sealed", [b"", b"\x05", b"\x04blob", b"\x01blob", b"\x05" + bytes(6145)])
def test_refuses_what_has_another_layout_without_asking(
    asking: AwsKmsWrapper, server: Kms, sealed: bytes
) -> None:
    server.fail("NotFoundException")
    with pytest.raises(DecryptionError):
        asking.unwrap(sealed, CONTEXT)
    assert server.requests == []


@pytest.mark.parametrize("code", ["InvalidCiphertextException", "IncorrectKeyException"])
def test_refusal_of_a_ciphertext_is_a_failed_decryption(
    asking: AwsKmsWrapper, server: Kms, code: str
) -> None:
    server.fail(code)
    with pytest.raises(DecryptionError):
        asking.unwrap(b"\x05blob", CONTEXT)


def test_does_not_open_what_another_key_sealed(kms: Any, wrapper: AwsKmsWrapper) -> None:
    """KMS itself says IncorrectKeyException, for which there is a test above."""
    other = AwsKmsWrapper(kms.create_key()["KeyMetadata"]["Arn"], region=REGION)
    with pytest.raises((DecryptionError, WrapperUnavailableError)):
        wrapper.unwrap(other.wrap(KEY, CONTEXT), CONTEXT)


def test_server_is_told_key_and_hash_of_the_context(asking: AwsKmsWrapper, server: Kms) -> None:
    body = {
        "CiphertextBlob": base64.b64encode(b"sealed").decode(),
        "Plaintext": base64.b64encode(KEY.expose()).decode(),
    }
    server.answer(200, json.dumps(body).encode())
    assert asking.wrap(KEY, CONTEXT) == b"\x05sealed"
    assert asking.unwrap(b"\x05sealed", CONTEXT).expose() == KEY.expose()
    plaintext = base64.b64encode(KEY.expose()).decode()
    blob = base64.b64encode(b"sealed").decode()
    assert server.requests == [
        {"KeyId": KEY_ID, "Plaintext": plaintext, "EncryptionContext": BOUND},
        {"KeyId": KEY_ID, "CiphertextBlob": blob, "EncryptionContext": BOUND},
    ]


def test_hash_of_the_context_has_43_characters_and_no_padding() -> None:
    assert BOUND == {"piivault": "7JWRNlKYOPqFjQ6XG04ZgAejk6HyImpTt72iRBg9Hn8"}


# Keys that change


def test_opens_after_rotation_what_was_sealed_before(kms: Any, key_arn: str, wrapper: AwsKmsWrapper) -> None:
    """moto records a rotation and keeps the material; KMS finds the old one by the ciphertext."""
    sealed = wrapper.wrap(KEY, CONTEXT)
    kms.rotate_key_on_demand(KeyId=key_arn)
    assert wrapper.unwrap(sealed, CONTEXT).expose() == KEY.expose()
    assert wrapper.unwrap(wrapper.wrap(KEY, CONTEXT), CONTEXT).expose() == KEY.expose()


def test_alias_of_another_key_does_not_open_what_was_sealed_before(kms: Any, key_arn: str) -> None:
    kms.create_alias(AliasName="alias/vault", TargetKeyId=key_arn)
    wrapper = AwsKmsWrapper(f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/vault", region=REGION)
    sealed = wrapper.wrap(KEY, CONTEXT)
    assert wrapper.unwrap(sealed, CONTEXT).expose() == KEY.expose()
    kms.update_alias(AliasName="alias/vault", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])
    with pytest.raises((DecryptionError, WrapperUnavailableError)):
        wrapper.unwrap(sealed, CONTEXT)
    # The key is still there under its own name.
    assert AwsKmsWrapper(key_arn, region=REGION).unwrap(sealed, CONTEXT).expose() == KEY.expose()


def test_names_missing_key(kms: Any) -> None:
    assert kms is not None
    for use in both(AwsKmsWrapper(KEY_ID, region=REGION)):
        error = refused(use)
        assert error.rule == "missing_key"


def test_names_deleted_key(key_arn: str, wrapper: AwsKmsWrapper) -> None:
    sealed = wrapper.wrap(KEY, CONTEXT)
    del kms_backends[ACCOUNT][REGION].keys[key_arn.rpartition("/")[2]]
    assert refused(lambda: wrapper.unwrap(sealed, CONTEXT)).rule == "missing_key"


# What KMS answers, by its documented codes


@pytest.mark.parametrize(
    ("code", "rule", "hint"),
    [
        ("DisabledException", "key_disabled", "enable the key"),
        ("KMSInvalidStateException", "key_disabled", "pending deletion"),
        ("AccessDeniedException", "denied", "kms:Encrypt and kms:Decrypt"),
        ("ExpiredTokenException", "denied", "renew"),
        ("UnrecognizedClientException", "denied", "valid"),
        ("InvalidSignatureException", "denied", "clock"),
        ("NotFoundException", "missing_key", "region"),
        ("InvalidKeyUsageException", "key_type", "SYMMETRIC_DEFAULT"),
        ("ValidationException", "unexpected", "(ValidationException)"),
        ("KeyUnavailableException", "unreachable", "try again"),
        ("ThrottlingException", "unreachable", "quota"),
        ("LimitExceededException", "unreachable", "quota"),
    ],
)
def test_names_what_kms_answers(asking: AwsKmsWrapper, server: Kms, code: str, rule: str, hint: str) -> None:
    server.fail(code)
    for use in both(asking):
        error = refused(use)
        assert error.rule == rule
        assert hint in error.hint
        assert code in error.hint


@pytest.mark.parametrize("code", ["KMSInternalException", "", "<html>"])
def test_fault_of_the_server_is_an_outage(asking: AwsKmsWrapper, server: Kms, code: str) -> None:
    server.fail(code, status=500)
    assert refused(lambda: asking.wrap(KEY, CONTEXT)).rule == "unreachable"


@pytest.mark.parametrize("status", [400, 500])
def test_code_that_is_none_is_not_forwarded(asking: AwsKmsWrapper, server: Kms, status: int) -> None:
    server.fail("canary in the code", status=status)
    error = refused(lambda: asking.wrap(KEY, CONTEXT))
    assert "canary" not in str(error)


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"not json", b'{"CiphertextBlob":7,"Plaintext":7}', b'{"Plaintext":"%"}', b"null"]
)
def test_answer_that_cannot_be_read_is_unexpected(asking: AwsKmsWrapper, server: Kms, body: bytes) -> None:
    server.answer(200, body)
    for use in both(asking):
        assert refused(use).rule == "unexpected"


@pytest.mark.parametrize(("code", "tries"), [("ThrottlingException", 3), ("AccessDeniedException", 1)])
def test_tries_again_twice_where_that_may_help(
    asking: AwsKmsWrapper, server: Kms, code: str, tries: int
) -> None:
    server.fail(code)
    refused(lambda: asking.wrap(KEY, CONTEXT))
    assert len(server.requests) == tries


def test_names_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    wrapper = AwsKmsWrapper(KEY_ID, region=REGION, endpoint=f"https://127.0.0.1:{port}")
    for use in both(wrapper):
        error = refused(use)
        assert error.rule == "unreachable"
        assert "EndpointConnectionError" in error.hint
    wrapper._client.close()


def test_names_missing_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for use in both(AwsKmsWrapper(KEY_ID, region=REGION)):
        error = refused(use)
        # A host that has just started may not have them yet: it is asked again.
        assert error.rule == "unreachable"
        assert "give this host credentials" in error.hint


@pytest.mark.parametrize(("name", "value"), [("AWS_SECRET_ACCESS_KEY", ""), ("AWS_PROFILE", "unknown")])
def test_names_credentials_that_are_incomplete(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refused(lambda: AwsKmsWrapper(KEY_ID, region=REGION)).rule == "denied"


# Settings


@pytest.mark.parametrize(
    "key_id",
    [
        KEY_ID,
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}",
        f"arn:aws:kms:{REGION}:{ACCOUNT}:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        f"arn:aws-us-gov:kms:{REGION}:{ACCOUNT}:alias/piivault/root",
    ],
)
def test_description_names_key_and_region(key_id: str) -> None:
    wrapper = AwsKmsWrapper(key_id, region=REGION)
    assert wrapper.describe() == f"AWS KMS {key_id} in {REGION}"
    assert repr(wrapper) == f"<{wrapper.describe()}>"
    assert wrapper.kind == "aws_kms"


@pytest.mark.parametrize(
    "key_id",
    [
        "",
        "alias/vault",
        "vault",
        KEY_ID.upper(),
        KEY_ID + "\n",
        f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{KEY_ID}",
        f"arn:aws:s3:{REGION}:{ACCOUNT}:key/{KEY_ID}",
        f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/",
    ],
)
def test_refuses_what_is_no_key_of_the_region(key_id: str) -> None:
    with pytest.raises(MalformedError) as caught:
        AwsKmsWrapper(key_id, region=REGION)
    assert caught.value.rule == "key_id"


@pytest.mark.parametrize("region", ["", "eu", "eu-central-1/x", "EU-CENTRAL-1"])
def test_refuses_what_is_no_region(region: str) -> None:
    with pytest.raises(MalformedError) as caught:
        AwsKmsWrapper(KEY_ID, region=region)
    assert caught.value.rule == "region"


@pytest.mark.parametrize(
    "endpoint",
    ["", "kms", "ftp://kms", "https://", "https://u:p@kms", "https://kms:x", "https://[", "https://k?a=b"],
)
def test_refuses_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(MalformedError) as caught:
        AwsKmsWrapper(KEY_ID, region=REGION, endpoint=endpoint)
    assert caught.value.rule == "endpoint"


def test_refuses_to_send_keys_over_plaintext() -> None:
    error = refused(lambda: AwsKmsWrapper(KEY_ID, region=REGION, endpoint="http://kms.example"))
    assert error.rule == "plaintext"


def test_environment_does_not_choose_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:1")
    assert (
        AwsKmsWrapper(KEY_ID, region=REGION)._client.meta.endpoint_url
        == f"https://kms.{REGION}.amazonaws.com"
    )


@pytest.mark.parametrize("module", ["boto3.session", "botocore.config"])
def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    error = refused(lambda: AwsKmsWrapper(KEY_ID, region=REGION))
    assert error.rule == "not_installed"
    assert error.hint == 'pip install "piivault[aws]"'


# Secrets


def leaks(error: BaseException) -> list[str]:
    """Return where an error shows a canary: its text, its chain, the locals of frames that are not ours."""
    shown, todo = ["".join(traceback.format_exception_only(error))], [error]
    while todo:
        one = todo.pop()
        shown += [repr(one), repr(vars(one)), repr(one.args)]
        for frame, _line in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                shown += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]
        todo += [other for other in (one.__cause__, one.__context__) if other is not None]
    return [text for text in shown if "canary" in text or base64.b64encode(KEY.expose()).decode() in text]


@pytest.mark.parametrize("code", ["ValidationException", "IncorrectKeyException", "DisabledException"])
def test_errors_show_neither_key_nor_what_kms_wrote(asking: AwsKmsWrapper, server: Kms, code: str) -> None:
    server.fail(code)
    for use in both(asking):
        with pytest.raises(KeysError) as caught:
            use()
        assert leaks(caught.value) == []


def test_log_of_the_library_shows_no_key(wrapper: AwsKmsWrapper, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        wrapper.unwrap(wrapper.wrap(KEY, CONTEXT), CONTEXT)
    assert "canary" not in caplog.text
    assert base64.b64encode(KEY.expose()).decode() not in caplog.text
