"""Keys: list, rotate, move what hangs on the one before, count, destroy."""

from __future__ import annotations

import time
from itertools import chain, repeat
from typing import Annotated, Any, Final

import typer

from cli.output import Output, moment, red
from cli.remote.command import add_remote, tell
from cli.remote.server import Answer, Server
from vault.domain.errors import ConflictError, TamperDetectedError

THINGS: Final = {"rewrap": "data keys", "redigest": "digests", "reencrypt": "data keys", "reseal": "rows"}

OPENING: Final = frozenset({"redigest", "reencrypt"})
"""Jobs that open values, and so leave out whoever has a suspended key."""

DONE: Final = {"reencrypt": "replaced, and every value under them sealed anew"}

COUNTS: Final = ("data_keys", "values", "digests", "suspect_data_keys", "suspect_values")

DOUBTFUL: Final = frozenset({"compromised", "suspended"})
"""States that must not be overlooked."""

SUSPECT: Final = frozenset({"suspect_data_keys", "suspect_values"})

QUICK: Final = (0.1, 0.2, 0.5, 0.5, 1.0)
SLOW: Final = 2.0
"""Seconds between two looks at a job. Each look is an entry in the log."""


def add_to(keys: typer.Typer) -> None:
    """Add what goes over HTTP to the group ``keys``."""
    add_remote(keys, "list", list_keys, "piivault keys list")
    add_remote(keys, "rotate", rotate, "piivault keys rotate && piivault keys rewrap")
    add_remote(keys, "rewrap", rewrap, "piivault keys rewrap", "piivault keys rewrap --no-wait --json")
    add_remote(
        keys,
        "redigest",
        redigest,
        "piivault keys rotate --kind lookup --scope member.phone && piivault keys redigest member.phone",
        "piivault keys redigest ref/member",
    )
    add_remote(
        keys,
        "reseal",
        reseal,
        "piivault keys rotate --kind authority && piivault keys reseal authority",
        "piivault keys reseal staff_data",
    )
    add_remote(keys, "jobs", jobs, "piivault keys jobs")
    add_remote(keys, "census", census, "piivault keys census")
    add_remote(
        keys,
        "destroy",
        destroy,
        "piivault keys destroy 1 --reason 'replaced by epoch 2'",
        "piivault keys destroy 1 --kind lookup --scope member.phone --reason replaced",
        "piivault keys destroy 1 --kind session --reason replaced",
    )


