"""The peer: OpenBao's transit engine, as a server, set up as its makers would for this work.

Raft storage, a file audit device, the limits of JSON raised for a thousand
items, one thread for one core, and a token that a policy limits to the two
paths. Transit stores nothing, and its audit file is written, not flushed.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.figures import PEER
from bench.furnish import BATCH
from bench.machine import RefusedError, on_cores
from bench.processes import System, answers, call, free_port, running

VARIABLE: Final = "PIIVAULT_BENCH_BAO"

CONFIGURATION: Final = """\
storage "raft" {{
  path = "{folder}/data"
  node_id = "bench"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
  max_request_json_strings = 100000
  max_request_json_memory = 104857600
}}
audit "file" "bench" {{
  options = {{ file_path = "{folder}/audit.log" }}
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
"""

POLICY: Final = """\
path "transit/encrypt/bench" { capabilities = ["update"] }
path "transit/decrypt/bench" { capabilities = ["update"] }
"""

SEALED: Final = (200, 429, 472, 473, 501, 503)
"""Statuses of a server that is up, in whatever state."""


def find_bao() -> str | None:
    """Return the path of ``bao``, or None. Raises RefusedError when the variable names none."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return shutil.which("bao")
    if not os.access(named, os.X_OK):
        raise RefusedError(f"{VARIABLE} does not name a program")
    return named


@contextmanager
def serving_peer(bao: str, folder: Path, *, core: int) -> Iterator[System]:
    """Serve OpenBao on ``core``."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    (folder / "data").mkdir(parents=True)
    configuration = folder / "openbao.hcl"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, port=port, cluster_port=free_port()), encoding="utf-8"
    )
    with (
        on_cores(core),
        running(
            [bao, "server", f"-config={configuration}"],
            folder / "server.log",
            environment={"GOMAXPROCS": "1"},
            ready=partial(answers, f"{base}/v1/sys/health", statuses=SEALED),
        ) as pid,
    ):
        token = _open(base)
        yield System(PEER, base, (pid,), lambda: ("X-Vault-Token", token))


def encrypt(system: System, values: list[str]) -> list[str]:
    """Return the ciphertexts of ``values``."""
    name, value = system.credential()
    found: list[str] = []
    for start in range(0, len(values), BATCH):
        batch = [
            {"plaintext": base64.b64encode(text.encode()).decode()} for text in values[start : start + BATCH]
        ]
        url = f"{system.base}/v1/transit/encrypt/bench"
        answer = call(url, {"batch_input": batch}, headers={name: value})
        found += [item["ciphertext"] for item in answer["data"]["batch_results"]]
    return found


def decrypt(system: System, ciphertexts: list[str]) -> list[str]:
    """Return what ``ciphertexts``, a batch at most, stand for."""
    name, value = system.credential()
    batch = [{"ciphertext": text} for text in ciphertexts]
    url = f"{system.base}/v1/transit/decrypt/bench"
    answer = call(url, {"batch_input": batch}, headers={name: value})
    return [base64.b64decode(item["plaintext"]).decode() for item in answer["data"]["batch_results"]]


def _open(base: str) -> str:
    """Initialise, unseal and set up transit; return a token that may encrypt and decrypt, nothing else."""
    started = call(f"{base}/v1/sys/init", {"secret_shares": 1, "secret_threshold": 1}, method="PUT")
    call(f"{base}/v1/sys/unseal", {"key": started["keys"][0]}, method="PUT")
    while not answers(f"{base}/v1/sys/health"):
        pass
    root: dict[str, Any] = {"headers": {"X-Vault-Token": started["root_token"]}}
    call(f"{base}/v1/sys/mounts/transit", {"type": "transit"}, **root)
    call(f"{base}/v1/transit/keys/bench", {"type": "aes256-gcm96"}, **root)
    call(f"{base}/v1/sys/policies/acl/bench", {"policy": POLICY}, method="PUT", **root)
    made = call(f"{base}/v1/auth/token/create", {"policies": ["bench"], "no_default_policy": True}, **root)
    token: str = made["auth"]["client_token"]
    return token


def version_of(bao: str) -> str:
    """Return the version of the peer."""
    told = subprocess.run([bao, "version"], check=True, capture_output=True, text=True)
    return told.stdout.removeprefix("OpenBao ").partition(" ")[0].strip(" ,\n")
