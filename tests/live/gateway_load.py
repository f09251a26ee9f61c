"""Clients of the gateway for the live tests: single requests, raw bytes, and a steady load that is counted."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests

from images.stand_ins import catalogue, registry
from tests.live.fixtures_containers import docker_client, free_port
from tests.live.live_stack import LiveStack

CHAT = "tiny-chat:random"
EMBEDDER = "all-minilm:22m"
TIMEOUT_S = 60


def gateway_config(**gateway: Any) -> dict[str, Any]:
    """Sections of a stack with a gateway and two servers; Ollama's second port has to be free too."""
    return {
        "registry": catalogue.overlay(registry.IMAGES_AT, registry.MODELS_AT)["registry"],
        "ollama": {
            "port": _two_free_ports(),
            "environment": {"num_parallel": 2, "max_loaded_models": 2, "context_length": 2048},
            "container": {"memory": "2g"},
        },
        "pool": {"servers": 2},
        "gateway": {
            "enabled": True,
            "port": free_port(),
            "metrics_port": free_port(),
            "keys": [{"name": "app"}, {"name": "ops", "scope": "admin"}, {"name": "slow", "requests": 3}],
            "rate": {"requests": 100_000, "per": "5s"},
            "body_limit": "1m",
            **gateway,
        },
    }


def _two_free_ports() -> int:
    while True:
        first = free_port()
        with socket.socket() as second:
            try:
                second.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            return first


@dataclass
class Client:
    """Calls one gateway with one key; `verify` as in `requests`."""

    url: str
    key: str | None
    verify: bool | str = True

    def send(self, method: str, path: str, *, key_header: str = "authorization", **more: Any) -> requests.Response:
        headers = dict(more.pop("headers", {}))
        if self.key:
            headers[key_header] = f"Bearer {self.key}" if key_header == "authorization" else self.key
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, f"{self.url}{path}", headers=headers, timeout=TIMEOUT_S, verify=self.verify, **more
            )

    def chat(self, text: str = "hello", *, tokens: int = 8, **more: Any) -> requests.Response:
        return self.send("POST", "/api/chat", json=chat_body(text, tokens=tokens), **more)

    def embed(self, text: str = "hello") -> requests.Response:
        return self.send("POST", "/api/embed", json={"model": EMBEDDER, "input": text})


def chat_body(text: str, *, tokens: int = 8, stream: bool = False) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"model": CHAT, "messages": [message], "stream": stream, "options": {"num_predict": tokens}}


def raw(url: str, data: bytes, timeout: float = 3.0) -> bytes:
    """What comes back for bytes that no HTTP library would send."""
    parts = urlsplit(url)
    got = b""
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout) as connection:
        connection.sendall(data)
        try:
            while chunk := connection.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionResetError):
            pass
    return got


def access_log(stack: LiveStack) -> list[dict[str, Any]]:
    """The gateway's access log so far. Its other lines, about servers that come and go, are no JSON."""
    text = docker_client().containers.get(f"{stack.prefix}-gateway").logs().decode()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def logged(stack: LiveStack, count: int = 1) -> Iterator[list[dict[str, Any]]]:
    """The lines that the requests of the block leave in the access log: `count` at least, else it fails. A line is
    written after the answer has gone, and takes its time through Docker's log."""
    before = len(access_log(stack))
    lines: list[dict[str, Any]] = []
    yield lines
    assert eventually(lambda: len(access_log(stack)) >= before + count, within_s=10), "nothing was logged"
    lines.extend(access_log(stack)[before:])


def memory_mib(stack: LiveStack, service: str) -> float:
    """MiB of a container without the page cache, in which its image's files lie when they were just written."""
    memory = docker_client().containers.get(f"{stack.prefix}-{service}").stats(stream=False)["memory_stats"]
    kept = memory["stats"]
    return float(memory["usage"] - kept.get("total_cache", kept.get("file", 0))) / 2**20


def eventually(what: Callable[[], bool], within_s: float = 20.0) -> bool:
    """Whether it becomes true in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.1)
    return False


@dataclass
class Load:
    """Concurrent clients that never rest while the block runs; every answer is counted by its status."""

    client: Client
    clients: int = 4
    answers: list[tuple[float, int, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()
        assert eventually(lambda: len(self.answers) >= self.clients), "no load came about"
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[tuple[float, int, str]]:
        return [answer for answer in self.answers if answer[1] != 200]

    def more(self, count: int) -> bool:
        """Whether so many more answers come."""
        aim = len(self.answers) + count
        return eventually(lambda: len(self.answers) >= aim, within_s=90)

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            text = f"client {number}, conversation {turn}"
            try:
                answer = self.client.embed(text) if turn % 2 else self.client.chat(text)
                self.answers.append((time.time(), answer.status_code, answer.text[:200]))
            except requests.RequestException as error:
                self.answers.append((time.time(), 0, f"{type(error).__name__}: {error}"[:200]))
