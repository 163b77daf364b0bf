"""An exchange is over after its time, whether a connection is there yet or not."""

from __future__ import annotations

import socket
from typing import Any

from keys.wrappers.deadline import Deadline


class Stream:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def get_extra_info(self, _name: str) -> socket.socket:
        return self._connection


def test_a_connection_that_comes_after_the_end_is_cut_at_once() -> None:
    here, there = socket.socketpair()
    with here, there, Deadline(60) as deadline:
        deadline._end()
        told: dict[str, Any] = {"return_value": Stream(here)}
        deadline.trace("http11.send_request_headers.started", told)
        deadline.trace("connection.connect_tcp.complete", told)
        assert deadline.over
        there.settimeout(5)
        assert there.recv(1) == b""
