"""Short ids of audiences: what a token's row keeps of the recipient it is for."""

from __future__ import annotations

from typing import Final

from vault.domain.errors import UnavailableError
from vault.storage.hot import HotConnection

ATTEMPTS: Final = 8
"""Nodes that name new audiences at one moment are in each other's way once each."""


class AudienceIds:
    """Short ids of audiences, read when one is first met. Belongs to the lane's thread."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def id_of(self, name: str, connection: HotConnection) -> int:
        """Return the short id of an audience that the policy declares, giving it one if it has none."""
        for _ in range(ATTEMPTS):
            if name in self._ids:
                return self._ids[name]
            self._read(connection)
            if name not in self._ids:
                connection.add_audience(name)
        raise UnavailableError("an audience could not be given an id")

    def name_of(self, audience_id: int, connection: HotConnection) -> str:
        """Return the name of an audience, empty when there is none of this id."""
        if audience_id not in self._names:
            self._read(connection)
        return self._names.get(audience_id, "")

    def _read(self, connection: HotConnection) -> None:
        rows = connection.read_audiences()
        self._ids = {name: audience_id for audience_id, name in rows}
        self._names = dict(rows)
