"""The day by which copies of the database of today are dead, under the schedule in force.

A copy of an earlier day still holds wrapped keys and digests. Its values die
when every wrapping key in it is destroyed and every root key that sealed one is
retired, its digests when their lookup keys are. A root key to come seals what is
still there on its first day, so it counts too (``vault.rotation.retirement``).
Each key in force is to be
replaced when its cryptoperiod is over (NIST SP 800-57 Part 1 Rev. 5, 5.3), and
destroyed then; one that has been replaced is to be destroyed at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from keys.keyring import KeyKind
from keys.states import KeyState
from vault.access.identities import DAY_US
from vault.storage.database import Connection
from vault.storage.keys import read_key_dates, read_keys
from vault.storage.roots import RootRow, read_roots

ROOT: Final = "root"
"""Kind of the root key, in the policy's cryptoperiods too."""

NO_DATE: Final = "no date: set a cryptoperiod"

TO_COME: Final = "to come"
"""State of the last root key that will have sealed any of the keys of today."""

_HANGING: Final = frozenset({KeyKind.WRAPPING, KeyKind.LOOKUP})


@dataclass(frozen=True, slots=True)
class Part:
    """One key that copies of today hang on."""

    name: str
    """``kind/scope/version``."""
    state: str
    at_us: int | None
    """When it is to be gone, in microseconds since the epoch; None: its kind has no cryptoperiod."""

    def told(self, now_us: int) -> str:
        """Return it as one line of text."""
        if self.at_us is None:
            return f"{self.name} ({self.state}), {NO_DATE}"
        if self.state == "ended":
            return f"{self.name} (ended), gone on {day(self.at_us)}"
        if self.state not in {KeyState.ACTIVE, TO_COME}:
            return f"{self.name} ({self.state}), to be destroyed, due since {day(self.at_us)}"
        late = ", overdue" if self.at_us <= now_us else ""
        if self.state == TO_COME:
            return f"{self.name} ({TO_COME}), will seal what is left then, gone by {day(self.at_us)}{late}"
        return f"{self.name} ({self.state}), to be replaced and destroyed by {day(self.at_us)}{late}"


@dataclass(frozen=True, slots=True)
class Bound:
    """When the last of the keys is gone, if every key goes when it is due."""

    parts: tuple[Part, ...]

    @property
    def at_us(self) -> int | None:
        """The latest of the parts; None when one has no date, or there is nothing to go by."""
        dates = [part.at_us for part in self.parts]
        known = [at_us for at_us in dates if at_us is not None]
        return max(known) if known and len(known) == len(dates) else None

    def told(self, now_us: int) -> str:
        """Return it in words: a day, one that has passed, or that there is none."""
        if self.at_us is None:
            return NO_DATE
        return day(self.at_us) if self.at_us > now_us else f"overdue since {day(self.at_us)}"


def read_bound(connection: Connection, cryptoperiods: Mapping[str, int]) -> Bound:
    """Return the bound of copies of the database as ``connection`` sees it.

    ``cryptoperiods`` are days by kind of key, as in the policy.
    """
    dates = read_key_dates(connection)
    parts = [
        _part(record.name, record.state, dates[record.name][1], days=cryptoperiods.get(record.kind.value))
        for record in read_keys(connection)
        if record.kind in _HANGING and record.state is not KeyState.DESTROYED
    ]
    parts += _roots(read_roots(connection), cryptoperiods.get(ROOT))
    return Bound((*parts, *_to_come(parts, cryptoperiods.get(ROOT))))


def _to_come(parts: Sequence[Part], days: int | None) -> Iterator[Part]:
    """Yield the last root key that comes into force before the last wrapping or lookup key is destroyed.

    At the same moment counts as before: nothing says which is done first.
    """
    hanging = [part.at_us for part in parts if not part.name.startswith(f"{ROOT}/")]
    for root in parts:
        if days is None or root.at_us is None or not root.name.startswith(f"{ROOT}/"):
            continue
        last = max((at_us for at_us in hanging if at_us is not None), default=root.at_us - 1)
        if root.state == KeyState.ACTIVE and root.at_us <= last:
            period = days * DAY_US
            more = (last - root.at_us) // period + 1
            version = int(root.name.rpartition("/")[2]) + more
            yield Part(f"{ROOT}//{version}", TO_COME, root.at_us + more * period)


def _roots(copies: Sequence[RootRow], days: int | None) -> Iterator[Part]:
    """Yield the version in force, and each before it that a copy may still open somewhere."""
    made = {copy.version: copy.created_at for copy in copies}
    for version in sorted(made):
        name, ended = f"{ROOT}//{version}", [copy for copy in copies if copy.version == version]
        if any(copy.state == "active" for copy in ended):
            yield _part(name, KeyState.ACTIVE, made[version], days=days)
        elif any(copy.ended_at is None for copy in ended):
            # It was replaced when the next one was made; nobody has confirmed the end of its copies since.
            yield Part(name, "retired", made.get(version + 1, made[version]))
        else:
            yield Part(name, "ended", max(copy.ended_at or 0 for copy in ended))


def day(at_us: int) -> str:
    """Return the day in UTC, as ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).date().isoformat()


def _part(name: str, state: KeyState, since_us: int, *, days: int | None) -> Part:
    if state is not KeyState.ACTIVE:
        return Part(name, state.value, since_us)
    return Part(name, state.value, None if days is None else since_us + days * DAY_US)
