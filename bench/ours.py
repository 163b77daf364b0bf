"""The product under test: ``piivault serve`` in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench.furnish import PURPOSE, REASON, Site
from bench.machine import RefusedError, on_cores
from bench.processes import System, answers, basic, call, free_port, running

COMMAND: Final = Path(sys.executable).with_name("piivault")
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


@contextmanager
def serving(
    name: str, site: Site, *, cores: tuple[int, ...], database: int | None = None, workers: int = 1
) -> Iterator[System]:
    """Serve the vault of ``site`` on ``cores``; ``database`` is the process id of its PostgreSQL."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with (
        on_cores(*cores),
        running(
            [
                *(str(COMMAND), "serve", "--home", str(site.settings.home)),
                *("--port", str(port), "--workers", str(workers)),
            ],
            site.settings.home / "server.log",
            environment={},
            ready=partial(answers, f"{base}/readyz"),
        ) as pid,
    ):
        pids = (pid,) if database is None else (pid, database)
        yield System(name, base, pids, partial(access_token, base, site))


def access_token(base: str, site: Site) -> tuple[str, str]:
    """Return the header of a fresh access token, good for ten minutes."""
    headers = FORM | {"Authorization": basic(site.client_id, site.client_secret)}
    issued = call(f"{base}/oauth2/token", b"grant_type=client_credentials", headers=headers)
    return "Authorization", f"Bearer {issued['access_token']}"


def reveal(system: System, header: tuple[str, str], tokens: list[str]) -> list[str]:
    """Return the values of ``tokens``. Raises RefusedError unless every one of them comes back."""
    items = [{"token": token} for token in tokens]
    body = {"purpose": PURPOSE, "reason": REASON, "reveal": "plain", "items": items}
    found = call(f"{system.base}/v1/detokenize", body, headers=dict([header]))["items"]
    if [item.get("token") for item in found] != tokens or not all(item.get("value") for item in found):
        raise RefusedError("the server did not give every value back")
    return [item["value"] for item in found]
