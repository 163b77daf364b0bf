"""The flush comes before the response: seen from the system calls, on both databases.

Needs strace, which `.ci/run` installs. That the databases are set to flush, `make test` proves everywhere
(tests/vault/storage/test_database.py).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.town import KillableTown, detokenize, tokenize
from tests.soak.trace import Call, calls, strace
from tests.support.furnished import phones
from tests.support.postgres import PostgresCluster, find_binaries

pytestmark = pytest.mark.trace

REQUESTS = 8
RESPONSE = '"HTTP/1.1 200'
PAUSE_S = 0.05
"""Between requests, so that nothing of one is taken for the other's."""


@pytest.fixture
def traces() -> Iterator[Path]:
    """A folder into which servers of any user may write their traces."""
    folder = Path(tempfile.mkdtemp(prefix="pv-trace-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def traced_postgres(traces: Path) -> Iterator[PostgresCluster]:
    """A PostgreSQL whose system calls are written down."""
    binaries = find_binaries()
    wrapped = traces / "bin"
    wrapped.mkdir()
    wrapped.chmod(0o755)
    (wrapped / "initdb").symlink_to(binaries / "initdb")
    wrapper = wrapped / "postgres"
    tracer = " ".join(strace(traces / "postgresql"))
    wrapper.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -D ] || exec "{binaries}/postgres" "$@"\n'
        f'exec {tracer} "{binaries}/postgres" "$@"\n'
    )
    wrapper.chmod(0o755)
    with PostgresCluster(wrapped) as cluster:
        yield cluster


def work(town: KillableTown) -> tuple[float, float]:
    """Send requests one after another; return when the first began and the last was answered."""
    with town.shop() as server:
        (token, _), *_ = tokenize(server, list(phones(1)))["pairs"]
        time.sleep(PAUSE_S)
        began = time.time()
        for number in range(1, REQUESTS + 1):
            time.sleep(PAUSE_S)
            tokenize(server, list(phones(3, start=10 * number)))
            time.sleep(PAUSE_S)
            detokenize(server, [token])
        return began, time.time()


def between(found: list[Call], began: float, ended: float) -> list[Call]:
    return [call for call in found if began <= call.started <= ended]


def responses(found: list[Call]) -> list[Call]:
    """Return the calls that send the head of an answer."""
    return [call for call in found if call.writes and "<TCP" in call.arguments and RESPONSE in call.arguments]


def test_write_ahead_log_is_flushed_before_each_response_on_sqlite(traces: Path) -> None:
    with KillableTown("", prefix=strace(traces / "server")) as town:
        began, ended = work(town)
    found = between(calls(traces / "server"), began, ended)
    previous = began
    answers = responses(found)
    assert len(answers) == 2 * REQUESTS
    # The lane's own: upkeep integrates the log meanwhile, and its writes are flushed when it likes.
    writers = Counter(call.process for call in found if call.writes and "vault.db-wal" in call.arguments)
    (lane, _), *_ = writers.most_common(1)
    found = [call for call in found if call.process == lane or call in answers]
    for answer in answers:
        mine = [call for call in found if previous <= call.started <= answer.started]
        writes = [call for call in mine if call.writes and "vault.db-wal" in call.arguments]
        assert writes, "a response without a write to the log of the database"
        written = max(call.started for call in writes)
        flushes = [call for call in mine if call.flushes and "vault.db-wal" in call.arguments]
        assert any(written <= call.started and call.ended <= answer.started for call in flushes)
        previous = answer.started


def test_write_ahead_log_is_flushed_before_each_response_on_postgresql(
    traced_postgres: PostgresCluster, traces: Path
) -> None:
    with KillableTown(traced_postgres.create_database(), prefix=strace(traces / "server")) as town:
        began, ended = work(town)
    server = between(calls(traces / "server"), began, ended)
    backends = between(calls(traces / "postgresql"), began, ended)
    previous = began
    answers = responses(server)
    assert len(answers) == 2 * REQUESTS
    for answer in answers:
        mine = [call for call in backends if previous <= call.started <= answer.started]
        appends = [call for call in mine if call.name == "recvfrom" and "token:" in call.arguments]
        assert appends, "a response without an entry"
        # What its backend heard last before the answer is the commit, or the append that commits by itself.
        heard = [call for call in mine if call.name == "recvfrom" and (call.result or 0) > 0]
        told = max(call.started for call in heard if call.process == appends[-1].process)
        flushes = [call for call in mine if call.flushes and "pg_wal" in call.arguments]
        assert any(told <= call.started and call.ended <= answer.started for call in flushes)
        previous = answer.started
