"""The database goes away under a running server: 503, nothing revealed, and on it goes when it is back."""

from __future__ import annotations

import time
from pathlib import Path

from tests.api.world import PHONE, open_world, populate
from tests.support.postgres import PostgresCluster


def test_database_that_is_away_is_an_outage_and_no_more(
    own_postgres: PostgresCluster, tmp_path: Path
) -> None:
    world = open_world(tmp_path / "home", own_postgres.create_database())
    with world.client:
        populate(world)
        token = world.ok(world.tokenize(PHONE))["items"][0]["token"]
        own_postgres.stop()
        for refused in (
            world.detokenize(token, reveal="plain"),
            world.tokenize("010-8765-4321"),
            world.client.get("/v1/staff", headers=world.admin),
            world.client.get(f"/v1/tokens/{token}", headers=world.service.bearer),
            world.token(world.service),
        ):
            assert refused.status_code == 503, refused.text
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["code"] in {"unavailable", "outcome_unknown", "log_unavailable"}
            assert PHONE not in refused.text
        unready = world.client.get("/readyz")
        assert (unready.status_code, unready.json()["reasons"]) == (503, ["unavailable"])
        assert world.client.get("/healthz").is_success
        own_postgres.start()
        plain = world.ok(world.detokenize(token, reveal="plain"))
        assert plain["items"][0]["value"] == PHONE
        # By itself, and soon: a round of upkeep that met the outage may end only after the database is back.
        deadline = time.monotonic() + 10
        while not world.client.get("/readyz").is_success:
            assert time.monotonic() < deadline
            time.sleep(0.1)
