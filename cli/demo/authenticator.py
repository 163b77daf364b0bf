"""A person's authenticator: six digits every thirty seconds (RFC 6238), from the secret they were shown."""

from __future__ import annotations

import base64
import hmac
import time
from typing import Final

STEP_S: Final = 30
DIGITS: Final = 6


class Authenticator:
    """Shows each code once: a code that was used opens nothing a second time.

    The vault takes the step before and after now as well, for clocks that
    differ. So whoever has just enrolled with this step's code need not wait
    half a minute to log in: the next step's is good already.
    """

    def __init__(self, secret: str) -> None:
        self.secret: Final = secret
        self._last = 0

    def code(self) -> str:
        """Return the next code that has not been shown; waits when the window is used up."""
        while self._last > int(time.time()) // STEP_S:
            time.sleep(0.25)
        self._last = max(self._last + 1, int(time.time()) // STEP_S)
        return totp(self.secret, self._last)


def totp(secret: str, step: int) -> str:
    """Return the code of one step of time."""
    key = base64.b32decode(secret, casefold=True)
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"
