"""Who plays in the story, and the few things they do more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cli.demo import people
from cli.demo.people import Somebody, enrol, log_in
from cli.remote.server import Server, ServiceBearer
from vault.domain.errors import NotFoundError
from vault.domain.model import Reveal, Role

MEMBER_FIELDS: Final = ("member.phone", "member.gender", "member.age_band")
PARTNER_FIELDS: Final = (
    "partner.business_number",
    "partner.company_name",
    "partner.phone",
    "partner.email",
    "partner.contact_name",
)
COMMUNICATION: Final = "member_communication"
INQUIRY: Final = "inquiry"
PARTNER: Final = "partner"
ETHICS: Final = "ethics"
"""Open to one team and to no service."""
INQUIRY_FIELDS: Final = ("member.oauth_subject", "member.login_id", *MEMBER_FIELDS)
REASON: Final = "call back, ticket 4711"

Holder = tuple[str, str]
"""Kind and id of whoever holds a grant."""


class Cast:
    """Five people and two services, at one server."""

    def __init__(self, url: str) -> None:
        self.url: Final = url
        self.administrator: Final = Somebody(*people.ADMINISTRATOR, Role.ADMINISTRATOR)
        self.second: Final = Somebody(*people.SECOND, Role.ADMINISTRATOR, alias="second")
        self.officer: Final = Somebody(*people.OFFICER, Role.OFFICER)
        self.handler: Final = Somebody(*people.HANDLER, Role.HANDLER, team="support")
        self.reviewer: Final = Somebody(*people.REVIEWER, Role.REVIEWER, team="oversight")
        self.shop: dict[str, Any] = {}
        self.statistics: dict[str, Any] = {}

    @property
    def everybody(self) -> tuple[Somebody, ...]:
        """The people."""
        return (self.administrator, self.second, self.officer, self.handler, self.reviewer)

    def service(self, account: dict[str, Any]) -> Server:
        """Return a connection of a service."""
        return Server(self.url, bearer=ServiceBearer(account["service_id"], account["client_secret"]))

    def enter(self, person: Somebody, invitation: str) -> None:
        """Enrol and log in; the officer approves whoever has to wait for that."""
        if enrol(self.url, person, invitation) == "waiting":
            self.approve(person.staff_id)
        log_in(self.url, person)

    def invite(self, person: Somebody) -> str:
        """Have the administrator invite somebody; return the code."""
        body = {"login": person.login, "name": person.name, "role": person.role, "team": person.team}
        with self.administrator.server(self.url) as server:
            return str(server.post("/v1/staff", body).body["invitation"])

    def create_services(self) -> None:
        """Have the administrator create both services."""
        with self.administrator.server(self.url) as server:
            owner = self.administrator.staff_id
            self.shop = server.post("/v1/services", {"name": "shop", "owner": owner}).body
            self.statistics = server.post("/v1/services", {"name": "statistics", "owner": owner}).body

    def propose(
        self,
        holder: Holder,
        actions: Sequence[str],
        fields: Sequence[str],
        *,
        purpose: str,
        reveal: Reveal | None = None,
    ) -> str:
        """Have the administrator propose a grant; return its id."""
        kind, identity = holder
        body = {
            "actor_kind": kind,
            "actor_id": identity,
            "actions": list(actions),
            "fields": list(fields),
            "purposes": [purpose],
            "reveal": reveal,
            "valid_days": 30,
            "reason": "for the demo",
        }
        with self.administrator.server(self.url) as server:
            return str(server.post("/v1/grants", body).body["grant_id"])

    def approve(self, target: str) -> None:
        """Have the officer approve what waits about a person or grant."""
        with self.officer.server(self.url) as server:
            for approval in server.get("/v1/approvals").body["items"]:
                if approval["target"] == target and approval["state"] == "open":
                    server.post(f"/v1/approvals/{approval['id']}", {"decision": "approve"})
                    return
        raise NotFoundError(f"nothing waits about {target}")

    def reveal(self, token: str, reveal: Reveal) -> str:
        """Have the handler look at one value."""
        body = {"purpose": INQUIRY, "reason": REASON, "reveal": reveal.value, "items": [{"token": token}]}
        with self.handler.server(self.url) as server:
            return str(server.post("/v1/detokenize", body).body["items"][0]["value"])

    def spent_access_token(self) -> str:
        """Return an access token of the shop whose credential was replaced and has ended since.

        An access token never outlives the credential it was issued for, and
        this is the one way to see one end without waiting ten minutes. The shop
        itself goes on with the new secret.
        """
        service_id = self.shop["service_id"]
        with Server(self.url) as server:
            token, _ = server.access_token(service_id, self.shop["client_secret"])
        with self.administrator.server(self.url) as server:
            self.shop = server.post(f"/v1/services/{service_id}/rotate", {"overlap_hours": 0}).body
        with Server(self.url) as server:
            server.access_token(service_id, self.shop["client_secret"])
        return token
