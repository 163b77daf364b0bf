"""Keys: list, rotate, re-wrap what hangs on the epoch before, count, destroy."""

from __future__ import annotations

import time
from itertools import chain, repeat
from typing import Annotated, Any, Final

import typer

from cli.output import Output, moment
from cli.remote.command import add_remote, tell
from cli.remote.server import Server
from vault.domain.errors import TamperDetectedError

COUNTS: Final = ("data_keys", "values", "digests")

QUICK: Final = (0.1, 0.2, 0.5, 0.5, 1.0)
SLOW: Final = 2.0
"""Seconds between two looks at a job. Each look is an entry in the log."""


def add_to(keys: typer.Typer) -> None:
    """Add what goes over HTTP to the group ``keys``."""
    add_remote(keys, "list", list_keys, "piivault keys list")
    add_remote(keys, "rotate", rotate, "piivault keys rotate && piivault keys rewrap")
    add_remote(keys, "rewrap", rewrap, "piivault keys rewrap", "piivault keys rewrap --no-wait --json")
    add_remote(keys, "jobs", jobs, "piivault keys jobs")
    add_remote(keys, "census", census, "piivault keys census")
    add_remote(
        keys,
        "destroy",
        destroy,
        "piivault keys destroy 1",
        "piivault keys destroy 1 --kind lookup --scope member.phone",
    )


def list_keys(server: Server, out: Output) -> None:
    """List every key and what hangs on it.

    For administrators.
    """
    answer = server.get("/v1/keys")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("kind", "scope", "version", "state", "since", "data keys", "replace by"),
        (
            (
                item["kind"],
                item["scope"] or None,
                item["version"],
                item["state"],
                moment(item["changed_at"]),
                item["data_keys"],
                _due(item),
            )
            for item in answer.body["items"]
        ),
    )


def _due(item: dict[str, Any]) -> str | None:
    if item["due_at"] is None:
        return None
    late = "" if item["light"] == "green" else f" ({item['light']})"
    return f"{item['due_at'][:10]}{late}"


def rotate(server: Server, out: Output) -> None:
    """Put the next wrapping key in force.

    For administrators. New data uses it at once; what is there moves with
    "keys rewrap".
    """
    answer = server.post("/v1/keys/rotate")
    old, new = answer.body["old"], answer.body["new"]
    tell(out, answer, f"Epoch {new} is in force; {old} only unwraps. Go on with: piivault keys rewrap")


Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end, or only start it.")]


def rewrap(server: Server, out: Output, *, wait: Wait = True) -> None:
    """Move every data key to the wrapping key in force.

    For administrators. The server does it in the background, on one node at a
    time, and goes on whatever happens to this command: run it again to watch.
    """
    answer = server.post("/v1/keys/rewrap")
    job = answer.body["job"]
    if wait:
        job = follow(server, out, job)
    if out.as_json:
        out.document({**answer.body, "job": job})
    elif wait:
        out.line(f"{job['done']:,} data keys moved to epoch {job['target']}.")
    else:
        out.line(f"{job['id']} is under way: {job['total']:,} data keys. See: piivault keys jobs")
    if job["failed"]:
        raise TamperDetectedError(f"{job['failed']:,} data keys do not unwrap; see the alarms in the log")


def follow(server: Server, out: Output, job: dict[str, Any]) -> dict[str, Any]:
    """Show how far ``job`` is until it has ended, and return it as it is then."""
    rests = chain(QUICK, repeat(SLOW))
    with out.progress("data keys") as progress:
        task = progress.add_task("re-wrapping", total=job["total"], completed=job["done"])
        while job["state"] == "running":
            time.sleep(next(rests))
            jobs = {item["id"]: item for item in server.get("/v1/keys/jobs").body["items"]}
            # Another may have begun since: then this one is over, and the census tells the rest.
            job = jobs.get(job["id"], {**job, "state": "done"})
            progress.update(task, completed=job["done"], total=job["total"])
    return job


def jobs(server: Server, out: Output) -> None:
    """Show background work on keys, with rate and time left.

    For administrators.
    """
    answer = server.get("/v1/keys/jobs")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("job", "kind", "state", "done", "of", "failed", "per second", "seconds left", "moved last"),
        (
            (
                item["id"],
                item["kind"],
                item["state"],
                f"{item['done']:,}",
                f"{item['total']:,}",
                item["failed"],
                f"{item['rate']:,.0f}",
                None if item["seconds_left"] is None else f"{item['seconds_left']:,.0f}",
                moment(item["beat_at"]),
            )
            for item in answer.body["items"]
        ),
    )


def census(server: Server, out: Output) -> None:
    """Count what still hangs on each wrapping and lookup key.

    For administrators. All of it is counted in one state of the database.
    """
    answer = server.get("/v1/keys/census")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("kind", "scope", "version", "state", "data keys", "values", "digests"),
        (
            (
                item["kind"],
                item["scope"] or None,
                item["version"],
                item["state"],
                *(None if item[name] is None else f"{item[name]:,}" for name in COUNTS),
            )
            for item in answer.body["items"]
        ),
    )


Version = Annotated[int, typer.Argument(min=1, help="Version of the key; of a wrapping key, its epoch.")]
Kind = Annotated[str, typer.Option("--kind", help="wrapping or lookup.")]
Scope = Annotated[str, typer.Option("--scope", help="Of a lookup key: its field, or ref/ and the kind.")]


def destroy(
    server: Server, out: Output, *, version: Version, kind: Kind = "wrapping", scope: Scope = ""
) -> None:
    """Propose that a key is destroyed for good.

    For administrators. Refused unless the census of the key is zero. It happens
    when another administrator approves: piivault approval approve ID.
    """
    answer = server.post("/v1/keys/destroy", {"kind": kind, "scope": scope, "version": version})
    waiting = answer.body["approval_id"]
    tell(out, answer, f"{answer.body['key']} ends when another administrator approves {waiting}.")
