"""How the holder of the root key is reached: addresses, TLS, faults, tokens; and no secret is told."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keys.errors import DecryptionError, KeysError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes, SecretText
from keys.wrappers.files import read_private
from keys.wrappers.openbao import MAX_ANSWER, OpenBaoWrapper, read_token, unwrap_token
from tests.support.openbao import OpenBaoServer, free_port, impostor

PLAINTEXT = bytes(range(200, 232))
TOKEN = "s.AToken-that_nobody.may.see"
CONTEXT = b"context"
WRAPPED = b"\x03vault:v1:" + base64.b64encode(bytes(60))
KEY_TOLD = json.dumps({"data": {"type": "aes256-gcm96", "derived": False, "latest_version": 1}}).encode()

Use = Callable[[OpenBaoWrapper], object]
USES: dict[str, Use] = {
    "wrap": lambda wrapper: wrapper.wrap(SecretBytes(PLAINTEXT), CONTEXT),
    "unwrap": lambda wrapper: wrapper.unwrap(WRAPPED, CONTEXT),
    "current_version": lambda wrapper: wrapper.current_version(),
    "renew": lambda wrapper: wrapper.renew(),
}
every_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


def wrapper_at(address: str, *, key: str = "root", ca_file: Path | None = None) -> OpenBaoWrapper:
    return OpenBaoWrapper(address=address, key_name=key, token=SecretText(TOKEN), ca_file=ca_file)


def refused(rule: str, wrapper: OpenBaoWrapper, use: Use) -> WrapperUnavailableError:
    with pytest.raises(WrapperUnavailableError) as caught:
        use(wrapper)
    assert caught.value.rule == rule
    assert_silent(caught.value)
    return caught.value


def assert_silent(error: BaseException | None) -> None:
    """Fail if an error, one it hides or the locals of their frames hold the token or the plaintext."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next  # The test's own, which knows the secrets.
        told = traceback.TracebackException(type(error), error, trace, capture_locals=True)
        text = "".join([*told.format(), repr(error), repr(vars(error))])
        for form in (
            TOKEN,
            repr(PLAINTEXT)[2:-1],
            PLAINTEXT.hex(),
            base64.b64encode(PLAINTEXT).decode()[:-2],
        ):
            assert form not in text
        assert error.__cause__ is None
        error = error.__context__


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that vouches for itself; return it and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[tuple[int, list[int]]]:
    """Give the port of a listener that has ``answer`` deal with each connection, and what it counted."""
    counted: list[int] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            counted.append(1)
            with connection:
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], counted
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.1:8200",
        "http://openbao.example:8200",
        "http://localhost.example",
        "http://0.0.0.0:8200",
    ],
)
def test_refuses_plaintext_to_another_host(address: str) -> None:
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper_at(address)
    assert caught.value.rule == "plaintext"
    with pytest.raises(WrapperUnavailableError) as caught:
        unwrap_token(address, SecretText(TOKEN))
    assert caught.value.rule == "plaintext"


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8200",
        "http://127.0.0.1",
        "http://127.8.8.8:1",
        "http://[::1]:8200/",
        "https://bao.example",
    ],
)
def test_takes_tls_anywhere_and_plaintext_on_this_host(address: str) -> None:
    assert wrapper_at(address).describe() == f"OpenBao transit {address.rstrip('/')} transit/keys/root"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bao.example:8200",
        "ftp://127.0.0.1",
        "https://",
        "https://user:word@bao.example",
        "https://bao.example/v1",
        "https://bao.example?x=y",
        "https://bao.example#x",
        "https://bao.example:port",
        "https://bao.example:8200\r\nX: y",
    ],
)
def test_refuses_what_is_not_the_address_of_a_server(address: str) -> None:
    with pytest.raises(MalformedError) as caught:
        wrapper_at(address)
    assert caught.value.rule == "address"
    assert caught.value.__context__ is None


