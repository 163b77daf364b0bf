"""Keys: list, rotate, re-wrap what hangs on the epoch before."""

from __future__ import annotations

import typer

from cli.command import group
from cli.output import Output, moment
from cli.remote.command import add_remote, tell
from cli.remote.server import Server
from vault.domain.errors import TamperDetectedError


def add_to(app: typer.Typer) -> None:
    """Add the group ``keys``."""
    keys = group("keys", "Wrapping keys and what hangs on them.", parent=app)
    add_remote(keys, "list", list_keys, "piivault keys list")
    add_remote(keys, "rotate", rotate, "piivault keys rotate && piivault keys rewrap")
    add_remote(keys, "rewrap", rewrap, "piivault keys rewrap", "piivault keys rewrap --json")


def list_keys(server: Server, out: Output) -> None:
    """List every key and what hangs on it.

    For administrators.
    """
    answer = server.get("/v1/keys")
    if out.as_json:
        tell(out, answer)
        return
    out.table(
        ("kind", "scope", "version", "state", "since", "data keys"),
        (
            (
                item["kind"],
                item["scope"] or None,
                item["version"],
                item["state"],
                moment(item["changed_at"]),
                item["data_keys"],
            )
            for item in answer.body["items"]
        ),
    )


def rotate(server: Server, out: Output) -> None:
    """Put the next wrapping key in force.

    For administrators. New data uses it at once; what is there moves with
    "keys rewrap".
    """
    answer = server.post("/v1/keys/rotate")
    old, new = answer.body["old"], answer.body["new"]
    tell(out, answer, f"Epoch {new} is in force; {old} only unwraps. Go on with: piivault keys rewrap")


def rewrap(server: Server, out: Output) -> None:
    """Move every data key to the wrapping key in force.

    For administrators. May be stopped at any time and run again: what is left
    is what still hangs on another epoch.
    """
    done = run_rewrap(server, out)
    if out.as_json:
        out.document(done)
    else:
        out.line(
            f"{done['rewrapped']:,} data keys moved to epoch {done['epoch']}, {done['remaining']:,} remain."
        )
    if done["failed"]:
        raise TamperDetectedError(f"{done['failed']:,} data keys do not unwrap; see the alarms in the log")


def run_rewrap(server: Server, out: Output) -> dict[str, int]:
    """Re-wrap to the end, with progress, and return epoch, rewrapped, remaining and failed."""
    after: object = None
    rewrapped = failed = 0
    with out.progress("data keys") as progress:
        task = progress.add_task("re-wrapping", total=None)
        while True:
            portion = server.post("/v1/keys/rewrap", {"after": after}).body
            rewrapped += portion["rewrapped"]
            failed += portion["failed"]
            progress.update(task, completed=rewrapped, total=rewrapped + portion["remaining"])
            after = portion.get("next")
            if after is None:
                break
    return {
        "epoch": portion["epoch"],
        "rewrapped": rewrapped,
        "remaining": portion["remaining"],
        "failed": failed,
    }
