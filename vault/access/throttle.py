"""Slow guessing of passwords down without letting strangers lock anybody out.

Every attempt is counted before its password is looked at, in a transaction of
its own, so attempts at once do not get more guesses than attempts in a row. A
success takes its own count back.

Two limits hold at once. *Per account and source*: 5 failures, then 15 minutes
of nothing (고시 Std 5(6), number by us). *Per account*: 20 an hour, and 100 in
a row (NIST SP 800-63B-4 section 3.2.2), counted apart for sources the person
has logged in from and for all others. So a stranger who uses up the others'
share closes nothing to the person at their desk.

The account is a keyed digest of the login as typed, registered or not: the
answers do not tell which logins exist, and the table holds no list of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vault.access.identities import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from vault.domain.errors import TooManyAttemptsError
from vault.storage.database import Connection
from vault.storage.sessions import (
    add_failures,
    count_failure,
    forget_failure,
    forget_old_failures,
    lock,
    take_failures,
    touch_failure,
    uncount,
)

PER_SOURCE: Final = 5
SOURCE_LOCK_US: Final = 15 * MINUTE_US
PER_HOUR: Final = 20
IN_A_ROW: Final = 100
FORGET_US: Final = 30 * DAY_US
"""Failures in a row are forgotten when so long nobody has failed."""
TIDY_US: Final = DAY_US
"""So long the other counts are kept; they limit nothing after an hour."""

_KNOWN_ROW: Final = "known in a row"
_OTHER_ROW: Final = "in a row"


@dataclass(frozen=True, slots=True)
class Slot:
    """Under what an attempt is counted. Sources are addresses, so the words cannot be one."""

    account: bytes
    source: str
    known: bool
    older: tuple[bytes, ...] = ()
    """The same account under session keys that were replaced: what was counted there counts on."""

    @property
    def hour(self) -> str:
        """Count of the account as a whole within an hour."""
        return "known" if self.known else ""

    @property
    def row(self) -> str:
        """Count of the account as a whole since the last success."""
        return _KNOWN_ROW if self.known else _OTHER_ROW


def admit(connection: Connection, slot: Slot, now_us: int) -> bool:
    """Count an attempt and return whether this is the last one its source has.

    Raises TooManyAttemptsError; the transaction is to be rolled back then, so
    that waiting attempts do not prolong the wait.
    """
    carry_over(connection, slot.account, slot.older)
    by_source = count_failure(connection, slot.account, slot.source, now_us=now_us, window_us=SOURCE_LOCK_US)
    if by_source.locked_until > now_us:
        raise _wait(by_source.locked_until - now_us)
    by_hour = count_failure(connection, slot.account, slot.hour, now_us=now_us, window_us=HOUR_US)
    if by_hour.failures > PER_HOUR:
        raise _wait(by_hour.window_start + HOUR_US - now_us)
    in_a_row = count_failure(
        connection, slot.account, slot.row, now_us=now_us, window_us=FORGET_US, sliding=True
    )
    if in_a_row.failures > IN_A_ROW:
        raise _wait(DAY_US)
    last = by_source.failures >= PER_SOURCE
    if last:
        lock(connection, slot.account, slot.source, now_us + SOURCE_LOCK_US)
    return last


def carry_over(connection: Connection, account: bytes, older: Sequence[bytes]) -> None:
    """Move what was counted under ``older`` names of an account to ``account``: a rotation clears nothing."""
    if older:
        for found in take_failures(connection, older):
            add_failures(connection, replace(found, account=account))


def succeed(connection: Connection, slot: Slot) -> None:
    """Take back what ``admit`` counted, and what failed before from this source or in this row."""
    # In the order of admit, so that the two never wait for each other.
    forget_failure(connection, slot.account, slot.source)
    uncount(connection, slot.account, slot.hour)
    forget_failure(connection, slot.account, slot.row)


def mark(connection: Connection, slot: Slot) -> None:
    """Write the count of this source as it is, so that a failure costs the disk the same for everybody."""
    touch_failure(connection, slot.account, slot.source)


def tidy(connection: Connection, now_us: int) -> int:
    """Forget counts that limit nothing any more; return how many. For a timer."""
    return forget_old_failures(
        connection,
        now_us - TIDY_US,
        kept=(_KNOWN_ROW, _OTHER_ROW),
        kept_before_us=now_us - FORGET_US,
    )


def _wait(microseconds: int) -> TooManyAttemptsError:
    seconds = -(-microseconds // SECOND_US)
    return TooManyAttemptsError("too many attempts; come back later", retry_after=max(seconds, 1))
