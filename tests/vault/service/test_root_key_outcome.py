"""A root key whose commit nobody has confirmed: what may open the vault is not taken away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conformance.counter import Counter
from tests.support.cutting_proxy import CuttingProxy
from tests.support.faults import superuser
from tests.vault.service.conftest import Fragile
from tests.vault.storage.test_lost_answers import await_true, cancelling_the_wait
from vault.assembly import Sealing, change_root_key
from vault.assembly.rootkeys import RootChange
from vault.domain.errors import OutcomeUnknownError
from vault.storage.database import Database
from vault.storage.roots import read_roots

COMMIT = b"COMMIT\0"


class Lonely:
    """A vault whose server waits, when told, for a synchronous standby that is not there."""

    def __init__(self, counter: Counter, proxy: CuttingProxy, url: str) -> None:
        self._counter = counter
        self.proxy = proxy
        self.url = url

    def wait_for_nobody(self) -> None:
        with superuser(self.url) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nowhere'")
            _reload(connection, "nowhere")

    def wait_no_longer(self) -> None:
        with superuser(self.url) as connection:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            _reload(connection, "")

    def change(self, announce: Callable[[], None]) -> RootChange:
        settings, clock = self._counter.furnished.settings, self._counter.furnished.clock
        return change_root_key(settings, Sealing(), lambda _change: announce(), clock=clock)

    def in_force(self) -> int:
        database = Database.open(self.url)
        with database.reading() as connection:
            (version,) = {row.version for row in read_roots(connection) if row.state == "active"}
        database.close()
        return version

    def has_file(self, version: int) -> bool:
        name = "root.key" if version == 1 else f"root-{version}.key"
        return (self._counter.furnished.settings.home / "keys" / name).exists()


def _reload(connection: psycopg.Connection, names: str) -> None:
    connection.execute("SELECT pg_reload_conf()")
    await_true(connection, f"SELECT current_setting('synchronous_standby_names') = '{names}'")


@pytest.fixture
def lonely(fragile: Fragile, tmp_path: Path) -> Iterator[Lonely]:
    """Its line can be cut, and the server answers again afterwards."""
    url = fragile.url()
    with CuttingProxy(fragile.cluster.folder) as proxy:
        counter = fragile.open(tmp_path / "home", proxy.url(url))
        lonely = Lonely(counter, proxy, url)
        yield lonely
        lonely.wait_no_longer()
        counter.close()


def test_a_commit_that_is_still_under_way_is_waited_for(lonely: Lonely) -> None:
    """The new root key comes into force after its connection was lost: its file is needed."""

    def confirm_once_somebody_looks() -> None:
        with superuser(lonely.url) as connection:
            waiting = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            await_true(connection, f"SELECT count(*) = 1 {waiting}")
        lonely.wait_no_longer()

    standby = threading.Thread(target=confirm_once_somebody_looks)

    def cut_at_the_commit() -> None:
        lonely.wait_for_nobody()
        lonely.proxy.lose_connection(COMMIT)
        standby.start()

    try:
        changed = lonely.change(cut_at_the_commit)
    finally:
        standby.join()
    assert (changed.new, lonely.in_force(), lonely.has_file(2)) == (2, 2, True)


def test_what_stays_under_way_leaves_every_file(lonely: Lonely, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_at_the_commit() -> None:
        lonely.wait_for_nobody()
        lonely.proxy.lose_connection(COMMIT)

    monkeypatch.setattr("vault.storage.database.LOCK_TIMEOUT_MS", 100)
    with pytest.raises(OutcomeUnknownError, match="cannot be told now: keep every key file"):
        lonely.change(cut_at_the_commit)
    lonely.wait_no_longer()
    assert (lonely.has_file(1), lonely.has_file(2)) == (True, True)


def test_without_the_word_of_the_standby_both_root_keys_are_kept(lonely: Lonely) -> None:
    """A failover may bring the old one back."""
    with pytest.raises(OutcomeUnknownError, match="failover may bring the old one back: keep every key file"):
        cancelling_the_wait(lonely.url, lambda: lonely.change(lonely.wait_for_nobody))
    assert (lonely.in_force(), lonely.has_file(1), lonely.has_file(2)) == (2, True, True)
