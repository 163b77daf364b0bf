"""Server processes: started in the background, waited for, ended by their own id."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.machine import RefusedError, cpu_seconds

READY_S: Final = 60
STOP_S: Final = 30
QUIET: Final = 0.1
"""Share of a core below which a system counts as idle."""
SETTLE_S: Final = 10
LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class System:
    """Something that serves, and what it takes to ask it."""

    name: str
    base: str
    pids: tuple[int, ...]
    """Its processes and its database's; those below them count too."""
    credential: Callable[[], tuple[str, str]]
    """Return a header, name and value, that is good for the next minutes."""

    def settle(self) -> None:
        """Wait until it has done what it still had to do, for a while at most."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            before = cpu_seconds(self.pids)
            time.sleep(LOOK_S)
            if cpu_seconds(self.pids) - before < QUIET * LOOK_S:
                return


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    arguments: list[str], log: Path, *, environment: Mapping[str, str], ready: Callable[[], bool]
) -> Iterator[int]:
    """Run a server until the block is left; give its process id once ``ready`` says so."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(log.parent), **environment},
        )
    try:
        deadline = time.monotonic() + READY_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RefusedError(
                    f"{arguments[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}"
                )
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


def answers(url: str, *, statuses: tuple[int, ...] = (200,)) -> bool:
    """Say whether ``url`` is answered with one of ``statuses``."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback, our own
            return response.status in statuses
    except urllib.error.HTTPError as error:
        return error.code in statuses
    except OSError:
        return False


def call(
    url: str, body: object = None, *, method: str = "POST", headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Send ``body`` as JSON, or as it is when it is bytes; return the JSON object that comes back."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 - loopback, our own
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    if not request.has_header("Content-type"):
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
            text = response.read()
    except urllib.error.HTTPError as error:
        raise RefusedError(f"{method} {url}: {error.code} {error.read()[:300]!r}") from None
    answer: dict[str, Any] = json.loads(text) if text else {}
    return answer


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header of scheme Basic."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
