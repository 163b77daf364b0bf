"""The vault's counter: hand requests in, read the log, and tamper with what lies behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from sqlalchemy import Executable, RowMapping, Table, func, select, update

from tests.support.furnished import MEMBER, Furnished
from vault.audit.entry import Entry, decode
from vault.domain.model import Actor, Reveal
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.log import read_entries
from vault.tokens.replay import Replay
from vault.tokens.requests import (
    DetokenizeItem,
    DetokenizeRequest,
    NewSubject,
    SearchRequest,
    TokenizeItem,
    TokenizeRequest,
)
from vault.tokens.work import HotWork, Result

PHONE = "member.phone"
GENDER = "member.gender"
LOGIN = "member.login_id"

WAIT = 30.0
"""Seconds a test waits for what must happen."""


@dataclass(frozen=True)
class Logged:
    """One entry with its place."""

    index: int
    leaf: bytes
    body: bytes
    entry: Entry

    @property
    def outcomes(self) -> list[str]:
        assert self.entry.items is not None
        return [row.outcome for row in self.entry.items.rows()]


def phone(value: str, **more: Any) -> TokenizeItem:
    """Return an item of ``member.phone``."""
    return item(PHONE, value, **more)


def item(field: str, value: str, *, label: str = "", **more: Any) -> TokenizeItem:
    """Return an item; ``label`` names a new subject."""
    if label:
        more["subject"] = NewSubject(label)
    return TokenizeItem(field=field, value=value, **more)


class Counter:
    """A furnished vault with the short ways tests need. ``node`` is another process on the same database."""

    def __init__(self, furnished: Furnished) -> None:
        self.furnished = furnished
        self.vault = furnished.vault
        self._nodes: list[Vault] = []

    @property
    def shop(self) -> Actor:
        return self.furnished.actors["shop"]

    def actor(self, name: str) -> Actor:
        return self.furnished.actors[name]

    def node(self) -> Vault:
        """Open the vault once more."""
        vault = self.furnished.reopen()
        self._nodes.append(vault)
        return vault

    def close(self) -> None:
        for vault in (*self._nodes, self.vault):
            vault.close()

    # Requests

    def tokenizing(
        self,
        items: Iterable[TokenizeItem],
        *,
        key: str = "",
        body: bytes = b"",
        by: str = "shop",
        **more: Any,
    ) -> HotWork:
        """Return the work; ``more`` goes into the request."""
        request = TokenizeRequest(purpose=more.pop("purpose", MEMBER), items=list(items), **more)
        replay = Replay(key, body or repr(request).encode()) if key else None
        return self.vault.tokens.tokenize(self.actor(by), self.furnished.origin(), request, replay=replay)

    def tokenize(self, *items: TokenizeItem, at: Vault | None = None, **more: Any) -> Result:
        return (at or self.vault).tokens.complete(self.tokenizing(items, **more))

    def detokenizing(self, tokens: Iterable[str], *, by: str = "shop", **more: Any) -> HotWork:
        request = DetokenizeRequest(
            purpose=more.pop("purpose", MEMBER),
            items=[DetokenizeItem(token=token) for token in tokens],
            reveal=more.pop("reveal", Reveal.PLAIN),
            **more,
        )
        return self.vault.tokens.detokenize(self.actor(by), self.furnished.origin(), request)

    def detokenize(self, *tokens: str, at: Vault | None = None, **more: Any) -> Result:
        return (at or self.vault).tokens.complete(self.detokenizing(tokens, **more))

    def searching(self, field: str, value: str, *, by: str = "shop", purpose: str = MEMBER) -> HotWork:
        request = SearchRequest(purpose=purpose, field=field, value=value)
        return self.vault.tokens.search(self.actor(by), self.furnished.origin(), request)

    def search(self, field: str, value: str, *, at: Vault | None = None, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (at or self.vault).tokens.complete(
            self.searching(field, value, **more)
        )["items"]
        return found

    def showing(self, token: str, *, by: str = "shop", purpose: str = MEMBER) -> HotWork:
        return self.vault.tokens.show(self.actor(by), self.furnished.origin(), token=token, purpose=purpose)

    def show(self, token: str, **more: Any) -> Result:
        return self.vault.tokens.complete(self.showing(token, **more))

    def revoking(self, token: str, *, by: str = "shop", purpose: str = MEMBER) -> HotWork:
        return self.vault.tokens.revoke(self.actor(by), self.furnished.origin(), token=token, purpose=purpose)

    def revoke(self, token: str, *, at: Vault | None = None, **more: Any) -> Result:
        return (at or self.vault).tokens.complete(self.revoking(token, **more))

    def token(self, value: str = "010-1234-5678", *, field: str = PHONE, **more: Any) -> str:
        """Swap one value; return its token."""
        return str(self.tokenize(item(field, value, **more))["items"][0]["token"])

    def refused(self, token: str, **more: Any) -> str:
        """Detokenize one token that is refused; return the code."""
        answer = self.detokenize(token, **more)["items"][0]
        assert answer.keys() == {"token", "error"}
        return str(answer["error"]["code"])

    def together(self, *works: HotWork, at: Vault | None = None) -> None:
        """Have ``works`` form one unit, by waiting while the lane is busy; return when all are answered."""
        tokens = (at or self.vault).tokens
        busy, free = Event(), Event()

        def hold() -> None:
            busy.set()
            assert free.wait(WAIT)

        tokens.start(self.showing("none"), hold)
        assert busy.wait(WAIT)
        answered = [Event() for _ in works]
        for work, answer in zip(works, answered, strict=True):
            tokens.start(work, answer.set)
        free.set()
        for answer in answered:
            assert answer.wait(WAIT)

    # The log

    def log(self, start: int = 0) -> list[Logged]:
        """Return what is stored, decoded."""
        with self.vault.changes.database.reading() as connection:
            rows = read_entries(connection, start, 1 << 62)
        return [Logged(row.idx, row.leaf, row.body, decode(row.body)) for row in rows]

    def next_index(self) -> int:
        """Return the index that the next entry will have."""
        return self.vault.status().next_index

    def entry(self, index: int) -> Entry:
        return self.log(index)[0].entry

    def last(self) -> Logged:
        return self.log(self.next_index() - 1)[0]

    def alarms(self) -> list[tuple[str, str]]:
        """Return table and row of every alarm in the log."""
        found = [logged.entry for logged in self.log() if logged.entry.action == "integrity:alarm"]
        return [(dict(entry.target)["table"], dict(entry.target)["row"]) for entry in found]

    def verify_log(self) -> None:
        """Integrate everything; fail if anything does not verify or an index is missing."""
        # In the first round it may add an entry of its own, of a certificate that it has signed.
        for _ in range(2):
            self.vault.upkeep.round()
            assert self.vault.upkeep.health.trouble == ""
        health = self.vault.upkeep.health
        log = self.log()
        assert [logged.index for logged in log] == list(range(len(log)))
        assert health.integrated == len(log)

    # Behind the counter

    def rows(self, table: Table, *, order_by: str = "id") -> Sequence[RowMapping]:
        with self.vault.changes.database.reading() as connection:
            return connection.execute(select(table).order_by(table.c[order_by])).mappings().all()

    def row(self, table: Table, **key: Any) -> RowMapping:
        with self.vault.changes.database.reading() as connection:
            return connection.execute(select(table).filter_by(**key)).mappings().one()

    def count(self, table: Table) -> int:
        with self.vault.changes.database.reading() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    def tamper(self, *statements: Executable) -> None:
        """Change the database as whoever holds it would, so that every node looks again."""
        with self.vault.changes.database.writing() as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute(update(tables.counter).values(revision=tables.counter.c.revision + 1))

    def change(self, table: Table, key: Mapping[str, Any], **columns: Any) -> None:
        self.tamper(update(table).filter_by(**key).values(**columns))

    def row_of(self, token: str) -> RowMapping:
        """Return the row behind a token."""
        return self.row(tables.token, id=self.row_id(token))

    def row_id(self, token: str) -> int:
        return self.vault.standings.current.keyring.tokens.decode(token).row_id