def test_speaks_tls_to_whom_the_authorities_vouch_for(tmp_path: Path) -> None:
    right, wrong = make_certificate(tmp_path, "right"), make_certificate(tmp_path, "wrong")
    with OpenBaoServer(certificate=right) as server:
        key = server.make_key()
        token = SecretText(server.make_token(key))
        trusting = OpenBaoWrapper(address=server.address, key_name=key, token=token, ca_file=right[0])
        wrapped = trusting.wrap(SecretBytes(PLAINTEXT), CONTEXT)
        assert trusting.unwrap(wrapped, CONTEXT).expose() == PLAINTEXT
        for ca_file in (wrong[0], None):
            error = refused("tls", wrapper_at(server.address, ca_file=ca_file), USES["unwrap"])
            assert "CA file" in error.hint
        other_name = server.address.replace("127.0.0.1", "localhost")
        refused("tls", wrapper_at(other_name, ca_file=right[0]), USES["unwrap"])
        plain = server.address.replace("https:", "http:")
        # Without a body: one that is still on its way when the server hangs up takes the answer with it.
        assert "(status 400)" in str(refused("unexpected", wrapper_at(plain), USES["current_version"]))


def test_refuses_a_server_without_tls(openbao: OpenBaoServer) -> None:
    address = openbao.address.replace("http:", "https:")
    refused("tls", wrapper_at(address), USES["unwrap"])


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "another"])
def test_refuses_a_ca_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper_at("https://127.0.0.1:1", ca_file=path)
    assert (caught.value.rule, caught.value.message) == ("ca_file", f"CA file {path}")


@every_use
def test_closed_port_is_unreachable(use: Use) -> None:
    error = refused("unreachable", wrapper_at(f"http://127.0.0.1:{free_port()}"), use)
    assert error.__context__ is None


def test_silent_server_is_unreachable_when_the_wait_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keys.wrappers.openbao.READ_S", 0.2)
    over = threading.Event()
    began = time.monotonic()
    with listening(lambda _: over.wait(10)) as (port, counted):
        refused("unreachable", wrapper_at(f"http://127.0.0.1:{port}"), USES["unwrap"])
        over.set()
    assert time.monotonic() - began < 5
    assert len(counted) == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_server_that_answers_byte_by_byte_is_unreachable_when_the_time_is_over(
    tls: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("keys.wrappers.openbao.WHOLE_S", 0.5)
    certificate = make_certificate(tmp_path, "slow")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def drip(connection: socket.socket) -> None:
        with (
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) if tls else connection as to,
        ):
            to.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(200):
                to.sendall(b"x")
                time.sleep(0.05)

    began = time.monotonic()
    with listening(drip) as (port, _):
        address = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        refused("unreachable", wrapper_at(address, ca_file=certificate[0]), USES["unwrap"])
    assert time.monotonic() - began < 5


def test_connection_that_breaks_is_tried_once_more() -> None:
    with listening(lambda connection: connection.recv(1)) as (port, counted):
        with pytest.raises(WrapperUnavailableError) as caught:
            USES["unwrap"](wrapper_at(f"https://127.0.0.1:{port}"))
        assert caught.value.rule in {"tls", "unreachable"}
        assert len(counted) == 2


def test_server_that_speaks_no_http_is_unreachable() -> None:
    with listening(lambda connection: connection.sendall(b"220 mail.example\r\n")) as (port, counted):
        refused("unreachable", wrapper_at(f"http://127.0.0.1:{port}"), USES["unwrap"])
        assert len(counted) == 1


@every_use
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_follows_no_redirect(use: Use, status: int) -> None:
    with impostor() as other, impostor(status, Location=f"{other.address}/v1/elsewhere") as redirecting:
        assert f"(status {status})" in str(refused("unexpected", wrapper_at(redirecting.address), use))
        assert other.asked == []


def test_ignores_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with impostor() as proxy, impostor(body=KEY_TOLD) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.address)
        assert wrapper_at(server.address).current_version() == 1
        assert proxy.asked == []


