"""The two chapters in which something ends for good: a wrapping key, and what is kept of a person."""

from __future__ import annotations

import time
from typing import Final

from cli.demo.account import Account, Figures
from cli.demo.cast import COMMUNICATION, INQUIRY, INQUIRY_FIELDS, Cast
from cli.demo.refusals import Refusals
from cli.output import Output
from cli.remote.keys import follow
from cli.remote.server import Server
from vault.domain.errors import TamperDetectedError, UnavailableError
from vault.domain.model import Reveal

SIGNED_S: Final = 20.0
"""Seconds within which a certificate has to be signed; it takes about one."""


class Endings:
    """Tells them, and notes what came of them in ``figures``."""

    def __init__(self, cast: Cast, account: Account, figures: Figures) -> None:
        self._cast = cast
        self._account = account
        self._say = account.say
        self._figures = figures

    def of_a_key(self, refusals: Refusals) -> None:
        """Rotate the wrapping key, and destroy the old one by two people."""
        self._account.chapter("A new wrapping key, and the end of the old one")
        cast = self._cast
        with cast.administrator.server(cast.url) as server:
            rotated = server.post("/v1/keys/rotate").body
            old, new = rotated["old"], rotated["new"]
            who = f"{cast.administrator.name}, administrator"
            refusals.of_destruction(f"{who}, destroying epoch {old} while data keys hang on it", server, old)
            done = follow(server, Output(), server.post("/v1/keys/rewrap").body["job"])
            self._say(f"epoch {old} → {new}: {done['done']:,} data keys re-wrapped")
            left = _hanging(server, old)
            self._say(f"census: {left} data keys, values and digests still hang on epoch {old}")
            body = {"kind": "wrapping", "version": old, "reason": f"replaced by epoch {new}"}
            waiting = server.post("/v1/keys/destroy", body).body
            refusals.of_approval(f"{who}, approving their own proposal", server, waiting["approval_id"])
        with cast.second.server(cast.url) as server:
            server.post(f"/v1/approvals/{waiting['approval_id']}", {"decision": "approve"})
        self._say(f"{cast.second.name}, administrator, approves: {waiting['key']} is destroyed")
        self._figures.rotation_from, self._figures.rotation_to = old, new
        self._figures.remaining, self._figures.destroyed = left, waiting["key"]

    def of_a_person(self, subject: str, token: str) -> str:
        """Erase ``subject``, whose telephone number has ``token``; return the certificate's id."""
        self._account.chapter("A member asks to be erased")
        cast = self._cast
        holder = ("staff", cast.handler.staff_id)
        cast.propose(holder, ["subject:erase"], INQUIRY_FIELDS, purpose=INQUIRY)
        body = {"ground": "subject_request", "purpose": INQUIRY, "reason": "letter, ticket 4712"}
        with cast.handler.server(cast.url) as server:
            waiting = server.post(f"/v1/subjects/{subject}/erase", body).body
        self._say(f"{cast.handler.name} proposes it; nothing happens before the officer approves")
        with cast.officer.server(cast.url) as server:
            server.post(f"/v1/approvals/{waiting['approval_id']}", {"decision": "approve"})
        self._say(f"{cast.officer.name} approves it: data key, values, digests and tokens are destroyed")
        with cast.service(cast.shop) as server:
            asked = {"purpose": COMMUNICATION, "reveal": Reveal.PLAIN, "items": [{"token": token}]}
            found = server.post("/v1/detokenize", asked).body["items"][0]
        code = found.get("error", {}).get("code", "a value")
        self._account.refusal("shop, for the number of that member", code)
        if code != "subject_erased":
            raise TamperDetectedError("a value of somebody erased came back")
        self._figures.erased = True
        with cast.reviewer.server(cast.url) as server:
            for certificate in server.get("/v1/certificates").body["items"]:
                if certificate["subject"] == subject:
                    return str(certificate["id"])
        raise TamperDetectedError("an erasure without a certificate")

    def signed(self, server: Server, certificate: str) -> str:
        """Return the signed text of a certificate. Raises UnavailableError."""
        deadline = time.monotonic() + SIGNED_S
        while time.monotonic() < deadline:
            note = server.get(f"/v1/certificates/{certificate}").body["note"]
            if note is not None:
                return str(note)
            time.sleep(0.2)
        raise UnavailableError("the certificate was not signed in time")


def _hanging(server: Server, epoch: int) -> int:
    """Return what the census counts on one epoch of the wrapping key."""
    items = server.get("/v1/keys/census").body["items"]
    return sum(item["total"] for item in items if (item["kind"], item["version"]) == ("wrapping", epoch))
