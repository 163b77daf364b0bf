"""Requests that must be refused. One that is not ends the demo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cli.demo.account import Account
from cli.demo.cast import REASON
from cli.demo.people import Somebody
from cli.errors import ProblemError
from cli.remote.server import Answer, Server
from vault.domain.errors import TamperDetectedError


class Refusals:
    """Tries, and counts what was refused."""

    def __init__(self, url: str, account: Account, token: str) -> None:
        self._url = url
        self._account = account
        self._token = token
        self.count = 0

    def of_request(self, what: str, server: Server, *, purpose: str, reveal: str = "masked") -> None:
        """Ask for the value of the token, which this caller may not have."""
        self._expect(what, 403, lambda: server.post("/v1/detokenize", self._body(purpose, reveal)))

    def of_login(self, what: str, person: Somebody) -> None:
        """Log in with a code that was used before."""
        body = {"login": person.login, "password": person.password, "code": person.used_code}
        with Server(self._url) as server:
            self._expect(what, 401, lambda: server.post("/v1/session", body, public=True))

    def of_access_token(self, what: str, token: str, *, purpose: str) -> None:
        """Ask with an access token that is over."""
        with Server(self._url, bearer=lambda _server: token) as server:
            self._expect(what, 401, lambda: server.post("/v1/detokenize", self._body(purpose, "masked")))

    def of_destruction(self, what: str, server: Server, version: int) -> None:
        """Propose to destroy a wrapping key that something hangs on."""
        body = {"kind": "wrapping", "version": version, "reason": "replaced"}
        self._expect(what, 409, lambda: server.post("/v1/keys/destroy", body))

    def of_approval(self, what: str, server: Server, approval_id: str) -> None:
        """Approve what this caller may not."""
        body = {"decision": "approve"}
        self._expect(what, 403, lambda: server.post(f"/v1/approvals/{approval_id}", body))

    def _body(self, purpose: str, reveal: str) -> dict[str, Any]:
        return {"purpose": purpose, "reason": REASON, "reveal": reveal, "items": [{"token": self._token}]}

    def _expect(self, what: str, status: int, ask: Callable[[], Answer]) -> None:
        try:
            ask()
        except ProblemError as error:
            if error.status != status:
                raise
            self.count += 1
            self._account.refusal(what, f"{error.status} {error.code}")
            return
        raise TamperDetectedError(f"not refused: {what}")
