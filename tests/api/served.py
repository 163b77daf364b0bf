"""A real server on a free loopback port, in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.edge import Edge
from api.listener import Server, server_config

STOP_SECONDS = 20


@contextmanager
def served(
    app: Edge, *, certificate: Path | None = None, private_key: Path | None = None
) -> Iterator[tuple[str, int]]:
    """Serve ``app``; its vault is closed at the end."""
    started = threading.Event()
    config = server_config(lambda: app, certificate=certificate, private_key=private_key)
    config.timeout_keep_alive = 2
    server = Server(config, started.set)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert started.wait(STOP_SECONDS)
        try:
            yield host, port
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS)
            assert not thread.is_alive()