@every_use
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b"\xff\xfe\xff", id="no text"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b'{"data": ' + b"9" * 5000 + b"}", id="too large a number"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"data": null, "auth": null}', id="no members"),
        pytest.param(b'{"data": "text", "auth": ["text"]}', id="members of another kind"),
        pytest.param(
            b'{"data": {"latest_version": true, "plaintext": 1}, "auth": {"lease_duration": 1.5}}', id="types"
        ),
        pytest.param(
            b'{"data": {"latest_version": -1, "plaintext": "YQ"}, "auth": {"lease_duration": -1}}',
            id="values",
        ),
        pytest.param(b'{"data": {"latest_version": 0, "plaintext": "YR=="}, "auth": {}}', id="near values"),
    ],
)
def test_refuses_a_malformed_answer(use: Use, body: bytes) -> None:
    with impostor(body=body) as server:
        refused("unexpected", wrapper_at(server.address), use)


@pytest.mark.parametrize("above", [0, 1])
def test_refuses_an_answer_above_its_limit(above: int) -> None:
    with impostor(body=b" " * (MAX_ANSWER - len(KEY_TOLD) + above) + KEY_TOLD) as server:
        wrapper = wrapper_at(server.address)
        if above:
            refused("unexpected", wrapper, USES["current_version"])
        else:
            assert wrapper.current_version() == 1


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"ttl": 0, "expire_time": "2026-01-01T00:00:00Z"}, 1),
        ({"ttl": 0, "expire_time": None}, 0),
        ({"ttl": 9, "expire_time": None}, 4),
    ],
    ids=["in its last second", "without an end", "not prolonged"],
)
def test_token_that_is_about_to_end_is_not_taken_for_one_without(
    told: dict[str, object], seconds: int
) -> None:
    with impostor(body=b'{"auth": {"lease_duration": 0}}') as server:
        server.answers["/lookup-self"] = json.dumps({"data": told}).encode()
        assert wrapper_at(server.address).renew() == seconds


@every_use
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200 + 4, b""),
        (400, b'{"errors": ["something new"]}'),
        (400, b'{"errors": "message authentication failed"}'),
        (400, b'{"errors": [["message authentication failed"], 1]}'),
        (401, b'{"errors": ["permission denied"]}'),
        (403, b"<html>blocked by a firewall</html>"),
        (404, b"<html>no such page</html>"),
        (404, b'{"errors": ["something new"]}'),
        (418, b'{"errors": ["s.AToken-that_nobody.may.see"]}'),
        (501, b"<html>no such method</html>"),
    ],
)
def test_tells_the_status_of_any_other_answer_and_no_more(use: Use, status: int, body: bytes) -> None:
    with impostor(status, body) as server:
        error = refused("unexpected", wrapper_at(server.address), use)
    assert error.message == f"OpenBao transit {server.address} transit/keys/root (status {status})"


@every_use
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"errors": ["request path: rate limit quota exceeded"]}'),
        (500, b'{"errors": ["message authentication failed"]}'),
        (502, b""),
        (503, b"<html>no server available</html>"),
        (504, b'{"errors": ["s.AToken-that_nobody.may.see"]}'),
    ],
)
def test_a_server_that_cannot_answer_now_is_unreachable(use: Use, status: int, body: bytes) -> None:
    with impostor(status, body) as server:
        error = refused("unreachable", wrapper_at(server.address), use)
    assert error.message == f"OpenBao transit {server.address} transit/keys/root (status {status})"


@pytest.mark.parametrize("kind", [b"[]", b"{}", b"null", b"1", b'"aes256"'])
def test_refuses_a_key_whose_type_is_none(kind: bytes) -> None:
    with impostor(body=KEY_TOLD.replace(b'"aes256-gcm96"', kind)) as server:
        refused("key_type", wrapper_at(server.address), USES["wrap"])


