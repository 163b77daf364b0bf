"""One server, as the commands see it: requests in, answers or one error out.

Guaranteed: no secret goes anywhere but to the server it was issued by, and
over plaintext only to this host; redirects are not followed, and nothing in the
environment (proxies, netrc) takes part. What the server says in a problem
document is what is raised.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx2

from cli.errors import ProblemError
from cli.remote import profiles
from vault.domain.errors import AuthenticationError, InvalidInputError, UnavailableError

TIMEOUT_S: Final = 60.0
RENEW_BEFORE_S: Final = 30.0
"""A service's access token is renewed so long before it ends: a batch in flight must not outlive it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to go and as whom, as the command line says."""

    url: str | None = None
    ca_file: Path | None = None
    profile: str = "default"
    client_id: str | None = None
    client_secret_file: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: never an error."""

    status: int
    raw: bytes
    headers: Mapping[str, str]
    body: dict[str, Any]


Bearer = Callable[["Server"], str]
"""Gives the bearer secret for the next request."""


class Server:
    """A connection to one server. Closed by ``with``."""

    def __init__(self, url: str, *, ca_file: Path | None = None, bearer: Bearer | None = None) -> None:
        self.url: Final = require_safe(url)
        self._bearer = bearer
        self._client = httpx2.Client(
            base_url=self.url,
            verify=_trust(ca_file),
            timeout=httpx2.Timeout(TIMEOUT_S, connect=10.0),
            trust_env=False,
            headers={"Accept": "application/json"},
        )

    def get(self, path: str, *, params: Mapping[str, Any] | None = None, public: bool = False) -> Answer:
        """Return the answer to a GET. ``params`` that are None are left out."""
        return self._call("GET", path, params=params, public=public)

    def delete(self, path: str, *, params: Mapping[str, Any] | None = None, public: bool = False) -> Answer:
        """Return the answer to a DELETE."""
        return self._call("DELETE", path, params=params, public=public)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        public: bool = False,
    ) -> Answer:
        """Return the answer to a POST of ``body`` as JSON; members that are None are left out."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._call("POST", path, json=_given(body or {}), headers=headers, public=public)

    def access_token(self, client_id: str, client_secret: str) -> tuple[str, float]:
        """Return a service's access token and the monotonic time at which it ends.

        Raises AuthenticationError when the server does not accept the secret.
        """
        response = self._send(
            "POST",
            "/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=httpx2.BasicAuth(client_id, client_secret),
        )
        body = _json_of(response)
        if response.status_code in {400, 401} and "error" in body:
            raise AuthenticationError(f"the client could not be authenticated ({body['error']})")
        _require_good(response, body)
        return str(body["access_token"]), time.monotonic() + float(body["expires_in"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def _call(self, method: str, path: str, *, public: bool = False, **rest: Any) -> Answer:
        headers = dict(rest.pop("headers", {}))
        if not public:
            if self._bearer is None:
                raise AuthenticationError(f"nobody is logged in at {self.url}; run: piivault login")
            headers["Authorization"] = f"Bearer {self._bearer(self)}"
        if (params := rest.pop("params", None)) is not None:
            rest["params"] = _given(params)
        response = self._send(method, path, headers=headers, **rest)
        body = _json_of(response)
        _require_good(response, body)
        return Answer(response.status_code, response.content, response.headers, body)

    def _send(self, method: str, path: str, **rest: Any) -> httpx2.Response:
        try:
            return self._client.request(method, path, **rest)
        except httpx2.TimeoutException:
            raise UnavailableError(f"{self.url} did not answer in time") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError) as error:
            # Only the kind: the text of a transport error may quote what was sent.
            raise UnavailableError(f"{self.url} cannot be reached ({_cause(error)})") from None


class ServiceBearer:
    """Asks for an access token when there is none, and for the next one before it ends."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._token = ""
        self._ends = 0.0

    def __call__(self, server: Server) -> str:
        """Return a live access token. Raises AuthenticationError."""
        if time.monotonic() >= self._ends - RENEW_BEFORE_S:
            self._token, self._ends = server.access_token(self._client_id, self._client_secret)
        return self._token


def require_safe(url: str) -> str:
    """Return ``url`` without a slash at its end. Raises InvalidInputError: url, plaintext."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise InvalidInputError(f"not the address of a server: {url}", field="--url", rule="url")
    if parsed.scheme == "http" and not is_loopback(parsed.host):
        raise InvalidInputError(
            "without TLS only a server on this host is spoken to; use https", field="--url", rule="plaintext"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Say whether ``host`` is this host, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def connect(target: Target) -> Server:
    """Return the server of ``target``, authorised as it says or as whoever is logged in.

    Raises AuthenticationError when it takes a login and there is none for this
    server, InvalidInputError for a file that is not private.
    """
    if target.client_id:
        if not target.url:
            raise InvalidInputError("a service names its server", field="--url", rule="required")
        secret = _client_secret(target.client_secret_file)
        return Server(target.url, ca_file=target.ca_file, bearer=ServiceBearer(target.client_id, secret))
    profile = profiles.load(target.profile)
    if profile is None or (target.url and require_safe(target.url) != profile.url):
        # Not the server this session is for: only what needs no session can be asked there.
        return Server(_url_of(target, profile), ca_file=target.ca_file)
    ca_file = target.ca_file or (Path(profile.ca_file) if profile.ca_file else None)
    return Server(profile.url, ca_file=ca_file, bearer=lambda _server: profile.session)


def _url_of(target: Target, profile: profiles.Profile | None) -> str:
    if target.url:
        return target.url
    if profile is None:
        raise AuthenticationError("nobody is logged in; run: piivault login --url https://…")
    return profile.url


def _client_secret(file: str | None) -> str:
    if file is None:
        raise InvalidInputError(
            "a service needs its secret: a file, or - for stdin",
            field="--client-secret-file",
            rule="required",
        )
    if file == "-":
        import sys

        return sys.stdin.readline().strip()
    text = profiles.read_private(Path(file), what="client secret file")
    if text is None:
        raise InvalidInputError(f"there is no file {file}", field="--client-secret-file", rule="missing")
    return text.strip()


def _trust(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise InvalidInputError(f"no certificates in {ca_file}", field="--ca-file", rule="pem") from None


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value is not None}


def _json_of(response: httpx2.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _require_good(response: httpx2.Response, body: Mapping[str, Any]) -> None:
    if response.is_success:
        return
    problem = {"request_id": response.headers.get("X-Request-Id", ""), **body}
    after = response.headers.get("Retry-After", "")
    if after.isdecimal():
        problem.setdefault("retry_after", int(after))
    raise ProblemError(response.status_code, problem)


def _cause(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) or "CERTIFICATE" in str(error) or "SSL" in str(error):
        return "its certificate is not trusted; see --ca-file"
    return {"ConnectError": "no connection", "ReadError": "connection lost"}.get(
        type(error).__name__, type(error).__name__
    )
