"""A vault behind the real server, on either database, with a service that may do everything: to be killed."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from cli.demo.cast import COMMUNICATION, MEMBER_FIELDS, Cast
from cli.demo.host import COMMAND, Host
from cli.remote.server import Server
from vault.domain.model import Reveal

ACTIONS = ("token:tokenize", "token:detokenize")


class KillableHost(Host):
    """The demo's host, on the database it is given, with an end without notice."""

    def __init__(self, database_url: str, *, prefix: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._database_url = database_url
        self._prefix = prefix
        """What stands before the command: a tracer."""

    def initialise(self, *, administrator: str, officer: str) -> dict[str, Any]:
        """Run ``piivault init``."""
        arguments = ["init", "--home", str(self.home), "--policy", str(self.work / "policy.toml"), "--json"]
        arguments += ["--administrator", administrator, "--officer", officer]
        if self._database_url:
            arguments += ["--database-url", self._database_url]
        ran = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True)
        told: dict[str, Any] = json.loads(ran.stdout)
        return told

    def start(self) -> None:
        """Start ``piivault serve`` and return when it is ready."""
        arguments = ["serve", "--home", str(self.home), "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [*self._prefix, *COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self._is_ready():
            assert self._server.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "the server is not ready"
            time.sleep(0.05)

    def kill(self) -> None:
        """End the server as the kernel does when memory is short."""
        assert self._server is not None
        self._server.send_signal(signal.SIGKILL)
        self._server.wait()
        self._server = None


class KillableTown:
    """The server with people and a service. Closed by ``with``."""

    def __init__(self, database_url: str, *, prefix: tuple[str, ...] = ()) -> None:
        self.host = KillableHost(database_url, prefix=prefix)
        self.cast = Cast(self.host.url)

    def __enter__(self) -> Self:
        told = self.host.initialise(administrator="mina:김민아", officer="junseo:박준서")
        self.host.start()
        cast = self.cast
        cast.enter(cast.administrator, told["administrator"]["invitation"])
        cast.enter(cast.officer, told["officer"]["invitation"])
        cast.create_services()
        holder = ("service", str(cast.shop["service_id"]))
        cast.approve(cast.propose(holder, ACTIONS, MEMBER_FIELDS, purpose=COMMUNICATION, reveal=Reveal.PLAIN))
        return self

    def __exit__(self, *exc: object) -> None:
        self.host.stop()
        self.host.remove()

    @property
    def home(self) -> Path:
        """Where the vault is."""
        return self.host.home

    def shop(self) -> Server:
        """Return a connection of the service."""
        return self.cast.service(self.cast.shop)


def tokenize(server: Server, values: list[str], key: str = "") -> dict[str, Any]:
    """Swap phone numbers; return the evidence of the answer."""
    items = [{"field": "member.phone", "value": value} for value in values]
    body = server.post(
        "/v1/tokenize", {"purpose": COMMUNICATION, "items": items}, idempotency_key=key or None
    ).body
    tokens = [item["token"] for item in body["items"]]
    return _evidence("tokenize", body, list(zip(tokens, values, strict=True)))


def detokenize(server: Server, tokens: list[str]) -> dict[str, Any]:
    """Open tokens; return the evidence of the answer."""
    items = [{"token": token} for token in tokens]
    body = server.post("/v1/detokenize", {"purpose": COMMUNICATION, "reveal": "plain", "items": items}).body
    pairs = [(item["token"], item["value"]) for item in body["items"]]
    return _evidence("detokenize", body, pairs)


def _evidence(act: str, body: dict[str, Any], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    return {"act": act, "index": body["log_index"], "leaf": body["leaf_hash"], "pairs": pairs}
