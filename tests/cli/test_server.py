from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from cli.errors import ProblemError
from cli.remote import profiles
from cli.remote.profiles import Profile
from cli.remote.server import Server, ServiceBearer, Target, connect, is_loopback, require_safe
from tests.cli.stub import Canned, StubServer
from vault.domain.errors import AuthenticationError, InvalidInputError, UnavailableError

TOKEN = Canned(200, {"access_token": "pva_1", "token_type": "Bearer", "expires_in": 600})


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def _save(url: str) -> None:
    profiles.save("default", Profile(url, "mina", "pvn_1", "ses_1", "2026-12-01T00:00:00+00:00"))


@pytest.mark.parametrize("url", ["https://vault.example:8443/", "http://127.0.0.1:1", "http://[::1]:8443"])
def test_takes_tls_anywhere_and_plaintext_on_this_host(url: str) -> None:
    assert require_safe(url) == url.rstrip("/")


@pytest.mark.parametrize("url", ["http://vault.example", "http://10.0.0.1", "http://localhost.example"])
def test_refuses_plaintext_to_another_host(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        require_safe(url)
    assert caught.value.rule == "plaintext"


@pytest.mark.parametrize("url", ["", "vault.example", "ftp://x", "https://", "https://a:b@x", "http://[::1"])
def test_refuses_what_is_no_address_of_a_server(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        require_safe(url)
    assert caught.value.rule == "url"


def test_this_host_is_known_by_name_and_address() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "10.0.0.1", "vault")] == [
        *(True, True, True, False, False)
    ]


def test_a_session_goes_only_to_the_server_it_is_for() -> None:
    with StubServer(Canned(200, {"items": []})) as home, StubServer(Canned(200)) as other:
        _save(home.url)
        with connect(Target()) as server:
            server.get("/v1/staff")
        assert home.seen[0].headers["Authorization"] == "Bearer pvn_1"
        with connect(Target(url=other.url)) as server, pytest.raises(AuthenticationError):
            server.get("/v1/staff")
        assert other.seen == []


def test_whoever_is_not_logged_in_is_told_so() -> None:
    with pytest.raises(AuthenticationError):
        connect(Target())


def test_redirects_are_not_followed() -> None:
    with StubServer(Canned(302, headers={"Location": "https://elsewhere.example"})) as stub:
        _save(stub.url)
        with connect(Target()) as server, pytest.raises(ProblemError) as caught:
            server.get("/v1/staff")
    assert caught.value.status == 302
    assert len(stub.seen) == 1


def test_a_problem_is_said_as_the_server_says_it() -> None:
    problem = {"code": "too_many_attempts", "detail": "wait", "request_id": "req_1"}
    canned = Canned(429, problem, {"Retry-After": "7"})
    with StubServer(canned) as stub, Server(stub.url) as server, pytest.raises(ProblemError) as caught:
        server.get("/v1/x", public=True)
    assert caught.value.failure.retry_after == 7
    assert caught.value.failure.exit_code == 3
    assert caught.value.failure.request_id == "req_1"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
def test_an_answer_that_is_no_document_is_a_problem_by_its_status(body: bytes) -> None:
    canned = Canned(502, body, {"X-Request-Id": "req_2"})
    with StubServer(canned) as stub, Server(stub.url) as server, pytest.raises(ProblemError) as caught:
        server.get("/", public=True)
    assert (caught.value.code, caught.value.failure.exit_code) == ("http_502", 7)
    assert caught.value.failure.request_id == "req_2"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with Server("http://127.0.0.1:1") as server, pytest.raises(UnavailableError, match="no connection"):
        server.get("/", public=True)


