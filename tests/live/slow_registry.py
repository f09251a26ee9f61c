"""The local registry of models behind a throttle, so that a pull can be interrupted in the middle.

Not a double: manifests and files come from the real registry. Like it, this one redirects downloads to another host
name, without which Ollama pulls nothing.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class SlowRegistry:
    """`address` is the bridge's on this machine, `rate` is in bytes/s, `ranges` are the first bytes asked for."""

    upstream: str
    address: str
    rate: float
    ranges: list[int] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer((self.address, 0), type("BoundHandler", (_Handler,), {"registry": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def wait_until_sent(self, amount: int, timeout_s: float = 60.0) -> None:
        """Return when so many bytes of files have gone out. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while self.sent < amount:
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {self.sent} bytes were sent in {timeout_s} s")
            time.sleep(0.05)


class _Handler(BaseHTTPRequestHandler):
    registry: SlowRegistry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: tests look at `ranges`."""

    def do_HEAD(self) -> None:
        self._answer(self._upstream(), body=False)

    def do_GET(self) -> None:
        if "/blobs/" not in self.path:
            self._answer(self._upstream())
        elif self.path.startswith("/data"):
            self._send_slowly(self._upstream(self.path.removeprefix("/data")))
        else:
            self.send_response(307)
            self.send_header("Location", f"http://{self.registry.address}:{self.registry.port}/data{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _upstream(self, path: str | None = None) -> bytes:
        headers = {"Accept": self.headers.get("Accept") or "*/*"}
        request = urllib.request.Request(self.registry.upstream + (path or self.path), headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def _answer(self, data: bytes, body: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _send_slowly(self, data: bytes) -> None:
        first, _, last = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        self.registry.ranges.append(int(first))
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.end_headers()
        step = max(1, int(self.registry.rate / 10))
        for start in range(0, len(part), step):
            try:
                self.wfile.write(part[start : start + step])
            except OSError:
                self.close_connection = True
                return
            self.registry.sent += len(part[start : start + step])
            if len(part) > step:
                time.sleep(0.1)