@pytest.mark.parametrize(
    "text", [None, "", "vault:v1:", "vault:v0:AAAA", "vault:v1:é", "bault:v1:AAAA", TOKEN]
)
def test_refuses_a_ciphertext_that_it_could_not_give_back(text: str | None) -> None:
    with impostor(body=json.dumps({"data": {"ciphertext": text}}).encode()) as server:
        server.answers["/keys/"] = KEY_TOLD
        refused("unexpected", wrapper_at(server.address), USES["wrap"])


def test_refuses_a_ciphertext_under_an_older_version_than_the_current() -> None:
    with impostor(body=json.dumps({"data": {"ciphertext": WRAPPED[1:].decode()}}).encode()) as server:
        server.answers["/keys/"] = KEY_TOLD.replace(b'"latest_version": 1', b'"latest_version": 2')
        server.answers["/decrypt/"] = b'{"data": {"plaintext": ""}}'
        refused("unexpected", wrapper_at(server.address), USES["wrap"])


def test_refuses_to_wrap_where_contexts_are_ignored() -> None:
    plaintext = json.dumps({"data": {"plaintext": base64.b64encode(PLAINTEXT).decode()}}).encode()
    with impostor(body=json.dumps({"data": {"ciphertext": WRAPPED[1:].decode()}}).encode()) as server:
        server.answers |= {"/keys/": KEY_TOLD, "/decrypt/": plaintext}
        error = refused("not_bound", wrapper_at(server.address), USES["wrap"])
        assert "1.13" in error.hint


def test_sends_a_plaintext_to_the_one_path_that_seals() -> None:
    with impostor(body=json.dumps({"data": {"ciphertext": WRAPPED[1:].decode()}}).encode()) as server:
        server.answers |= {"/keys/": KEY_TOLD, "/decrypt/": b'{"data": {"plaintext": ""}}'}
        refused("not_bound", wrapper_at(server.address), USES["wrap"])
        asked = [(method, path, b"plaintext" in body) for method, path, body in server.asked]
    assert asked == [
        ("GET", "/v1/transit/keys/root", False),
        ("POST", "/v1/transit/encrypt/root", True),
        ("POST", "/v1/transit/decrypt/root", False),
    ]


@every_use
def test_tells_no_secret_when_denied(openbao: OpenBaoServer, use: Use) -> None:
    refused("denied", wrapper_at(openbao.address, key=openbao.make_key()), use)


