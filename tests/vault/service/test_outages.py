"""The database goes away, answers get lost, disks fill up: nothing is revealed, and it goes on by itself."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from tests.conformance.counter import Counter, phone
from tests.support.cutting_proxy import CuttingProxy
from tests.support.faults import superuser, terminate_others, told
from tests.support.furnished import phones
from tests.vault.service.conftest import Fragile
from vault.domain.errors import ConflictError, OutcomeUnknownError, UnavailableError
from vault.storage import tables

VALUE = "010-7777-1234"
COMMIT = b"COMMIT\0"


def rows(counter: Counter) -> dict[str, int]:
    """Count what a request writes."""
    with counter.vault.changes.database.reading() as connection:
        return {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (tables.token, tables.subject, tables.data_key, tables.log_entry, tables.idempotency)
        }


def require_whole(counter: Counter) -> None:
    """Check that every token has its subject and key, and that the log verifies."""
    with counter.vault.changes.database.reading() as connection:
        orphans = connection.execute(
            select(tables.token.c.id).where(
                tables.token.c.subject_id.not_in(select(tables.subject.c.id))
                | tables.token.c.subject_id.not_in(select(tables.data_key.c.subject_id))
            )
        ).all()
    assert orphans == []
    counter.verify_log()


def refused(act: Callable[[], object], kind: type[UnavailableError] = UnavailableError) -> UnavailableError:
    """Check that ``act`` is unavailable and says no value; return the error."""
    with pytest.raises(kind) as caught:
        act()
    assert VALUE not in told(caught.value)
    return caught.value


@pytest.fixture
def line(fragile: Fragile, tmp_path: Path) -> Iterator[tuple[Counter, CuttingProxy]]:
    """A vault on a line that can be cut."""
    with CuttingProxy(fragile.cluster.folder) as proxy:
        counter = fragile.open(tmp_path / "home", proxy.url(fragile.url()))
        yield counter, proxy
        counter.close()


def test_stopped_server_reveals_and_writes_nothing_and_recovers_without_a_restart(
    fragile: Fragile, tmp_path: Path
) -> None:
    counter = fragile.open(tmp_path / "home", fragile.url())
    token = counter.token(VALUE)
    before = rows(counter)
    fragile.cluster.stop()
    try:
        for _ in range(2):
            refused(lambda: counter.detokenize(token))
            refused(lambda: counter.tokenize(phone("010-7777-0000")))
            refused(lambda: counter.search("member.phone", VALUE))
            refused(lambda: counter.revoke(token))
            refused(counter.vault.status)
            refused(lambda: counter.furnished.login("minji"))
        counter.vault.upkeep.round()
        assert counter.vault.upkeep.health.trouble == "unavailable"
    finally:
        fragile.cluster.start()
    assert rows(counter) == before
    assert counter.detokenize(token)["items"][0]["value"] == VALUE
    counter.furnished.login("minji")
    require_whole(counter)
    counter.close()


def test_lost_answer_of_a_tokenize_is_unknown_and_its_key_finds_it(
    line: tuple[Counter, CuttingProxy],
) -> None:
    counter, proxy = line
    proxy.lose_answer(COMMIT)
    refused(lambda: counter.tokenize(phone(VALUE), key="key-1"), OutcomeUnknownError)
    assert rows(counter)["token"] == 1
    answers = [counter.tokenize(phone(VALUE), key="key-1") for _ in range(2)]
    assert [answer["replayed"] for answer in answers] == [True, True]
    assert rows(counter)["token"] == 1
    assert counter.detokenize(answers[0]["items"][0]["token"])["items"][0]["value"] == VALUE
    require_whole(counter)


def test_lost_answer_of_a_tokenize_without_a_key_is_unknown(line: tuple[Counter, CuttingProxy]) -> None:
    counter, proxy = line
    proxy.lose_answer(COMMIT)
    refused(lambda: counter.tokenize(phone(VALUE)), OutcomeUnknownError)
    assert rows(counter)["token"] == 1
    require_whole(counter)


def test_lost_commit_of_a_tokenize_is_unknown_and_its_key_does_it_once(
    line: tuple[Counter, CuttingProxy],
) -> None:
    counter, proxy = line
    proxy.lose_request(COMMIT)
    refused(lambda: counter.tokenize(phone(VALUE), key="key-1"), OutcomeUnknownError)
    assert rows(counter)["token"] == 0
    answer = counter.tokenize(phone(VALUE), key="key-1")
    assert "replayed" not in answer
    assert counter.tokenize(phone(VALUE), key="key-1")["items"] == answer["items"]
    assert rows(counter)["token"] == 1
    require_whole(counter)


def test_lost_answer_of_a_detokenize_reveals_nothing_and_its_entry_is_there(
    line: tuple[Counter, CuttingProxy],
) -> None:
    counter, proxy = line
    token = counter.token(VALUE)
    index = counter.next_index()
    # The statement that appends and commits is prepared by now; what it carries is the entry.
    proxy.lose_answer(b'"action":"token:detokenize"')
    refused(lambda: counter.detokenize(token), OutcomeUnknownError)
    assert proxy.cuts == 1
    assert counter.entry(index).action == "token:detokenize"
    assert counter.detokenize(token)["items"][0]["value"] == VALUE
    require_whole(counter)


def test_connection_lost_before_the_commit_is_certain_and_nothing_is_there(
    line: tuple[Counter, CuttingProxy],
) -> None:
    counter, proxy = line
    before = rows(counter)
    proxy.lose_answer(b"COPY token")
    error = refused(lambda: counter.tokenize(phone(VALUE)))
    assert not isinstance(error, OutcomeUnknownError)
    assert rows(counter) == before
    counter.token(VALUE)
    require_whole(counter)


def test_lost_answer_off_the_hot_path_is_unknown_and_the_log_goes_on_whole(
    line: tuple[Counter, CuttingProxy],
) -> None:
    counter, proxy = line
    admin = counter.actor("admin")
    proxy.lose_answer(COMMIT)
    refused(
        lambda: counter.vault.keys.list(counter.furnished.request(admin)),
        OutcomeUnknownError,
    )
    counter.vault.keys.list(counter.furnished.request(admin))
    require_whole(counter)


def test_backends_killed_at_any_moment_make_no_duplicate(fragile: Fragile, tmp_path: Path) -> None:
    url = fragile.url()
    counter = fragile.open(tmp_path / "home", url)
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.005):
            terminate_others(url)

    killer = threading.Thread(target=kill)
    killer.start()
    values = phones(60)
    answers, troubles = [], 0
    for number, value in enumerate(values):
        while True:
            try:
                answers.append(counter.tokenize(phone(value), key=f"key-{number}"))
                break
            except (UnavailableError, ConflictError):
                troubles += 1
    stop.set()
    killer.join()
    assert troubles > 0
    assert rows(counter)["token"] == len(values)
    tokens = [answer["items"][0]["token"] for answer in answers]
    assert len(set(tokens)) == len(values)
    # The last signal may still be under way.
    opened = eventually_served(lambda: counter.detokenize(*tokens))
    assert [item["value"] for item in opened["items"]] == list(values)
    require_whole(counter)
    counter.close()


def eventually_served(ask: Callable[[], Any]) -> Any:
    for _ in range(20):
        with suppress(UnavailableError):
            return ask()
        time.sleep(0.05)
    return ask()


@pytest.mark.parametrize("table", ["token", "log_entry", "idempotency"])
def test_postgresql_that_has_no_room_is_unavailable_until_it_has(
    fragile: Fragile, tmp_path: Path, table: str
) -> None:
    """As the server says it (53100), where a disk of its own cannot be had; `make soak` fills a real one."""
    url = fragile.url()
    counter = fragile.open(tmp_path / "home", url)
    before = rows(counter)
    full = "BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END"
    with superuser(url) as connection:
        connection.execute(f"CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $${full}$$")
        connection.execute(f"CREATE TRIGGER f BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()")
    for _ in range(2):
        error = refused(lambda: counter.tokenize(phone(VALUE), key="key-1"))
        assert type(error) is UnavailableError
    assert rows(counter) == before
    with superuser(url) as connection:
        connection.execute(f"DROP TRIGGER f ON {table}")
    assert counter.detokenize(counter.tokenize(phone(VALUE), key="key-1")["items"][0]["token"])
    require_whole(counter)
    counter.close()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_sqlite_file_that_cannot_grow_reveals_and_writes_nothing_and_recovers(embedded: Counter) -> None:
    """The system refuses to write what a commit has to flush."""
    token = embedded.token(VALUE)
    database = Path(str(embedded.vault.changes.database.engine.url.database))
    log = database.with_name(database.name + "-wal")
    before = rows(embedded)
    with files_limited_to(log.stat().st_size + 1_000):
        for _ in range(3):
            refused(lambda: embedded.tokenize(phone("010-7777-0000"), key="key-1"))
            refused(lambda: embedded.detokenize(token))
            refused(lambda: embedded.revoke(token))
            refused(lambda: embedded.vault.keys.list(embedded.furnished.request(embedded.actor("admin"))))
        embedded.vault.upkeep.round()
        assert embedded.vault.upkeep.health.trouble != ""
    assert rows(embedded) == before
    assert embedded.detokenize(token)["items"][0]["value"] == VALUE
    assert "replayed" not in embedded.tokenize(phone("010-7777-0000"), key="key-1")
    embedded.vault.upkeep.round()
    require_whole(embedded)


def test_sqlite_database_that_is_full_is_unavailable_until_it_is_not(embedded: Counter) -> None:
    """SQLITE_FULL, as a full disk gives it."""
    token = embedded.token(VALUE)
    hot = embedded.vault.tokens._lane._connection
    held = hot._connection  # type: ignore[attr-defined]  # SQLite's
    pages = held.execute("PRAGMA page_count").fetchone()[0]
    held.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for value in phones(2_000):
            embedded.tokenize(phone(value))

    assert type(refused(fill)) is UnavailableError
    last = rows(embedded)
    assert type(refused(lambda: embedded.tokenize(*map(phone, phones(200)), key="key-1"))) is UnavailableError
    assert rows(embedded) == last
    held.execute("PRAGMA max_page_count = 1000000000")
    assert "replayed" not in embedded.tokenize(*map(phone, phones(200)), key="key-1")
    assert embedded.detokenize(token)["items"][0]["value"] == VALUE
    require_whole(embedded)


def test_database_that_somebody_else_holds_is_waited_for_and_then_unavailable(embedded: Counter) -> None:
    hot = embedded.vault.tokens._lane._connection
    token = embedded.token(VALUE)
    hot._connection.execute("PRAGMA busy_timeout = 50")  # type: ignore[attr-defined]  # SQLite's
    with embedded.vault.changes.database.writing() as connection:
        connection.execute(text("SELECT 1"))
        refused(lambda: embedded.detokenize(token))
    assert embedded.detokenize(token)["items"][0]["value"] == VALUE
    require_whole(embedded)
