"""A host of the demo's own: a folder, and a real server process in it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx2

from cli.demo_data import FILES
from vault.domain.errors import UnavailableError

START_S: Final = 60.0
STOP_S: Final = 20.0

COMMAND: Final = (sys.executable, "-P", "-m", "cli")
"""The command under this very interpreter; -P: nothing from the current folder takes its place."""


class Host:
    """A folder nobody else may read, with the files of the demo and a vault; ``start`` serves it."""

    def __init__(self) -> None:
        self.work: Final = Path(tempfile.mkdtemp(prefix="piivault-demo-"))
        self.home: Final = self.work / "home"
        self.log: Final = self.work / "server.log"
        self.port: Final = _free_port()
        self.url: Final = f"http://127.0.0.1:{self.port}"
        self._server: subprocess.Popen[bytes] | None = None
        for name, content in FILES.items():
            (self.work / name).write_text(content(), encoding="utf-8", newline="\n")

    @property
    def database(self) -> Path:
        """The embedded database."""
        return self.home / "data" / "vault.db"

    def initialise(self, *, administrator: str, officer: str) -> dict[str, Any]:
        """Run ``piivault init`` and return what it printed. Raises UnavailableError."""
        arguments = ["init", "--home", str(self.home), "--policy", str(self.work / "policy.toml")]
        arguments += ["--administrator", administrator, "--officer", officer, "--json"]
        ran = subprocess.run(  # noqa: S603 - our own command
            [*COMMAND, *arguments], env=_environment(), capture_output=True, text=True, check=False
        )
        if ran.returncode != 0:
            raise UnavailableError(f"init failed: {_last_line(ran.stderr)}")
        told: dict[str, Any] = json.loads(ran.stdout)
        return told

    def start(self) -> None:
        """Start ``piivault serve`` and return when it is ready. Raises UnavailableError."""
        arguments = ["serve", "--home", str(self.home), "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            # In a session of its own: an interrupt at the keyboard is for the demo, which stops it in order.
            self._server = subprocess.Popen(  # noqa: S603 - our own command
                [*COMMAND, *arguments],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                told = _last_line(self.log.read_text(encoding="utf-8", errors="replace"))
                raise UnavailableError(f"the server did not start: {told}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server in order, if one runs."""
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def leave(self) -> int:
        """Let the server go on without the demo; return its process id."""
        server, self._server = self._server, None
        if server is None:
            return 0
        # Nobody will wait for it: its end is for whoever kills it.
        server.returncode = 0
        return server.pid

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.work, ignore_errors=True)

    def settle(self) -> None:
        """Return when the signed tree covers every entry: a second at most. Raises UnavailableError."""
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            lines = httpx2.get(f"{self.url}/metrics", trust_env=False).text.splitlines()
            if "piivault_log_unintegrated_entries 0" in lines:
                return
            time.sleep(0.1)
        raise UnavailableError("the log was not integrated in time")

    def _is_ready(self) -> bool:
        with suppress(httpx2.HTTPError):
            return httpx2.get(f"{self.url}/readyz", trust_env=False).is_success
        return False


def _environment() -> dict[str, str]:
    """Return the environment without settings of the vault: the demo's are its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PIIVAULT_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