def test_tells_no_secret_when_it_does_not_open(openbao: OpenBaoServer) -> None:
    key = openbao.make_key()
    token = SecretText(openbao.make_token(key))
    wrapper = OpenBaoWrapper(address=openbao.address, key_name=key, token=token)
    wrapped = wrapper.wrap(SecretBytes(PLAINTEXT), CONTEXT)
    with pytest.raises(DecryptionError) as caught:
        wrapper.unwrap(wrapped, b"another")
    assert_silent(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("token", ["", " ", "s.x\r\nX-Vault-Namespace: y", "s.x y", "s.é", "x" * 4097])
def test_refuses_a_token_that_no_header_can_hold(token: str) -> None:
    with pytest.raises(MalformedError) as caught:
        OpenBaoWrapper(address="https://bao.example", key_name="root", token=SecretText(token))
    assert str(caught.value) == "malformed: token"
    with pytest.raises(MalformedError):
        unwrap_token("https://bao.example", SecretText(token))


def test_wrapped_token_opens_once(openbao: OpenBaoServer) -> None:
    key = openbao.make_key()
    wrapping = SecretText(openbao.make_token(key, wrap_ttl="60s"))
    token = unwrap_token(openbao.address, wrapping)
    wrapper = OpenBaoWrapper(address=openbao.address, key_name=key, token=token)
    assert wrapper.unwrap(wrapper.wrap(SecretBytes(PLAINTEXT), CONTEXT), CONTEXT).expose() == PLAINTEXT
    with pytest.raises(WrapperUnavailableError) as caught:
        unwrap_token(openbao.address, wrapping)
    assert caught.value.rule == "wrapping_token_used"
    assert "somebody else may have opened it" in caught.value.hint
    assert wrapping.expose() not in str(caught.value)


def test_wrapped_token_is_over_when_its_time_is(openbao: OpenBaoServer) -> None:
    wrapping = SecretText(openbao.make_token(openbao.make_key(), wrap_ttl="1s"))
    time.sleep(1.3)
    with pytest.raises(WrapperUnavailableError) as caught:
        unwrap_token(openbao.address, wrapping)
    assert caught.value.rule == "wrapping_token_used"


def test_token_that_wraps_none_opens_nothing(openbao: OpenBaoServer) -> None:
    for token in (openbao.make_token(openbao.make_key()), TOKEN):
        with pytest.raises(WrapperUnavailableError) as caught:
            unwrap_token(openbao.address, SecretText(token))
        assert caught.value.rule == "wrapping_token_used"


def test_whatever_else_was_wrapped_is_no_token(openbao: OpenBaoServer) -> None:
    told = openbao.call("POST", "sys/wrapping/wrap", {"a": "b"}, headers={"X-Vault-Wrap-TTL": "60s"})
    with pytest.raises(WrapperUnavailableError) as caught:
        unwrap_token(openbao.address, SecretText(told["wrap_info"]["token"]))
    assert caught.value.rule == "unexpected"


@pytest.mark.parametrize(
    ("status", "body", "rule"),
    [
        (403, b'{"errors": ["permission denied"]}', "wrapping_token_used"),
        (503, b'{"errors": ["Vault is sealed"]}', "sealed"),
        (500, b"", "unreachable"),
        (501, b"", "unexpected"),
        (400, b'{"errors": ["cipher: message authentication failed"]}', ""),
        (200, b'{"auth": {"client_token": "s.AToken that_nobody.may.see"}}', "unexpected"),
    ],
)
def test_wrapping_token_is_refused_by_rule(status: int, body: bytes, rule: str) -> None:
    with impostor(status, body) as server, pytest.raises(KeysError) as caught:
        unwrap_token(server.address, SecretText(TOKEN))
    assert getattr(caught.value, "rule", "") == rule
    assert_silent(caught.value)


def test_wrapping_token_goes_to_nobody_who_is_unreachable() -> None:
    with pytest.raises(WrapperUnavailableError) as caught:
        unwrap_token(f"http://127.0.0.1:{free_port()}", SecretText(TOKEN))
    assert caught.value.rule == "unreachable"
    assert_silent(caught.value)


@pytest.mark.parametrize("end", ["", "\n"])
def test_token_file_holds_one_line(tmp_path: Path, end: str) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + end)
    path.chmod(0o600)
    assert read_token(path).expose() == TOKEN


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        TOKEN.encode() + b"\n\n",
        TOKEN.encode() + b"\r\n",
        b" " + TOKEN.encode(),
        b"\xff",
        b"x" * 5000,
    ],
)
def test_refuses_a_token_file_of_another_form(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(WrapperUnavailableError) as caught:
        read_token(path)
    assert (caught.value.rule, caught.value.message) == ("format", f"token file {path}")
    assert_silent(caught.value)


def test_private_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    path.write_bytes(b"four")
    assert read_private(path, what="file", limit=4).expose() == b"four"
    with pytest.raises(WrapperUnavailableError) as caught:
        read_private(path, what="file", limit=3)
    assert (caught.value.rule, caught.value.message) == ("format", f"file {path}")


def test_refuses_a_token_file_that_is_not_its_owners_alone(tmp_path: Path) -> None:
    path, link, pipe = tmp_path / "token", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    found = []
    for candidate in (path, link, pipe):
        with pytest.raises(WrapperUnavailableError) as caught:
            read_token(candidate)
        found.append(caught.value.rule)
    path.write_text(TOKEN)
    path.chmod(0o640)
    with pytest.raises(WrapperUnavailableError) as caught:
        read_token(path)
    assert [*found, caught.value.rule] == ["missing", "not_regular", "not_regular", "permissions"]
