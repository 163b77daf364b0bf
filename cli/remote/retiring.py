"""The steps of ``keys retire`` that a logged-in administrator takes: rotate, move, propose the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cli.output import Output
from cli.remote import profiles
from cli.remote.keys import COUNTS, follow, name_of, require_whole
from cli.remote.server import Server
from vault.domain.errors import AccessDeniedError, AuthenticationError, ConflictError

ADMINISTRATOR: Final = "administrator"

WHY: Final = "old copies of the database are to open no more"
"""The reason that goes with each step."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A key whose end waits for another administrator."""

    key: str
    approval_id: str


def administrator(server: Server, profile: str) -> str:
    """Return the id of whoever is logged in. Raises AuthenticationError, AccessDeniedError, ProblemError."""
    saved = profiles.load(profile)
    if saved is None:
        raise AuthenticationError("nobody is logged in; run: piivault login --url https://…")
    for person in server.get("/v1/staff").body["items"]:
        if person["login"] == saved.login and person["state"] == "active":
            if ADMINISTRATOR in person["roles"]:
                return str(person["id"])
            break
    raise AccessDeniedError("this is for administrators", rule="role")


def require_vault(server: Server, vault_id: str) -> None:
    """Return if ``server`` serves the vault of this host. Raises ConflictError."""
    if server.get("/v1/status").body["vault_id"] != vault_id:
        raise ConflictError(f"{server.url} serves another vault than the one in --home")


def rotate_epoch(server: Server) -> int:
    """Put the next wrapping epoch in force, and return it."""
    return int(server.post("/v1/keys/rotate", {"kind": "wrapping", "scope": "", "reason": WHY}).body["new"])


def rotate(server: Server, keys: Sequence[dict[str, Any]]) -> int:
    """Replace each of ``keys`` that is in use, and return how many it were."""
    used = [key for key in keys if key["state"] == "active"]
    for key in used:
        server.post("/v1/keys/rotate", {"kind": key["kind"], "scope": key["scope"], "reason": WHY})
    return len(used)


def move(server: Server, out: Output, keys: Sequence[dict[str, Any]]) -> int:
    """Move what hangs on ``keys`` to those in force, until a census finds nothing; return how much it was.

    Raises TamperDetectedError when something does not open, ConflictError when
    something still hangs on one of them, or one is suspended.
    """
    moved = 0
    for key in _hanging(server, keys):
        if key["state"] == "suspended":
            raise ConflictError(f"{name_of(key)} is suspended: resume or compromise it first")
        if key["kind"] == "wrapping" and key["state"] == "compromised":
            begun = server.post("/v1/keys/reencrypt")
        elif key["kind"] == "wrapping":
            begun = server.post("/v1/keys/rewrap")
        else:
            begun = server.post("/v1/keys/redigest", {"scope": key["scope"]})
        job = follow(server, out, begun.body["job"])
        require_whole(server, job)
        moved += job["done"]
    left = _hanging(server, keys)
    if left:
        again = f"something hangs on {name_of(left[0])} again"
        raise ConflictError(f"{again}: see the census, then run this again")
    return moved


def _hanging(server: Server, keys: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of ``keys`` that anything hangs on."""
    wanted = {name_of(key) for key in keys}
    census = server.get("/v1/keys/census").body["items"]
    return [key for key in census if name_of(key) in wanted and any(key[count] for count in COUNTS)]


def propose(server: Server, keys: Sequence[dict[str, Any]]) -> list[Waiting]:
    """Propose the end of each of ``keys``, unless that waits already; return what waits."""
    open_ones = {
        item["target"]: item["id"]
        for item in server.get("/v1/approvals").body["items"]
        if (item["kind"], item["state"]) == ("key", "open")
    }
    waiting = []
    for key in keys:
        if (approval_id := open_ones.get(name_of(key))) is None:
            body = {name: key[name] for name in ("kind", "scope", "version")} | {"reason": WHY}
            approval_id = server.post("/v1/keys/destroy", body).body["approval_id"]
        waiting.append(Waiting(name_of(key), approval_id))
    return waiting