def list_keys(server: Server, out: Output) -> None:
    """List every key and what hangs on it.

    For administrators. Below the table: the day by which copies of the database
    of today are dead under the cryptoperiods in force, and the keys it hangs on.
    Days are those of UTC; a time stands with its offset.
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
                _state(item),
                moment(item["changed_at"]),
                item["data_keys"],
                _due(item),
            )
            for item in answer.body["items"]
        ),
    )
    bound = answer.body["bound"]
    out.line(f"Copies of the database of today are dead by: {bound['told']}")
    for part in bound["parts"]:
        out.line(f"  {part['told']}")


def _state(item: dict[str, Any]) -> Any:
    return red(item["state"]) if item["state"] in DOUBTFUL else item["state"]


def _due(item: dict[str, Any]) -> str | None:
    if item["due_at"] is None:
        return None
    late = "" if item["light"] == "green" else f" ({item['light']})"
    return f"{item['due_at'][:10]}{late}"


Kind = Annotated[
    str,
    typer.Option(
        "--kind", help="wrapping, lookup, token, authority, log_mac, session, staff_data or log_signing."
    ),
]
Scope = Annotated[str, typer.Option("--scope", help="Of a lookup key: its field, or ref/ and the kind.")]


Why = Annotated[str, typer.Option("--reason", help="Why; sealed beside the entry in the log.")]


def rotate(
    server: Server, out: Output, *, kind: Kind = "wrapping", scope: Scope = "", reason: Why = ""
) -> None:
    """Put the next version of a key in force.

    For administrators. What is new uses it at once; what is there moves with
    "keys rewrap", with "keys redigest" for a lookup key, with "keys reseal" for
    an authority or staff-data key, or ends by itself: see "keys census".
    """
    answer = server.post("/v1/keys/rotate", {"kind": kind, "scope": scope, "reason": reason})
    old, new = answer.body["old"], answer.body["new"]
    noun = "Epoch" if kind == "wrapping" else "Version"
    does, then = AFTER[kind]
    tell(out, answer, f"{noun} {new} is in force; {old} {does}. {then}{scope}".rstrip())


AFTER: Final = {
    "wrapping": ("only unwraps", "Go on with: piivault keys rewrap"),
    "lookup": ("only finds", "Go on with: piivault keys redigest "),
    "authority": ("only verifies", "Go on with: piivault keys reseal authority"),
    "staff_data": ("only opens", "Go on with: piivault keys reseal staff_data"),
    "session": ("is good for what was given out", "What still hangs on it: piivault keys census"),
    "log_mac": ("only verifies", "Within a second nothing hangs on it: piivault keys census"),
    "log_signing": ("signs beside it", "Give every verifier the new key: piivault audit key"),
    "token": ("reads its tokens for ever", ""),
}
"""What the version before does from then on, and what comes next."""

OfScope = Annotated[str, typer.Argument(metavar="SCOPE", help="A field, or ref/ and the kind of subject.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end, or only start it.")]


def rewrap(server: Server, out: Output, *, wait: Wait = True) -> None:
    """Move every data key to the wrapping key in force.

    For administrators. The server does it in the background, on one node at a
    time, and goes on whatever happens to this command: run it again to watch.
    """
    see_through(server, out, server.post("/v1/keys/rewrap"), wait=wait)


def redigest(server: Server, out: Output, *, scope: OfScope, wait: Wait = True) -> None:
    """Digest every value of a field anew under its lookup key in force.

    For administrators. Search finds by both keys meanwhile. The server does it
    in the background: see "keys rewrap".
    """
    see_through(server, out, server.post("/v1/keys/redigest", {"scope": scope}), wait=wait)


def reseal(
    server: Server,
    out: Output,
    *,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="authority or staff_data.")],
    wait: Wait = True,
) -> None:
    """Seal anew what hangs on older authority or staff-data keys.

    For administrators. Authority: the MAC of every row that decisions rest on.
    Staff data: the authenticator secrets; reasons in the log keep their key.
    The server does it in the background: see "keys rewrap".
    """
    see_through(server, out, server.post("/v1/keys/reseal", {"kind": kind}), wait=wait)


def see_through(server: Server, out: Output, answer: Answer, *, wait: bool) -> None:
    """Follow the job of ``answer`` to its end if ``wait``, and say what became of it."""
    job = answer.body["job"]
    things = THINGS[job["kind"]]
    if wait:
        try:
            job = follow(server, out, job)
        except KeyboardInterrupt:
            out.note("The job goes on. Run this again to watch it.")
            raise
    if out.as_json:
        out.document({**answer.body, "job": job})
    elif wait:
        out.line(f"{job['done']:,} {things} {DONE.get(job['kind'], 'moved to the key in force')}.")
    else:
        out.line(f"{job['id']} is under way: {job['total']:,} {things}. See: piivault keys jobs")
    require_whole(server, job)


def require_whole(server: Server, job: dict[str, Any]) -> None:
    """Return if ``job`` has moved everything.

    Raises ConflictError while what it opens may hang on a suspended key, else TamperDetectedError.
    """
    if not job["failed"]:
        return
    left = f"{job['failed']:,} {THINGS[job['kind']]}"
    keys = server.get("/v1/keys").body["items"] if job["kind"] in OPENING else []
    suspended = [name_of(key) for key in keys if key["state"] == "suspended"]
    if suspended:
        raise ConflictError(
            f"{left} did not move: resume or compromise {', '.join(suspended)} first; what does not open even"
            " then has an alarm in the log"
        )
    raise TamperDetectedError(f"{left} do not open; see the alarms in the log")


def name_of(key: dict[str, Any]) -> str:
    """Return the name of a key: kind, scope and version."""
    return f"{key['kind']}/{key['scope']}/{key['version']}"


def follow(server: Server, out: Output, job: dict[str, Any]) -> dict[str, Any]:
    """Show how far ``job`` is until it has ended, and return it as it is then."""
    rests = chain(QUICK, repeat(SLOW))
    things = THINGS[job["kind"]]
    with out.progress(things) as progress:
        task = progress.add_task(things, total=job["total"], completed=job["done"], **_pace(job))
        while job["state"] == "running":
            time.sleep(next(rests))
            jobs = {item["id"]: item for item in server.get("/v1/keys/jobs").body["items"]}
            # Another may have begun since: then this one is over, and the census tells the rest.
            job = jobs.get(job["id"], {**job, "state": "done"})
            progress.update(task, completed=job["done"], total=job["total"], **_pace(job))
    return job


def _pace(job: dict[str, Any]) -> dict[str, Any]:
    """Return how fast the job itself goes: whoever joins it has seen little of it."""
    return {"rate": job.get("rate"), "seconds_left": job.get("seconds_left")}


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
    """Count what still hangs on each key.

    For administrators. All of it is counted in one state of the database.
    Suspect keys are data keys whose values are still to be sealed anew.
    """
    answer = server.get("/v1/keys/census")
    if out.as_json:
        tell(out, answer)
        return
    columns = ("kind", "scope", "version", "state", *map(_heading, COUNTS), "others", "held until")
    rows = [
        (
            item["kind"],
            item["scope"] or None,
            item["version"],
            _state(item),
            *(_counted(item, name) for name in COUNTS),
            _others(item["counts"]),
            moment(item["held_until"]) if item["held_until"] else None,
        )
        for item in answer.body["items"]
    ]
    # Most of the time nothing is suspect and nothing held: columns without a word are left out.
    said = [
        at for at, column in enumerate(zip(*rows, strict=True)) if any(cell is not None for cell in column)
    ]
    out.table([columns[at] for at in said], ([row[at] for at in said] for row in rows))


def _heading(name: str) -> str:
    return {"suspect_data_keys": "suspect keys", "suspect_values": "their values"}.get(
        name, name.replace("_", " ")
    )


def _counted(item: dict[str, Any], name: str) -> str | None:
    count = item[name]
    if count is None or (name in SUSPECT and not count):
        return None
    return f"{count:,}"


def _others(counts: dict[str, int]) -> str | None:
    named = (f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items() if number)
    return ", ".join(named) or None


Version = Annotated[int, typer.Argument(min=1, help="Version of the key; of a wrapping key, its epoch.")]


def destroy(
    server: Server,
    out: Output,
    *,
    version: Version,
    reason: Why,
    kind: Kind = "wrapping",
    scope: Scope = "",
) -> None:
    """Propose that a key is destroyed for good.

    For administrators. Refused unless the census of the key is zero. It happens
    when another administrator approves: piivault approval approve ID.
    """
    body = {"kind": kind, "scope": scope, "version": version, "reason": reason}
    answer = server.post("/v1/keys/destroy", body)
    waiting = answer.body["approval_id"]
    tell(out, answer, f"{answer.body['key']} ends when another administrator approves {waiting}.")
