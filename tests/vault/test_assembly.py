"""Init makes a vault that only its owner can read, over nothing that was there, or leaves nothing."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from keys.keyring import rewrap_key
from keys.rootkey import RootSlot
from keys.wrappers.keyfile import KeyFileWrapper
from tests.support.faults import told
from tests.support.furnished import POLICY, START
from vault.access.roots import in_force, opened
from vault.access.staff import Person
from vault.assembly import Initialised, homes, initialise, migrate, open_vault
from vault.domain.errors import ConflictError, InvalidInputError, SealedError, UnavailableError
from vault.domain.model import Role
from vault.policy.policy import Policy
from vault.settings import FILE, Settings
from vault.storage import keys as key_rows
from vault.storage import tables
from vault.storage.database import Database
from vault.storage.errors import SchemaError
from vault.storage.migrate import downgrade
from vault.storage.roots import read_roots

CANARY = "canary-5d0e"
ADMINISTRATOR = Person(login="admin", name="Admin Park", role=Role.ADMINISTRATOR)
OFFICER = Person(login="officer", name="Officer Lee", role=Role.OFFICER)


def make(home: Path, url: str = "", officer: Person = OFFICER) -> Initialised:
    policy = Policy.parse(POLICY.read_text(encoding="utf-8"))
    return initialise(
        home,
        policy=policy,
        administrator=ADMINISTRATOR,
        officer=officer,
        database_url=url,
        now=START,
    )


def tree(home: Path) -> dict[str, str]:
    """Return what is in ``home``: mode by path."""
    return {
        str(path.relative_to(home)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in sorted(home.rglob("*"))
    }


def contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.fixture
def generous_umask() -> Iterator[None]:
    """A shell in which new files are everybody's."""
    before = os.umask(0)
    yield
    os.umask(before)


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    return "" if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.mark.usefixtures("generous_umask")
def test_everything_on_sqlite_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    vault = open_vault(make(home).settings)
    vault.upkeep.round()
    found = tree(home)
    vault.close()
    assert oct(stat.S_IMODE(home.stat().st_mode)) == "0o700"
    folders = dict.fromkeys(("data", "keys", "log"), "0o700")
    files = (
        "piivault.toml",
        "keys/root.key",
        *("data/vault.db", "data/vault.db-wal", "data/vault.db-shm"),
        *("log/checkpoint", "log/checkpoint.lock", "log/tombstones.head", "log/tombstones.lock"),
    )
    assert found == folders | dict.fromkeys(files, "0o600")


@pytest.mark.usefixtures("generous_umask")
def test_url_with_a_password_is_in_a_file_of_its_own(tmp_path: Path, postgres_url: str) -> None:
    home = tmp_path / "home"
    url = postgres_url.replace("postgres@", f"postgres:{CANARY}@")
    settings = make(home, url).settings
    assert settings.database_url == url
    assert tree(home)["data/database-url"] == "0o600"
    holding = [name for name, content in contents(home).items() if CANARY.encode() in content]
    assert holding == ["data/database-url"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_new_vault_opens_and_its_first_entry_is_its_making(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    made = make(tmp_path / "home", url_of(kind, request))
    vault = open_vault(made.settings)
    status = vault.status()
    vault.close()
    assert (status.next_index, status.sealed, status.database) == (1, False, kind)
    assert made.people.administrator.staff_id != made.people.officer.staff_id


def test_second_vault_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ConflictError):
        make(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["keys/root.key", "data/vault.db", "data/database-url"])
def test_what_an_earlier_vault_left_is_never_touched(tmp_path: Path, name: str) -> None:
    """The settings file may be lost and the key all that opens a database."""
    file = tmp_path / name
    file.parent.mkdir()
    file.write_text("precious")
    with pytest.raises(ConflictError, match=name):
        make(tmp_path)
    assert contents(tmp_path) == {name: b"precious"}


def test_second_vault_in_the_same_database_is_refused_and_leaves_the_first(
    tmp_path: Path, postgres_url: str
) -> None:
    first = make(tmp_path / "first", postgres_url)
    with pytest.raises(ConflictError):
        make(tmp_path / "second", postgres_url)
    assert not (tmp_path / "second").exists()
    open_vault(first.settings).close()


def wrong_officer() -> Person:
    return Person(login="officer", name="Officer Lee", role=Role.HANDLER)


def test_failure_leaves_no_folder_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        make(tmp_path / "home", officer=wrong_officer())
    assert list(tmp_path.iterdir()) == []
    make(tmp_path / "home")


def test_failure_leaves_a_folder_that_was_there_with_what_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InvalidInputError):
        make(tmp_path, officer=wrong_officer())
    assert contents(tmp_path) == {"note.txt": b"mine"}
    make(tmp_path)


