from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def httpserver_text() -> Iterator[Callable[[str], str]]:
    """Serves one text on loopback; called with it, gives the address."""
    served = {"text": b""}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served["text"])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def serve(text: str) -> str:
            served["text"] = text.encode()
            return f"http://127.0.0.1:{server.server_port}/metrics"

        yield serve
        server.shutdown()
        thread.join()
