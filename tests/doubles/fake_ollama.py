"""A TEST DOUBLE of Ollama's HTTP API on loopback: no models, only the answers that a server gives, and its failures.

What it answers follows Ollama 0.17.4 (server/routes.go, server/images.go). It can be told to fail in the next requests
to a path: see the functions at the end. The real server is used in tests/live.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Fault = Callable[["Handler"], None]


@dataclass(frozen=True, kw_only=True)
class FakeModel:
    """A model as the double knows it. Its digest follows from `content`."""

    content: str
    size: int = 45_960_996
    dimension: int = 4
    capabilities: tuple[str, ...] = ("embedding",)
    vector: tuple[float, ...] = (0.5, 0.5, 0.5, 0.5)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()


@dataclass
class FakeOllama:
    """`models` are on the server, `registry` can be pulled, `loaded` is in memory, `calls` is what was asked."""

    models: dict[str, FakeModel] = field(default_factory=dict)
    registry: dict[str, FakeModel] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"fake": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, path: str, *faults: Fault) -> None:
        """Answer the next requests to `path` by these, one each."""
        self.faults[path].extend(faults)

    def asked(self, path: str) -> list[dict[str, Any]]:
        """The bodies of the requests to a path, in order."""
        return [body for _, asked, body in self.calls if asked == path]


class Handler(BaseHTTPRequestHandler):
    """One request to the double."""

    fake: FakeOllama
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: with Nagle's algorithm the second waits 40 ms for the client's delayed ACK.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: tests look at `calls`."""

    def _any(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.fake.calls.append((self.command, self.path, self.body))
        if self.fake.faults[self.path]:
            self.fake.faults[self.path].pop(0)(self)
        else:
            getattr(self, "on_" + self.path.removeprefix("/api/"))()

    do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the base class's names

    def answer(self, body: Any, status: int = 200, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def line(self, **fields: Any) -> None:
        data = json.dumps(fields).encode() + b"\n"
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def on_version(self) -> None:
        self.answer({"version": "0.17.4"})

    def on_tags(self) -> None:
        self.answer({"models": [{"name": n, "size": m.size, "digest": m.digest} for n, m in self.fake.models.items()]})

    def on_ps(self) -> None:
        self.answer({"models": [{"name": name} for name in sorted(self.fake.loaded)]})

    def on_show(self) -> None:
        model = self._model()
        if model:
            info = {"bert.embedding_length": model.dimension, "bert.context_length": 512}
            details = {"family": "bert", "parameter_size": "23M", "quantization_level": "F16"}
            self.answer({"details": details, "model_info": info, "capabilities": list(model.capabilities)})

    def on_embed(self) -> None:
        model = self._model()
        if model:
            self._keep()
            inputs = self.body.get("input") or []
            self.answer({"embeddings": [list(model.vector) for _ in inputs]})

    def on_generate(self) -> None:
        model = self._model()
        if model and self.body.get("keep_alive") == 0:
            self.fake.loaded.discard(self.body["model"])
            self.answer({"response": "", "done_reason": "unload"})
        elif model and "completion" not in model.capabilities:
            self.answer({"error": f'"{self.body["model"]}" does not support generate'}, 400)
        elif model:
            self._keep()
            self.answer({"response": "", "done_reason": "load"})

    def on_delete(self) -> None:
        if self._model():
            del self.fake.models[self.body["model"]]
            self.answer(b"")

    def on_copy(self) -> None:
        model = self.fake.models.get(self.body["source"])
        if model is None:
            self.answer({"error": f'model "{self.body["source"]}" not found'}, 404)
            return
        self.fake.models[self.body["destination"]] = model
        self.answer(b"")

    def on_pull(self) -> None:
        self.begin_stream()
        self.line(status="pulling manifest")
        model = self.fake.registry.get(self.body["model"])
        if model is None:
            self.line(error="pull model manifest: file does not exist")
        else:
            self.download(model, 0, model.size)
            self.line(status="verifying sha256 digest")
            self.line(status="writing manifest")
            self.fake.models[self.body["model"]] = model
            self.line(status="success")
        self.end_stream()

    def download(self, model: FakeModel, start: int, end: int) -> None:
        for completed in (start, (start + end) // 2, end):
            self.line(
                status=f"pulling {model.digest[:12]}", digest="sha256:" + model.digest,
                total=model.size, completed=completed,
            )  # fmt: skip

    def _model(self) -> FakeModel | None:
        model = self.fake.models.get(self.body["model"])
        if model is None:
            self.answer({"error": f"model '{self.body['model']}' not found"}, 404)
        return model

    def _keep(self) -> None:
        if self.body.get("keep_alive") == 0:
            self.fake.loaded.discard(self.body["model"])
        else:
            self.fake.loaded.add(self.body["model"])


def refuses(status: int, error: str) -> Fault:
    """An error status with a reason."""
    return lambda handler: handler.answer({"error": error}, status)


def says(body: bytes, kind: str = "text/html", status: int = 200) -> Fault:
    """Something that is not Ollama's."""
    return lambda handler: handler.answer(body, status, kind)


def error_line(error: str) -> Fault:
    """A stream that ends in an error under HTTP 200."""

    def fault(handler: Handler) -> None:
        handler.begin_stream()
        handler.line(status="pulling manifest")
        handler.line(error=error)
        handler.end_stream()

    return fault


def cut_at(share: float, model: FakeModel) -> Fault:
    """A download whose connection is reset after a share of its bytes."""

    def fault(handler: Handler) -> None:
        handler.begin_stream()
        handler.download(model, 0, int(model.size * share))
        reset(handler.connection)
        handler.close_connection = True

    return fault


def ends_without_success(handler: Handler) -> None:
    """A stream that ends in good order but too early."""
    handler.begin_stream()
    handler.line(status="pulling manifest")
    handler.end_stream()


def silent_for(seconds: float) -> Fault:
    """A stream that says one line and then nothing."""

    def fault(handler: Handler) -> None:
        handler.begin_stream()
        handler.line(status="pulling manifest")
        time.sleep(seconds)
        handler.close_connection = True

    return fault


def stuck_for(seconds: float, model: FakeModel) -> Fault:
    """A stream that goes on without a single byte of the file coming in."""

    def fault(handler: Handler) -> None:
        handler.begin_stream()
        # The client is meant to leave before the end.
        with suppress(ConnectionError):
            for _ in ticks(seconds):
                handler.line(status="pulling", digest="sha256:" + model.digest, total=model.size, completed=1000)
        handler.close_connection = True

    return fault


def ticks(seconds: float, every: float = 0.05) -> Iterator[None]:
    """Once every 50 ms, for so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(every)


def reset(connection: socket.socket) -> None:
    """Drop a connection as a killed process does: with a reset instead of a farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()