def test_failure_on_postgresql_can_be_tried_again(tmp_path: Path, postgres_url: str) -> None:
    with pytest.raises(InvalidInputError):
        make(tmp_path / "home", postgres_url, officer=wrong_officer())
    open_vault(make(tmp_path / "home", postgres_url).settings).close()


@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1/x", "nonsense"])
def test_database_of_another_kind_leaves_nothing(tmp_path: Path, url: str) -> None:
    with pytest.raises(SchemaError):
        make(tmp_path / "home", url)
    assert list(tmp_path.iterdir()) == []


def test_database_that_does_not_answer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        make(tmp_path / "home", f"postgresql://vault:{CANARY}@/vault?host={tmp_path}/nowhere")
    assert CANARY not in told(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_login_for_two_people_is_refused(tmp_path: Path) -> None:
    same = Person(login="ADMIN", name="Officer Lee", role=Role.OFFICER)
    with pytest.raises(InvalidInputError, match="two people"):
        make(tmp_path / "home", officer=same)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_root_key_that_others_may_read_does_not_open(tmp_path: Path, mode: int) -> None:
    settings = make(tmp_path).settings
    settings.root_key.chmod(mode)
    with pytest.raises(UnavailableError, match="permissions"):
        open_vault(settings)
    settings.root_key.chmod(0o600)
    open_vault(settings).close()


def test_root_key_that_is_missing_does_not_open(tmp_path: Path) -> None:
    settings = make(tmp_path).settings
    settings.root_key.unlink()
    with pytest.raises(UnavailableError, match="root key"):
        open_vault(settings)


def test_root_key_of_another_vault_does_not_open(tmp_path: Path) -> None:
    settings = make(tmp_path / "one").settings
    other = make(tmp_path / "two").settings
    settings.root_key.write_bytes(other.root_key.read_bytes())
    with pytest.raises(UnavailableError):
        open_vault(settings)


def test_sealed_vault_does_not_open(tmp_path: Path) -> None:
    from sqlalchemy import update

    from vault.storage import tables

    settings = make(tmp_path).settings
    database = Database.open(settings.database_url)
    with database.writing() as connection:
        connection.execute(update(tables.counter).values(sealed=True))
    database.close()
    with pytest.raises(SealedError):
        open_vault(settings)


def _seal_with_the_key_file(database: Database, settings: Settings) -> None:
    """Put every key under the key file itself, as releases did that had no root key beside it."""
    file = KeyFileWrapper(settings.root_key)
    with database.writing() as connection:
        vault_id = database.counter(connection).vault_id
        row = in_force(read_roots(connection), RootSlot.LIVE)
        root, _ = opened(lambda _row: file, row, vault_id)
        for record in key_rows.read_keys(connection):
            old = rewrap_key(record, vault_id=vault_id, old=root, new=file)
            key_rows.replace_wrapped(connection, old)
        connection.execute(delete(tables.root_key))


def test_database_of_an_older_release_opens_once_it_is_migrated(tmp_path: Path) -> None:
    settings = make(tmp_path).settings
    database = Database.open(settings.database_url)
    _seal_with_the_key_file(database, settings)
    downgrade(database, to="0001")
    database.close()
    with pytest.raises(SchemaError, match="migrate"):
        open_vault(settings)
    migrate(settings)
    migrate(settings)
    open_vault(settings).close()


@pytest.mark.parametrize("blocked", ["keys", "data", "home"])
def test_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path, blocked: str) -> None:
    home = tmp_path / "home"
    if blocked == "home":
        home.write_text("a file")
    else:
        home.mkdir()
        (home / blocked).write_text("a file")
    before = contents(tmp_path)
    with pytest.raises(UnavailableError, match="written"):
        make(home)
    assert contents(tmp_path) == before


def test_file_that_somebody_put_there_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    """A link into nowhere is not there to those who look, and is to those who write."""
    (tmp_path / FILE).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflictError):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_vaults_made_in_one_folder_at_once_are_one_vault(tmp_path: Path) -> None:
    """The one that comes second takes nothing of the first away."""
    outcomes: list[str] = []

    def attempt() -> None:
        try:
            make(tmp_path / "home")
        except (ConflictError, UnavailableError) as error:
            outcomes.append(error.code)
        else:
            outcomes.append("made")

    threads = [threading.Thread(target=attempt) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("made") == 1
    open_vault(Settings.load(tmp_path / "home")).close()


def test_settings_name_the_root_key_that_init_made(tmp_path: Path) -> None:
    make(tmp_path)
    settings = Settings.load(tmp_path)
    assert settings.root_key == tmp_path / homes.ROOT_KEY
    assert settings.root_key.stat().st_size > 0
