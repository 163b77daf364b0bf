"""A time after which an exchange is over, however slowly it comes.

The client's own timeouts run from one piece of an answer to the next, so whoever
sends a byte now and then would be waited for without end.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

_CONNECTED: Final = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


class Deadline:
    """``with Deadline(seconds) as deadline``: once its time is over, connections it is told of are cut."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.over = False
        """Whether the time has ended within the block."""

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._connection = None

    def trace(self, event: str, told: Mapping[str, Any]) -> None:
        """Take note of a connection. For the extension ``trace`` of a request; nothing else is kept of it."""
        if event not in _CONNECTED:
            return
        with self._lock:
            self._connection = told["return_value"].get_extra_info("socket")
            if self.over:
                self._cut()

    def _end(self) -> None:
        with self._lock:
            self.over = True
            self._cut()

    def _cut(self) -> None:
        """Have whoever reads or writes there go on at once, with an error."""
        if self._connection is not None:
            # That of TLS would first drop the state that the other thread is using.
            with suppress(OSError):
                socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
