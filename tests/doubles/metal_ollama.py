"""A TEST DOUBLE of a Mac's native Ollama: a real server on a CPU, whose `/api/ps` is made to say that all is on a GPU.

There is no Mac here. Everything else passes through untouched, so that only the claim about the GPU is played.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


@contextmanager
def metal_in_front_of(url: str, port: int) -> Iterator[str]:
    """Serves on loopback at `port` what the server at `url` answers; its own URL."""
    handler = type("BoundHandler", (_Handler,), {"behind": url})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    behind = ""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                self.command,
                self.behind + self.path,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=300,
            )
        content = answer.content
        if self.path == "/api/ps":
            models = [{**model, "size_vram": model["size"]} for model in answer.json()["models"]]
            content = json.dumps({"models": models}).encode()
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self._pass_on()

    def do_HEAD(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def log_message(self, *_: object) -> None:
        pass
