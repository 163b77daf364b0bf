"""A served vault with people and services in it, built by the means of the demo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cli.demo.cast import COMMUNICATION, INQUIRY, INQUIRY_FIELDS, MEMBER_FIELDS, Cast
from cli.demo.host import Host
from cli.demo.people import Somebody
from cli.remote import profiles
from cli.remote.profiles import Profile
from vault.domain.model import Reveal


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)


class Town:
    """Closed by ``with``."""

    def __init__(self) -> None:
        self.host = Host()
        self.cast = Cast(self.host.url)

    @property
    def url(self) -> str:
        return self.host.url

    @property
    def config(self) -> Path:
        """Stands in for XDG_CONFIG_HOME."""
        return self.host.work / "config"

    def secret_file(self, account: dict[str, Any]) -> Path:
        """Return a file with the secret of a service."""
        path = self.host.work / f"{account['service_id']}.secret"
        path.write_text(f"{account['client_secret']}\n")
        path.chmod(0o600)
        return path

    def shop(self) -> list[str]:
        """Return the options that make a command act as the shop."""
        account = self.cast.shop
        secret = self.secret_file(account)
        return ["--url", self.url, "--client-id", account["service_id"], "--client-secret-file", str(secret)]

    def save(self, person: Somebody) -> None:
        """Keep the session of a person under their profile."""
        profile = Profile(self.url, person.login, person.session, person.session_id, person.expires_at)
        profiles.save(person.profile, profile, base=self.config)

    def __enter__(self) -> Self:
        try:
            self._settle()
        except BaseException:
            # Nobody leaves a ``with`` that was never entered: the server would stay.
            self.host.stop()
            self.host.remove()
            raise
        return self

    def _settle(self) -> None:
        told = self.host.initialise(administrator="mina:김민아", officer="junseo:박준서")
        self.host.start()
        cast = self.cast
        cast.enter(cast.administrator, told["administrator"]["invitation"])
        cast.enter(cast.officer, told["officer"]["invitation"])
        for person in (cast.second, cast.handler, cast.reviewer):
            cast.enter(person, cast.invite(person))
        cast.create_services()
        shop = ("service", cast.shop["service_id"])
        actions = ["token:tokenize", "token:detokenize", "token:search", "token:show", "token:revoke"]
        for holder in (shop, ("staff", cast.handler.staff_id)):
            for purpose, fields in ((COMMUNICATION, MEMBER_FIELDS), (INQUIRY, INQUIRY_FIELDS)):
                cast.approve(cast.propose(holder, actions, fields, purpose=purpose, reveal=Reveal.PLAIN))
        for person in cast.everybody:
            self.save(person)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.host.stop()
        self.host.remove()
