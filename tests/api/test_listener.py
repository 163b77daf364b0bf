"""A real server over a real socket: what a test client cannot show."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from httpx2 import Client, TransportError, get

from api import bodies, listener
from tests.api.served import served
from tests.api.world import PHONE, PURPOSE, World, open_world, populate
from vault.domain.errors import UnavailableError
from vault.service.tokens import SearchRequest

LOCAL = dt.timedelta(days=1)


@dataclass
class Served:
    """A populated world behind a socket."""

    world: World
    address: tuple[str, int]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def head(self, path: str = "/v1/tokenize", *, length: int) -> bytes:
        bearer = self.world.service.bearer["Authorization"]
        return (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


BODY = json.dumps({"purpose": PURPOSE, "items": [{"field": "member.phone", "value": PHONE}]}).encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    world = open_world(tmp_path / "home")
    with served(world.app) as address, Client(base_url=f"http://{address[0]}:{address[1]}") as client:
        world.client = client
        populate(world)
        yield Served(world, address)


def _answer(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received


def test_many_callers_at_once_are_all_served(server: Served) -> None:
    phones = [f"010-1234-{number:04}" for number in range(100)]
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(server.world.tokenize, phones))
    tokens = [answer.json()["items"][0]["token"] for answer in made]
    told = server.world.ok(server.world.detokenize(*tokens, reveal="plain"))
    assert [item["value"] for item in told["items"]] == phones
    assert "server" not in made[0].headers


def test_two_mebibytes_are_refused_and_the_connection_goes_on(server: Served) -> None:
    headers = {**server.world.service.bearer, "Content-Type": "application/json"}
    refused = server.world.client.post("/v1/tokenize", content=b"x" * (2 << 20), headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (413, "limit_exceeded")
    assert server.world.tokenize(PHONE).is_success


def test_parts_over_the_cap_are_cut_off(server: Served) -> None:
    headers = {**server.world.service.bearer, "Content-Type": "application/json"}
    parts = (b"x" * 65_536 for _ in range(400))
    # The end of the connection may overtake the answer: what was still on its way resets it.
    with suppress(TransportError):
        refused = server.world.client.post("/v1/tokenize", content=parts, headers=headers)
        assert refused.status_code == 413
    assert server.world.tokenize(PHONE).is_success


def test_clients_that_hang_up_leave_the_lane_alive(server: Served) -> None:
    for number in range(20):
        with server.connect() as connection:
            connection.sendall(server.head(length=len(BODY)))
            connection.sendall(BODY[: len(BODY) // 2] if number % 2 else BODY)
    assert server.world.tokenize(PHONE).is_success


def test_body_that_stalls_is_answered_408(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    with server.connect() as connection:
        connection.sendall(server.head(length=len(BODY)) + BODY[:10])
        answer = _answer(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: a"])
def test_head_that_stalls_is_cut_off(server: Served, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    with server.connect() as connection:
        connection.sendall(sent)
        assert _answer(connection) == b""


def test_head_without_end_is_cut_off(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"a" * (64 << 20))


def test_what_is_not_http_is_refused(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert _answer(connection).startswith(b"HTTP/1.1 400 ")


def test_requests_in_a_row_share_a_connection(server: Served) -> None:
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(server.head(length=len(BODY)) + BODY)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_vault_is_closed_when_the_server_stops(tmp_path: Path) -> None:
    world = open_world(tmp_path / "home")
    with served(world.app) as (host, port):
        assert get(f"http://{host}:{port}/healthz", trust_env=False).is_success
    request = SearchRequest(purpose="p", field="f", value="v")
    work = world.vault.tokens.search(
        # Nobody: the lane refuses before anybody is asked who they are.
        actor=None,  # type: ignore[arg-type]
        origin=None,  # type: ignore[arg-type]
        request=request,
    )
    with pytest.raises(UnavailableError):
        world.vault.tokens.start(work, lambda: None)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LOCAL)
        .not_valid_after(now + LOCAL)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, private


def test_tls_is_modern(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    chain, private = certificate
    world = open_world(tmp_path / "home")
    with served(world.app, certificate=chain, private_key=private) as (host, port):
        context = ssl.create_default_context(cafile=str(chain))
        with (
            socket.create_connection((host, port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            assert secured.version() in {"TLSv1.2", "TLSv1.3"}
            secured.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secured.recv(65_536).startswith(b"HTTP/1.1 200 ")
    config = listener.server_config(lambda: world.app, certificate=chain, private_key=private)
    config.load()
    assert config.ssl is not None
    assert config.ssl.minimum_version is ssl.TLSVersion.TLSv1_2
