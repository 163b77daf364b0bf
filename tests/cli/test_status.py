"""``piivault status`` of a server whose keys grow old: what is late, and how late, until it is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Client

from tests.api.served import served
from tests.api.world import FOR_TWO_DAYS, PASSWORD, World, open_world, populate
from tests.cli.conftest import Command
from vault.assembly import Sealing, change_root_key


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A vault served in this process, so that a test turns its clock."""
    opened = open_world(tmp_path / "vault", more_policy=FOR_TWO_DAYS)
    with served(opened.app) as (host, port), Client(base_url=f"http://{host}:{port}") as client:
        opened.client = client
        populate(opened)
        yield opened


def _keys(command: Command, world: World) -> str:
    """Log in, and return what the status says of the keys."""
    world.clock.advance(seconds=31)
    typed = f"{PASSWORD}\n{world.code(world.people['admin'].totp)}\n"
    url = str(world.client.base_url)
    opened = command("login", "admin", "--password-stdin", "--url", url, stdin=typed)
    assert opened.code == 0, opened.err
    ran = command("status", "--url", url)
    assert ran.code == 0, ran.err
    return next(line.removeprefix("keys").strip() for line in ran.out.splitlines() if line.startswith("keys"))


def test_a_late_key_is_named_until_it_is_replaced(command: Command, world: World) -> None:
    assert _keys(command, world) == "green"
    world.clock.advance(days=2)
    late = "session//1, wrapping//1, root//1"
    assert _keys(command, world) == f"yellow: past their time: {late}"
    world.clock.advance(days=30)
    assert _keys(command, world) == f"red: past their time: {late}"
    listed = command("keys", "list").out
    assert listed.count("(red)") == 3
    assert "root//1 (active), to be replaced and destroyed by 2026-12-03, overdue" in listed
    for kind in ("wrapping", "session"):
        assert command("keys", "rotate", "--kind", kind).code == 0
    assert _keys(command, world) == "red: past their time: root//1"
    told = command("status", "--json").json
    assert (told["keys"], told["late_keys"]) == ("red", ["root//1"])
    change_root_key(world.settings, Sealing(), clock=world.clock)
    assert _keys(command, world) == "green"
