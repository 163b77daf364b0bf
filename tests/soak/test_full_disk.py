"""A disk that is really full: a small one, mounted for the test, which only root can do.

`make test` has the same errors without the disk (tests/vault/service/test_outages.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.counter import Counter, phone
from tests.support.faults import superuser, told
from tests.support.furnished import Furnished, copy, furnish, phones
from tests.support.postgres import PostgresCluster, server_user
from vault.domain.errors import UnavailableError

pytestmark = pytest.mark.soak

VALUE = "010-7777-1234"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of a few megabytes."""
    assert os.geteuid() == 0, "to fill a disk, a small one has to be mounted: run as root"
    # Not beneath the test's own folder: PostgreSQL's user has to reach it.
    point = Path("/tmp") / f"pv-disk-{os.getpid()}"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0777", "tmpfs", str(point)], check=True)
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)
    point.rmdir()


def fill(disk: Path, *, leave: int) -> Path:
    """Fill ``disk`` but for ``leave`` bytes; deleting the file makes room again."""
    filler = disk / "filler"
    room = shutil.disk_usage(disk).free - leave
    with filler.open("wb") as file:
        file.write(bytes(max(room, 0)))
    return filler


def work_until_full(counter: Counter) -> UnavailableError:
    """Swap values until there is no room."""

    def work() -> None:
        for at in range(200):
            counter.tokenize(*map(phone, phones(200, start=200 * at)))

    with pytest.raises(UnavailableError) as caught:
        work()
    return caught.value


def check_full_and_recovering(counter: Counter, token: str, disk: Path) -> None:
    filler = fill(disk, leave=300_000)
    error = work_until_full(counter)
    assert "010-" not in told(error).replace(VALUE, "")
    for _ in range(3):
        with pytest.raises(UnavailableError):
            counter.tokenize(*map(phone, phones(500, start=90_000)), key="key-1")
    filler.unlink()
    done = counter.tokenize(*map(phone, phones(500, start=90_000)), key="key-1")
    assert "replayed" not in done
    assert counter.detokenize(token)["items"][0]["value"] == VALUE
    counter.verify_log()


def test_full_disk_under_sqlite_is_unavailable_until_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    furnished = furnish(tmp_path / "home")
    furnished.vault.close()
    counter = Counter(copy(furnished, small_disk / "home"))
    check_full_and_recovering(counter, counter.token(VALUE), small_disk)
    counter.close()


def test_full_disk_under_postgresql_is_unavailable_until_there_is_room(
    small_disk: Path, tmp_path: Path, own_postgres: PostgresCluster
) -> None:
    url = own_postgres.create_database()
    furnished: Furnished = furnish(tmp_path / "home", url)
    user = server_user()
    space = small_disk / "space"
    space.mkdir()
    os.chown(space, user.uid or 0, user.gid or 0)
    with superuser(url) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
        for table in ("token", "log_entry"):
            connection.execute(f"ALTER TABLE {table} SET TABLESPACE small")
    counter = Counter(furnished)
    check_full_and_recovering(counter, counter.token(VALUE), small_disk)
    counter.close()
