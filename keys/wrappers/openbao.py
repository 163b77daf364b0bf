"""The root key in the transit engine of OpenBao or HashiCorp Vault (docs/formats/envelope.md 7).

What is guaranteed: the root key never leaves the server; what ``wrap`` returns
is proven to be bound to its context; nothing is sent over plaintext but to this
host, no redirect is followed, no proxy of the environment is used; and neither
the token nor a key is in an error, its chain or the locals of its traceback.
What is not: whoever has the token, or administers the server, opens every key.
The wait for an answer is bounded, from one piece of it to the next and in all.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx2

from keys.errors import DecryptionError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes, SecretText
from keys.wrappers import transit
from keys.wrappers.deadline import Deadline
from keys.wrappers.files import fault, read_private
from keys.wrappers.transit import Answer, refusal, unavailable

CONNECT_S: Final = 5.0
READ_S: Final = 10.0
WHOLE_S: Final = 30.0
"""From the first try to connect to the last byte of the answer."""
MAX_ANSWER: Final = 1 << 20
"""Bytes: what it takes to describe a key with tens of thousands of versions."""

_TYPES = ("aes256-gcm96", "chacha20-poly1305")
"""They authenticate associated data, and both servers have them."""
_OK = 200
_NO_CONTENT = 204
_BAD_REQUEST = 400


class _Server:
    """A server to ask. Keeps no connection: threads may share it, and processes too after a fork."""

    __slots__ = ("_headers", "_trust", "address")

    def __init__(self, address: str, namespace: str | None, ca_file: Path | None) -> None:
        self.address: Final = _checked_address(address)
        # An agent in between takes the first as a sign that no forged request of somebody's browser comes in.
        self._headers = {"X-Vault-Request": "true", "Accept-Encoding": "identity"}
        if namespace is not None:
            self._headers["X-Vault-Namespace"] = transit.checked_path(namespace, "namespace")
        self._trust = _trust(ca_file, tls=self.address.startswith("https:"))

    def send(self, token: SecretText, method: str, path: str, body: SecretBytes | None) -> Answer | str:
        """Return the answer, or the rule of why there is none.

        No rule is raised here: the error of a transport holds the request, token and
        all, and an error that is raised where it is caught would hold it in turn.
        """
        transport = httpx2.HTTPTransport(verify=self._trust, trust_env=False, retries=1)
        wait = httpx2.Timeout(READ_S, connect=CONNECT_S)
        deadline = Deadline(WHOLE_S)
        try:
            with (
                deadline,
                httpx2.Client(transport=transport, timeout=wait, trust_env=False) as client,
                client.stream(
                    method,
                    f"{self.address}/v1/{path}",
                    headers=self._headers | {"X-Vault-Token": token.expose()},
                    content=None if body is None else body.expose(),
                    follow_redirects=False,
                    extensions={"trace": deadline.trace},
                ) as response,
            ):
                return _received(response)
        except (httpx2.HTTPError, OSError) as error:
            return "tls" if _is_tls(error) and not deadline.over else "unreachable"


class OpenBaoWrapper:
    """Seals keys by a transit key of a server, which is asked each time. Threads may share it."""

    __slots__ = ("_description", "_key", "_mount", "_server", "_token")

    kind: Final = "openbao"

    def __init__(
        self,
        *,
        address: str,
        key_name: str,
        token: SecretText,
        mount: str = "transit",
        namespace: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        """Ask nobody yet. Without ``ca_file`` the authorities of the system are trusted.

        Raises MalformedError: address, key_name, mount, namespace, token. Raises
        WrapperUnavailableError: ca_file, plaintext.
        """
        self._mount = transit.checked_path(mount, "mount")
        self._key = transit.checked_name(key_name)
        self._token = transit.checked_token(token)
        self._server = _Server(address, namespace, ca_file)
        place = f"{namespace}/{mount}" if namespace else mount
        self._description = f"OpenBao transit {self._server.address} {place}/keys/{key_name}"

    def __repr__(self) -> str:
        return f"<{self._description}>"

    def describe(self) -> str:
        """Return the address of the server and the path of the key there, which are no secrets."""
        return self._description

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and proven to be bound to ``context``.

        Raises WrapperUnavailableError: as unwrap, and key_type, not_bound.
        """
        # First, for a token that may create keys has a missing one made anew, and an engine of another kind
        # would take a plaintext and store it.
        current = self.current_version()
        request = transit.request(context=context, plaintext=plaintext)
        wrapped = transit.wrapped_in(self._ask("POST", f"{self._mount}/encrypt/{self._key}", request))
        if wrapped is None or (transit.version_of(wrapped) or 0) < current:
            raise self._unavailable("unexpected")
        self._require_bound(wrapped, context)
        return wrapped

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped.

        Raises DecryptionError: another context or key, tampered. Raises
        WrapperUnavailableError: denied, key_type, missing_key, missing_mount,
        missing_namespace, sealed, tls, unexpected, unreachable, version_removed.
        """
        if transit.version_of(wrapped) is None:
            raise DecryptionError
        request = transit.request(context=context, ciphertext=wrapped[len(transit.VERSION) :])
        plaintext = transit.plaintext_in(self._ask("POST", f"{self._mount}/decrypt/{self._key}", request))
        if plaintext is None:
            raise self._unavailable("unexpected")
        return plaintext

    def current_version(self) -> int:
        """Return the version, from 1, of the key that new wraps are under. Raises WrapperUnavailableError."""
        told = self._ask("GET", f"{self._mount}/keys/{self._key}")
        version = transit.count(told, "data", "latest_version")
        if not version:
            raise self._unavailable("unexpected")
        if transit.member(told, "data", "soft_deleted") is True:
            raise self._unavailable("missing_key")
        # A derived key wants its context elsewhere, and a convergent one shows which plaintexts are equal.
        derived = transit.member(told, "data", "derived")
        if transit.member(told, "data", "type") not in _TYPES or derived is not False:
            raise self._unavailable("key_type")
        return version

    def rewrap_needed(self, wrapped: bytes) -> bool:
        """Say whether the key was rotated since: wrapping anew moves what was wrapped to its newest version.

        Raises DecryptionError for what no wrapper of this kind returned, WrapperUnavailableError as wrap.
        """
        version = transit.version_of(wrapped)
        if version is None:
            raise DecryptionError
        return version < self.current_version()

    def rotate(self) -> None:
        """Make the next version of the key. Raises WrapperUnavailableError as wrap."""
        self._order(f"{self._mount}/keys/{self._key}/rotate", {})

    def oldest_version(self) -> int:
        """Return the oldest version that still opens anything. Raises WrapperUnavailableError as wrap."""
        told = self._ask("GET", f"{self._mount}/keys/{self._key}")
        version = transit.count(told, "data", "min_decryption_version")
        if version is None:
            raise self._unavailable("unexpected")
        return version

    def end_versions_before(self, version: int) -> None:
        """Have the server delete every version of the key before ``version``, for good.

        What was sealed under one of them opens nowhere again, whoever sealed it; copies
        of the server's storage may still hold them. Raises WrapperUnavailableError as wrap.
        """
        place = f"{self._mount}/keys/{self._key}"
        self._order(f"{place}/config", {"min_decryption_version": version, "min_encryption_version": version})
        self._order(f"{place}/trim", {"min_available_version": version})

    def renew(self) -> int:
        """Prolong the token; return the seconds until the next call is due, half of what the token has left.

        0 is never: it does not expire. One that cannot be prolonged is no error until
        it is over. Raises WrapperUnavailableError: denied (it is over), missing_namespace,
        sealed, tls, unexpected, unreachable.
        """
        answer = self._exchange("POST", "auth/token/renew-self", SecretBytes(b"{}"))
        if answer.status not in {_OK, _BAD_REQUEST}:
            raise refusal(answer, self._description)
        lease = transit.count(answer.body, "auth", "lease_duration") if answer.status == _OK else 0
        if lease == 0:
            # Not prolonged, and why is said in other words for each kind of token. What it has left is not.
            told = self._ask("GET", "auth/token/lookup-self")
            lease = transit.count(told, "data", "ttl")
            if lease == 0 and transit.member(told, "data", "expire_time") is None:
                return 0
        if lease is None:
            raise self._unavailable("unexpected")
        return max(1, lease // 2)

    def _require_bound(self, wrapped: bytes, context: bytes) -> None:
        """Have the server refuse ``wrapped`` in another context, as one that ignores contexts would not."""
        try:
            self.unwrap(wrapped, context + b"\x00")
        except DecryptionError:
            return
        raise self._unavailable("not_bound")

    def _ask(self, method: str, path: str, body: SecretBytes | None = None) -> SecretBytes:
        answer = self._exchange(method, path, body)
        if answer.status != _OK:
            raise refusal(answer, self._description)
        return answer.body

    def _order(self, path: str, members: Mapping[str, int]) -> None:
        """Have the server change the key; whatever it tells about it is not looked at."""
        answer = self._exchange("POST", path, SecretBytes(json.dumps(members).encode()))
        if answer.status not in {_OK, _NO_CONTENT}:
            raise refusal(answer, self._description)

    def _exchange(self, method: str, path: str, body: SecretBytes | None) -> Answer:
        answer = self._server.send(self._token, method, path, body)
        if isinstance(answer, str):
            raise self._unavailable(answer)
        return answer

    def _unavailable(self, rule: str) -> WrapperUnavailableError:
        return unavailable(rule, self._description)


def unwrap_token(
    address: str, wrapping_token: SecretText, *, namespace: str | None = None, ca_file: Path | None = None
) -> SecretText:
    """Return the token that ``wrapping_token`` stands for, which opens it this once.

    Raises MalformedError and WrapperUnavailableError as OpenBaoWrapper does, and
    wrapping_token_used: it was opened before, is over, or never was one.
    """
    server = _Server(address, namespace, ca_file)
    about = f"OpenBao {server.address}"
    answer = server.send(
        transit.checked_token(wrapping_token), "POST", "sys/wrapping/unwrap", SecretBytes(b"{}")
    )
    if isinstance(answer, str):
        raise unavailable(answer, about)
    if answer.status != _OK:
        error = refusal(answer, about)
        if isinstance(error, WrapperUnavailableError) and error.rule == "denied":
            # Opening takes no policy, so a server that denies it does not know the token: say the worse.
            error = unavailable("wrapping_token_used", error.message)
        raise error
    token = transit.token_in(answer.body)
    if token is None:
        raise unavailable("unexpected", about)
    return token


def read_token(path: Path, *, what: str = "token file") -> SecretText:
    """Return the token in a file of its owner alone: one line, with or without a line feed at its end.

    Raises WrapperUnavailableError: missing, not_regular, permissions, unreadable, format.
    """
    anew = f"write the {what.removesuffix(' file')} to it, one line, mode 0600"
    token = transit.token_of(read_private(path, what=what, limit=transit.MAX_TOKEN + 1, anew=anew))
    if token is None:
        raise fault("format", f"{what} {path}", anew)
    return token


def _received(response: httpx2.Response) -> Answer | str:
    """Return the answer as it came, never unpacked: what is packed small may be large."""
    content = bytearray()
    for piece in response.iter_raw():
        content += piece
        if len(content) > MAX_ANSWER:
            return "unexpected"
    return Answer(response.status_code, SecretBytes(bytes(content)))


def _checked_address(address: str) -> str:
    """Return scheme, host and port. Raises outside of the handler, whose error quotes the address."""
    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    rest = (url.userinfo, url.query, url.fragment, url.path.strip("/"))
    if url.scheme not in {"http", "https"} or not url.host or any(rest):
        raise MalformedError("address")
    base = f"{url.scheme}://{url.netloc.decode()}"
    if url.scheme == "http" and not _is_loopback(url.host):
        raise unavailable("plaintext", f"OpenBao {base}")
    return base


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _trust(ca_file: Path | None, *, tls: bool) -> ssl.SSLContext:
    """Return what is trusted: by hand, for the usual one logs its keys where the environment says."""
    if tls and ca_file is None:
        return httpx2.create_ssl_context(trust_env=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError:
            raise WrapperUnavailableError("ca_file", f"CA file {ca_file}") from None
    return context


def _is_tls(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None