def test_a_server_that_hangs_up_is_unavailable() -> None:
    with StubServer(Canned(0)) as stub, Server(stub.url) as server, pytest.raises(UnavailableError):
        server.post("/v1/tokenize", {"purpose": "secret"}, public=True)


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr("cli.remote.server.TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with Server(url) as server, pytest.raises(UnavailableError, match="in time"):
            server.get("/", public=True)


def test_a_plaintext_server_is_no_tls_server() -> None:
    with (
        StubServer(Canned(200)) as stub,
        Server(stub.url.replace("http:", "https:")) as server,
        pytest.raises(UnavailableError, match="certificate"),
    ):
        server.get("/", public=True)


def test_certificates_come_from_the_file_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Server("https://vault.example", ca_file=tmp_path / "none.pem")
    assert caught.value.rule == "pem"
    bundle = ssl.get_default_verify_paths().cafile
    if bundle is not None:
        Server("https://vault.example", ca_file=Path(bundle))


def test_members_that_are_not_given_are_not_sent() -> None:
    with StubServer(Canned(200)) as stub, Server(stub.url) as server:
        server.get("/x", params={"a": 1, "b": None}, public=True)
        server.post("/x", {"a": 1, "b": None}, public=True, idempotency_key="k")
    assert stub.seen[0].path == "/x?a=1"
    assert stub.seen[1].json == {"a": 1}
    assert stub.seen[1].headers["Idempotency-Key"] == "k"


def test_a_service_asks_for_an_access_token_once() -> None:
    bearer = ServiceBearer("svc_1", "pvs_1")
    with StubServer(TOKEN, Canned(200)) as stub, Server(stub.url, bearer=bearer) as server:
        server.get("/x")
        server.get("/x")
    paths = [seen.path for seen in stub.seen]
    assert paths == ["/oauth2/token", "/x", "/x"]
    assert stub.seen[0].body == "grant_type=client_credentials"
    assert stub.seen[0].headers["Authorization"].startswith("Basic ")
    assert stub.seen[2].headers["Authorization"] == "Bearer pva_1"


def test_an_access_token_is_renewed_before_it_ends() -> None:
    short = Canned(200, {"access_token": "pva_0", "token_type": "Bearer", "expires_in": 20})
    bearer = ServiceBearer("svc_1", "pvs_1")
    answers = (short, Canned(200), TOKEN, Canned(200))
    with StubServer(*answers) as stub, Server(stub.url, bearer=bearer) as server:
        server.get("/x")
        server.get("/x")
    assert [seen.path for seen in stub.seen] == ["/oauth2/token", "/x", "/oauth2/token", "/x"]
    assert stub.seen[3].headers["Authorization"] == "Bearer pva_1"


def test_a_wrong_client_secret_is_an_authentication_error() -> None:
    with (
        StubServer(Canned(401, {"error": "invalid_client"})) as stub,
        Server(stub.url, bearer=ServiceBearer("svc_1", "pvs_1")) as server,
        pytest.raises(AuthenticationError, match="invalid_client"),
    ):
        server.get("/x")
    with StubServer(Canned(503)) as stub, Server(stub.url) as server, pytest.raises(ProblemError):
        server.access_token("svc_1", "pvs_1")


def test_a_service_names_its_server_and_brings_its_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    for target, rule in (
        (Target(client_id="svc_1"), "required"),
        (Target(client_id="svc_1", url="https://v"), "required"),
        (Target(client_id="svc_1", url="https://v", client_secret_file=str(secret)), "missing"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            connect(target)
        assert caught.value.rule == rule
    secret.write_text("pvs_1\n")
    secret.chmod(0o644)
    with pytest.raises(InvalidInputError) as caught:
        connect(Target(client_id="svc_1", url="https://v", client_secret_file=str(secret)))
    assert caught.value.rule == "others_may_read"


def test_a_secret_may_come_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    import base64
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("pvs_9\nrest\n"))
    with (
        StubServer(TOKEN, Canned(200)) as stub,
        connect(Target(client_id="svc_1", url=stub.url, client_secret_file="-")) as server,
    ):
        server.get("/x")
    basic = stub.seen[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic) == b"svc_1:pvs_9"


def test_the_certificates_of_a_profile_are_used_again(tmp_path: Path) -> None:
    profile = Profile(
        "https://vault.example", "mina", "pvn_1", "ses_1", "", ca_file=str(tmp_path / "gone.pem")
    )
    profiles.save("default", profile)
    with pytest.raises(InvalidInputError) as caught:
        connect(Target())
    assert caught.value.rule == "pem"
