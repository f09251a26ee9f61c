"""A thousand hostile requests against the real gateway: none reaches an administrative endpoint of real Ollama.

What reached Ollama is read from Ollama: it logs every request with method and path, whatever it answers.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.live.fixtures_containers import docker_client
from tests.live.gateway_load import Client, eventually, gateway_config, raw
from tests.live.live_stack import LiveStack

COUNT = 1000
ADMINISTRATIVE = ("pull", "push", "create", "copy", "delete", "blobs/sha256:00")
BODY = b'{"model":"stolen","name":"stolen","source":"all-minilm:22m","destination":"stolen","files":{}}'
# Gin's access log: [GIN] date | status | time | client | METHOD "/path"
REACHED = re.compile(r'\[GIN\].*\|\s+([A-Z]+)\s+"([^"]*)"')
WELCOME = {"/", "/api/version", "/api/tags", "/api/ps", "/api/show", "/api/chat", "/api/generate", "/api/embed"}


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., LiveStack]) -> LiveStack:
    stack = make_stack(**gateway_config())
    stack.up()
    return stack


def paths() -> Iterator[str]:
    """Ways to write an administrative path, by name."""
    tricks: list[Callable[[str], str]] = [
        lambda end: f"/api/{end}",
        lambda end: f"//api/{end}",
        lambda end: f"/api//{end}",
        lambda end: f"/api/./{end}",
        lambda end: f"/./api/{end}",
        lambda end: f"/v1/../api/{end}",
        lambda end: f"/api/tags/../{end}",
        lambda end: f"/api/chat/..%2f{end}",
        lambda end: f"/api/%2e%2e/api/{end}",
        lambda end: f"/api/{end}/",
        lambda end: f"/api/{end}?x=/api/tags",
        lambda end: f"/api/{end}#/api/tags",
        lambda end: f"/api/{end};/api/tags",
        lambda end: f"/API/{end.upper()}",
        lambda end: f"/Api/{end.title()}",
        lambda end: "/api/" + "".join(f"%{ord(char):02x}" for char in end),
        lambda end: "/" + "".join(f"%{ord(char):02X}" for char in f"api/{end}"),
        lambda end: f"/api%2f{end}",
        lambda end: f"/api/%252e/{end}",
        lambda end: f"/api\\{end}",
        lambda end: f"http://ollama-1/api/{end}",
        lambda end: f"http://gateway/api/tags/../{end}",
        lambda end: f"/v1/models/../../api/{end}",
        lambda end: f"/v1/models/x/%2e%2e/%2e%2e/api/{end}",
        lambda end: f"/api/tags%00/api/{end}",
        lambda end: f"/api/tags%0d%0aPOST%20/api/{end}",
        lambda end: f"/api/{end}%20",
        lambda end: f" /api/{end}",
    ]
    for trick, end in itertools.product(tricks, ADMINISTRATIVE):
        yield trick(end)


def hostile(key: str) -> Iterator[bytes]:
    """Requests as bytes, with a valid key of scope inference, so that only the scope stands in the way."""
    own = b"host: gateway\r\nauthorization: Bearer " + key.encode() + b"\r\n"
    length = b"content-length: %d\r\n" % len(BODY)
    methods = ("POST", "DELETE", "GET", "HEAD", "PUT", "PATCH", "post", "Post", "OPTIONS", "TRACE", "CONNECT", "PO ST")
    for path, method in itertools.product(paths(), methods):
        yield f"{method} {path} HTTP/1.1\r\n".encode() + own + length + b"connection: close\r\n\r\n" + BODY
    inner = b"POST /api/pull HTTP/1.1\r\n" + own + length + b"\r\n" + BODY
    welcome = b"POST /api/show HTTP/1.1\r\n" + own
    chunk = b"0\r\n\r\n"
    smuggled = [
        welcome + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" + chunk + inner,
        welcome + b"content-length: 5\r\ncontent-length: %d\r\n\r\n" % (5 + len(inner)) + chunk + inner,
        welcome + b"content-length: 5, 5\r\n\r\n" + chunk + inner,
        welcome + b"transfer-encoding: chunked, identity\r\n\r\n" + chunk + inner,
        welcome + b"transfer-encoding: xchunked\r\ncontent-length: 5\r\n\r\n" + chunk + inner,
        welcome + b"transfer-encoding : chunked\r\n\r\n" + chunk + inner,
        welcome + b"transfer-encoding:\x0bchunked\r\n\r\n" + chunk + inner,
        welcome + b"transfer-encoding: chunked\r\n\r\n" + b"0;a=\r\n\r\n" + inner,
        welcome + b"transfer-encoding: chunked\r\n\r\n" + b"ffffffffffffffff\r\n" + inner,
        welcome + b"content-length: -1\r\n\r\n" + inner,
        welcome + b"content-length: 0x10\r\n\r\n" + inner,
        b"GET /api/tags HTTP/1.1\r\n" + own + b"content-length: %d\r\n\r\n" % len(inner) + inner,
        b"GET /api/tags HTTP/0.9\r\n" + own + b"\r\n" + inner,
        b"GET /api/tags HTTP/1.1\r\n" + own + b"x: y\r\n POST /api/pull HTTP/1.1\r\n\r\n",
        b"GET /api/tags HTTP/1.1\n" + own.replace(b"\r\n", b"\n") + b"\n" + inner,
        b"GET /api/tags HTTP/1.1\r\n" + own + b"upgrade: h2c\r\nconnection: upgrade, http2-settings\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\n" + own + b"x-original-url: /api/pull\r\nx-rewrite-url: /api/pull\r\n\r\n",
        b"POST /api/show HTTP/1.1\r\n" + own + length + b"x-http-method-override: DELETE\r\n\r\n" + BODY,
        b"GET /api/tags HTTP/1.1\r\n" + own + b"x-huge: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\n" + own + b"x: y\r\n" * 5000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + own + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inner,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"\x00" * 500,
        # Two requests in one packet: the second has to be judged by itself.
        b"GET /api/tags HTTP/1.1\r\n" + own + b"\r\n" + inner,
        b"GET /api/tags HTTP/1.1\r\n" + own + b"\r\nPOST /api/pull HTTP/1.1\r\nhost: x\r\n" + length + b"\r\n" + BODY,
    ]
    yield from smuggled


def reached(stack: LiveStack) -> Counter[tuple[str, str]]:
    """How often each method and path came to either server."""
    lines = "".join(
        docker_client().containers.get(f"{stack.prefix}-{service}").logs().decode(errors="replace")
        for service in ("ollama", "ollama-2")
    )
    return Counter((match[1], match[2]) for match in REACHED.finditer(lines))


def test_a_thousand_hostile_requests_reach_no_administrative_endpoint(stack: LiveStack) -> None:
    outputs = stack.outputs()
    url, keys = outputs["gateway_url"], outputs["api_keys"]
    app = Client(url, keys["app"])
    models = app.send("GET", "/api/tags").json()
    before = reached(stack)
    everything = list(hostile(keys["app"]))
    # The smuggled ones, which come last, are always among those that are sent.
    chosen = random.Random(5).sample(everything[:-26], COUNT - 26) + everything[-26:]
    assert len(chosen) == COUNT
    for request in chosen:
        raw(url, request, timeout=0.3)
    came = [request for request in reached(stack) - before if request[1].split("?")[0] not in WELCOME]
    assert not came
    assert app.send("GET", "/api/tags").json() == models
    # The very same gateway lets an administrator through, so that what was counted above can be seen at all.
    Client(url, keys["ops"]).send("POST", "/api/pull", json={"model": "stolen", "stream": False})
    assert eventually(lambda: ("POST", "/api/pull") in reached(stack) - before)
    assert app.chat().status_code == 200
