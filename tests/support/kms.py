"""A private AWS KMS for tests: what moto answers, over HTTP on this host, so that other processes ask it too.

moto has a server of its own, which takes a web framework along; this hands each request to the same code.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from botocore.awsrequest import AWSPreparedRequest
from moto.core.botocore_stubber import BotocoreStubber

REGION = "ap-northeast-2"


class _Answer(BaseHTTPRequestHandler):
    def answer(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        url = f"https://kms.{REGION}.amazonaws.com/"
        request = AWSPreparedRequest("POST", url, dict(self.headers), content, stream_output=False)
        told: Any = BotocoreStubber().process_request(request)
        status, _, body = told
        sent = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_POST = answer  # noqa: N815 (the name it has there)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def kms_server() -> Iterator[str]:
    """Serve until the block is left; give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
