"""A socket in front of PostgreSQL that loses what it is told to lose.

It passes bytes both ways until a chunk from the client holds the pattern it is armed with; then it ends that
connection, either without passing the chunk on, or after the server has done what it says and before the
client hears of it, or while the server is doing it. New connections are served as before.
"""

from __future__ import annotations

import selectors
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Self

SOCKET = ".s.PGSQL.5432"
ENDINGS = (b"Z\x00\x00\x00\x05", b"G\x00\x00\x00")
"""How the server ends its answer to a request: it is ready for the next, or for the rows of a COPY."""


class CuttingProxy:
    """``with CuttingProxy(cluster.folder) as proxy: Database.open(proxy.url(url))``."""

    def __init__(self, server: Path) -> None:
        self._server = str(server / SOCKET)
        self._folder = Path(tempfile.mkdtemp(prefix="pv-cut-", dir="/tmp"))
        self._pattern: bytes | None = None
        self._forward = False
        self._await = True
        self.cuts = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / SOCKET))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, url: str) -> str:
        """Return ``url`` as a database behind this socket."""
        return f"{url.partition('?')[0]}?host={self._folder}"

    def lose_request(self, pattern: bytes) -> None:
        """Cut at the next request that holds ``pattern``, before the server sees it."""
        self._forward, self._pattern = False, pattern

    def lose_answer(self, pattern: bytes) -> None:
        """Cut at the next request that holds ``pattern``, after the server has done it."""
        self._forward, self._await, self._pattern = True, True, pattern

    def lose_connection(self, pattern: bytes) -> None:
        """Cut at the next request that holds ``pattern``, while the server is doing it."""
        self._forward, self._await, self._pattern = True, False, pattern

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, selectors.DefaultSelector() as selector:
            try:
                server.connect(self._server)
                selector.register(client, selectors.EVENT_READ, server)
                selector.register(server, selectors.EVENT_READ, client)
                while self._pass(selector, client):
                    pass
            except OSError:
                return

    def _pass(self, selector: selectors.BaseSelector, client: socket.socket) -> bool:
        """Pass on what has come; say whether the connection goes on."""
        for key, _ in selector.select():
            source, target = key.fileobj, key.data
            assert isinstance(source, socket.socket)
            chunk = source.recv(1 << 16)
            if not chunk:
                return False
            if source is client and self._pattern is not None and self._pattern in chunk:
                self._pattern = None
                self.cuts += 1
                if self._forward:
                    target.sendall(chunk)
                    if self._await:
                        _await_answer(target)
                return False
            target.sendall(chunk)
        return True


def _await_answer(server: socket.socket) -> None:
    heard = b""
    while not any(ending in heard for ending in ENDINGS):
        chunk = server.recv(1 << 16)
        if not chunk:
            return
        heard = heard[-len(ENDINGS[0]) :] + chunk
