"""A key whose row is gone or altered: the vault does not open, and says which key it is."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.engine import make_url

from keys.keyring import KeyKind
from keys.wrappers.keyfile import KeyFileWrapper
from tests.conformance.counter import PHONE, Counter
from tests.conformance.rotating import rotate
from tests.conformance.yard import drop_key_guard
from tests.support.sources import ROOT
from vault.assembly import Sealing, change_root_key
from vault.domain.errors import SealedError, UnavailableError
from vault.storage import tables


def _altered(wrapped: bytes) -> bytes:
    return wrapped[:-1] + bytes([wrapped[-1] ^ 1])


@pytest.mark.parametrize("kind", list(KeyKind))
def test_vault_without_a_key_of_a_kind_does_not_open_and_names_it(on_sqlite: Counter, kind: KeyKind) -> None:
    row = [dict(row) for row in on_sqlite.rows(tables.key, order_by="scope") if row["kind"] == kind.value][-1]
    named = {"kind": row["kind"], "scope": row["scope"]}
    name = f"{row['kind']}/{row['scope']}"
    with on_sqlite.vault.changes.database.writing() as connection:
        drop_key_guard(connection)
        altered = {"wrapped": _altered(bytes(row["wrapped"]))}
        connection.execute(update(tables.key).filter_by(**named).values(**altered))
    with pytest.raises(UnavailableError, match=f"not under it: {name}/1; put the rows back"):
        on_sqlite.furnished.reopen()
    with on_sqlite.vault.changes.database.writing() as connection:
        connection.execute(delete(tables.key).filter_by(**named))
    shown = name if kind is KeyKind.LOOKUP else f"{kind.value}/"
    with pytest.raises(UnavailableError, match=f"no key is in force of: {shown}; put the rows back"):
        on_sqlite.furnished.reopen()
    with on_sqlite.vault.changes.database.writing() as connection:
        connection.execute(insert(tables.key).values(**row))
    on_sqlite.furnished.reopen().close()


def test_rows_of_keys_that_contradict_each_other_are_refused(on_sqlite: Counter) -> None:
    rotate(on_sqlite, "session")
    with on_sqlite.vault.changes.database.writing() as connection:
        drop_key_guard(connection)
        connection.execute(update(tables.key).filter_by(kind="session").values(state="active"))
    with pytest.raises(UnavailableError, match=r"contradict each other \(.*two_active.*\); put"):
        on_sqlite.furnished.reopen()


def test_a_node_that_runs_names_the_key_in_its_log_alone_and_once(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    token = counter.token("010-1234-5678")
    with counter.vault.changes.database.writing() as connection:
        drop_key_guard(connection)
    counter.tamper(delete(tables.key).filter_by(kind="lookup", scope=PHONE))
    for _ in range(2):
        with pytest.raises(UnavailableError, match="see the server's log"):
            counter.detokenize(token)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert [text.partition(";")[0] for text in told] == [f"no key is in force of: lookup/{PHONE}"]


def test_rows_are_put_back_by_the_statements_in_the_documentation(on_sqlite: Counter, tmp_path: Path) -> None:
    token = on_sqlite.token("010-1234-5678")
    subject = on_sqlite.row_of(token)["subject_id"]
    page = (ROOT / "docs" / "operations" / "keys.md").read_text(encoding="utf-8")
    statements = page.partition("```sql\n")[2].partition("```")[0]
    statements = statements.replace("/srv/copy", str(tmp_path)).replace("42", str(subject))
    file = make_url(on_sqlite.furnished.settings.database_url).database
    assert file
    with closing(sqlite3.connect(file)) as database:
        database.execute("VACUUM INTO ?", (str(tmp_path / "vault.db"),))
        database.execute("DELETE FROM data_key")
        for lost in (
            "UPDATE key SET wrapped = x'00' WHERE kind = 'session'",
            "DELETE FROM key WHERE kind = 'session'",
        ):
            database.execute("DROP TRIGGER IF EXISTS key_stays")
            database.execute(lost)
            database.commit()
            with pytest.raises(UnavailableError, match="session/"):
                on_sqlite.furnished.reopen()
            database.executescript(statements)
            database.execute("DETACH copy")
    node = on_sqlite.node()
    assert on_sqlite.detokenize(token, at=node)["items"][0]["value"] == "010-1234-5678"


def test_a_root_key_of_another_holder_is_told_with_both_and_the_next_step(on_sqlite: Counter) -> None:
    path = on_sqlite.furnished.settings.root_key
    path.unlink()
    KeyFileWrapper.create(path)
    both = r"it was sealed by key file .*fingerprint .*, and this is key file .*"
    with pytest.raises(UnavailableError, match=both + "; if it is lost: .*--from-recovery"):
        on_sqlite.furnished.reopen()


def test_a_command_on_the_host_says_how_a_sealed_vault_is_opened(on_sqlite: Counter) -> None:
    furnished = on_sqlite.furnished
    on_sqlite.tamper(update(tables.counter).values(sealed=True))
    with pytest.raises(SealedError, match=f"first: piivault unseal --home {furnished.settings.home}"):
        change_root_key(furnished.settings, Sealing(), clock=furnished.clock)
