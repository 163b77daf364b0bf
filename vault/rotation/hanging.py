"""What hangs on the keys that are not those of values: counted by kind, told apart by version.

The census shows it and the end of a key rests on it, so what can be counted by
the stored bytes themselves is: MACs are verified, headers read. What hangs on
a session key cannot be told that way, since nobody knows the secrets; there a
column outside the MAC says it. Whoever lowers it can have a key end early, and
then those secrets stop; nothing opens by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from keys.keyring import KeyKind, KeyRecord, Keyring
from keys.states import KeyState
from vault.access.alarms import SEALED
from vault.access.identities import DAY_US, HOUR_US, MINUTE_US
from vault.access.session_rows import IDLE_US
from vault.audit import hanging as of_log
from vault.rotation import reseal
from vault.storage import hanging as counts
from vault.storage.database import Connection

SESSION_HOLD_US: Final = HOUR_US
"""So long after its replacement a session key stays: access tokens live ten minutes, and the short counts of
failed logins an hour."""

OVERLAP_US: Final = 7 * DAY_US
"""So long at least both keys sign the log, so that every verifier can get the new one."""

CLOCKS_US: Final = MINUTE_US
"""Clocks of two nodes are taken to be no further apart."""


@dataclass(frozen=True, slots=True)
class Load:
    """What hangs on one version of a key."""

    counts: Mapping[str, int]
    """How much of what, by name; what is not there is named too, with zero."""
    held_until_us: int | None = None
    """The key may not end before, whatever is counted. None: it is not held."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is counted in: one state of the database."""

    connection: Connection
    keyring: Keyring
    dates: Mapping[str, tuple[int, int]]
    """When each key was made and last changed state, by name."""
    now_us: int

    def replaced_us(self, record: KeyRecord) -> int | None:
        """Return when ``record`` went out of use; None while it is in use."""
        return None if record.state is KeyState.ACTIVE else self.dates[record.name][1]

    def held(self, record: KeyRecord, for_us: int) -> int | None:
        """Return until when ``record`` is held, if it is still."""
        replaced_us = self.replaced_us(record)
        if replaced_us is None or record.state is KeyState.DESTROYED:
            return None
        until_us = replaced_us + for_us
        return until_us if until_us > self.now_us else None


Loads = Callable[[KeyRecord], Load]


def _session(scene: Scene) -> Loads:
    connection, now_us = scene.connection, scene.now_us
    credentials = counts.count_credentials(connection, now_us)
    sessions = counts.count_sessions(connection, now_us, idle_us=IDLE_US)
    invitations = counts.count_invitations(connection, now_us)

    def of(record: KeyRecord) -> Load:
        version = record.version
        found = {
            "credentials": credentials.get(version, 0),
            "sessions": sessions.get(version, 0),
            "invitations": invitations.get(version, 0),
        }
        return Load(found, scene.held(record, SESSION_HOLD_US))

    return of


def _authority(scene: Scene) -> Loads:
    sealed, broken = reseal.count_rows(scene.connection, scene.keyring)
    # Of a table that the reseal does not know nobody can say what its rows hang on.
    broken += sum(counts.count_unknown_sealed(scene.connection, {row.table.name for row in SEALED}).values())
    tree = of_log.tree_hangs_on(scene.connection, scene.keyring)

    def of(record: KeyRecord) -> Load:
        replaced_us = scene.replaced_us(record)
        ended = record.state is KeyState.DESTROYED
        records = (
            0
            if replaced_us is None or ended
            else counts.count_replays(scene.connection, until_us=replaced_us + CLOCKS_US)
        )
        return Load(
            {
                "rows": 0 if ended else sealed[record.version],
                "unverified": 0 if ended else broken,
                "trees": int(tree in {record.version, 0} and not ended),
                "idempotency_records": records,
            }
        )

    return of


def _log_mac(scene: Scene) -> Loads:
    units, broken = of_log.units_waiting(scene.connection, scene.keyring)

    def of(record: KeyRecord) -> Load:
        ended = record.state is KeyState.DESTROYED
        return Load({"units": 0 if ended else units[record.version] + broken})

    return of


def _staff_data(scene: Scene) -> Loads:
    secrets = counts.count_totp(scene.connection)
    reasons = counts.count_reasons(scene.connection)
    return lambda record: Load(
        {
            "authenticator_secrets": secrets.get(record.version, 0),
            "reasons": reasons.get(record.version, 0),
        }
    )


def _log_signing(scene: Scene) -> Loads:
    signed = of_log.newest_is_signed(scene.connection, scene.keyring)

    def of(record: KeyRecord) -> Load:
        ended = record.state is KeyState.DESTROYED
        in_force = record.state is KeyState.ACTIVE
        # The newest checkpoint is the one that the next is made from, on every node.
        return Load({"checkpoints": int(not ended and in_force is signed)}, scene.held(record, OVERLAP_US))

    return of


def _token(scene: Scene) -> Loads:
    tokens = counts.count_tokens(scene.connection)
    # No row says which key its token was made with: any of them may hang on any version.
    return lambda _record: Load({"tokens": tokens})


KINDS: Final[Mapping[KeyKind, Callable[[Scene], Loads]]] = MappingProxyType(
    {
        KeyKind.AUTHORITY: _authority,
        KeyKind.LOG_MAC: _log_mac,
        KeyKind.LOG_SIGNING: _log_signing,
        KeyKind.SESSION: _session,
        KeyKind.STAFF_DATA: _staff_data,
        KeyKind.TOKEN: _token,
    }
)
"""Every kind but those whose census counts data keys, values and digests."""
