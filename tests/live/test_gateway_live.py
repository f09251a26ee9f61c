"""The gateway in front of two real Ollama servers: who gets in, to what, how often, and what they and the log see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from components.services.labels import STACK_LABEL
from scripts.command import PROJECT
from scripts.env_file import variables
from tests.live.fixtures_containers import docker_client
from tests.live.gateway_load import (
    CHAT,
    Client,
    access_log,
    chat_body,
    eventually,
    gateway_config,
    logged,
    memory_mib,
    raw,
)
from tests.live.live_stack import LiveStack

IDLE_MIB = 60


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., LiveStack]) -> LiveStack:
    stack = make_stack(**gateway_config())
    stack.up()
    return stack


@pytest.fixture(scope="module")
def keys(stack: LiveStack) -> dict[str, str]:
    found: dict[str, str] = stack.outputs()["api_keys"]
    return found


@pytest.fixture(scope="module")
def url(stack: LiveStack) -> str:
    return str(stack.outputs()["gateway_url"])


@pytest.fixture
def app(url: str, keys: dict[str, str]) -> Client:
    return Client(url, keys["app"])


@pytest.fixture
def ops(url: str, keys: dict[str, str]) -> Client:
    return Client(url, keys["ops"])


def test_an_idle_gateway_takes_little_memory(stack: LiveStack) -> None:
    assert 1 < memory_mib(stack, "gateway") <= IDLE_MIB


def test_a_second_up_changes_nothing_and_restarts_nothing(stack: LiveStack) -> None:
    before = stack.lives()
    assert stack.up().changed_nothing
    assert stack.lives() == before


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_opens_every_way_of_inference(app: Client, header: str) -> None:
    message = [{"role": "user", "content": "hello"}]
    for path, body in (
        ("/api/chat", chat_body("hello")),
        ("/api/generate", {"model": CHAT, "prompt": "hello", "stream": False, "options": {"num_predict": 4}}),
        ("/api/embed", {"model": "all-minilm:22m", "input": "hello"}),
        ("/api/embeddings", {"model": "all-minilm:22m", "prompt": "hello"}),
        ("/api/show", {"model": CHAT}),
        ("/v1/chat/completions", {"messages": message, "model": CHAT, "max_tokens": 4}),
        ("/v1/embeddings", {"model": "all-minilm:22m", "input": "hello"}),
    ):
        answer = app.send("POST", path, json=body, key_header=header)
        assert answer.status_code == 200, (path, answer.text)
    for path in ("/", "/api/version", "/api/tags", "/api/ps", "/v1/models", f"/v1/models/{CHAT}"):
        assert app.send("GET", path, key_header=header).status_code == 200, path


@pytest.mark.parametrize("key", [None, "wrong", "rsk_" + "x" * 40, ""])
def test_no_valid_key_is_401_in_the_form_of_the_api_that_was_asked(url: str, key: str | None) -> None:
    native = Client(url, key).send("GET", "/api/tags")
    assert (native.status_code, native.json()) == (401, {"error": "a valid API key is needed"})
    openai = Client(url, key).send("GET", "/v1/models")
    assert openai.status_code == 401
    assert openai.json()["error"] == {
        "message": "a valid API key is needed",
        "type": "gateway_error",
        "param": None,
        "code": None,
    }


def test_a_key_in_the_query_opens_nothing_and_is_in_no_log(stack: LiveStack, url: str, keys: dict[str, str]) -> None:
    assert Client(url, None).send("GET", f"/api/tags?key={keys['app']}").status_code == 401
    assert Client(url, keys["app"]).send("GET", f"/api/tags?token={keys['app']}").status_code == 200
    for container in docker_client().containers.list(filters={"label": f"{STACK_LABEL}={stack.prefix}"}):
        assert keys["app"] not in container.logs().decode(errors="replace"), container.name


def test_two_keys_in_one_request_are_refused(url: str, keys: dict[str, str]) -> None:
    line = f"authorization: Bearer {keys['app']}\r\n"
    answer = raw(url, f"GET /api/tags HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{line}{line}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("HEAD", "/api/blobs/sha256:00"),
        ("POST", "/api/blobs/sha256:00"),
        ("GET", "/debug/pprof/"),
        ("PUT", "/api/chat"),
    ],
)
def test_administration_takes_the_scope_admin(app: Client, method: str, path: str) -> None:
    answer = app.send(method, path, data=b"{}" if method != "HEAD" else None)
    assert answer.status_code == 403
    if method != "HEAD":
        assert answer.json() == {"error": "this key may not do that; it takes one of scope admin"}


def test_an_administrator_copies_and_deletes_a_model_for_the_whole_pool(ops: Client, app: Client) -> None:
    assert ops.send("POST", "/api/copy", json={"source": CHAT, "destination": "copied:1"}).status_code == 200
    # Both servers read the one volume; several questions reach both.
    for _ in range(4):
        assert "copied:1" in [model["name"] for model in app.send("GET", "/api/tags").json()["models"]]
    assert ops.send("DELETE", "/api/delete", json={"model": "copied:1"}).status_code == 200
    assert "copied:1" not in app.send("GET", "/api/tags").text


def test_what_is_loaded_is_said_of_every_server(app: Client) -> None:
    loaded = app.send("GET", "/api/ps").json()["models"]
    assert {(model["server"], model["name"]) for model in loaded} >= {
        ("ollama-1", CHAT),
        ("ollama-2", CHAT),
        ("ollama-1", "all-minilm:22m"),
        ("ollama-2", "all-minilm:22m"),
    }


def test_a_rate_limit_refuses_with_the_seconds_to_wait_and_only_its_own_key(
    url: str, keys: dict[str, str], app: Client
) -> None:
    slow = Client(url, keys["slow"])
    answers = [slow.send("GET", "/api/version") for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
    assert len(refused) == 3
    assert refused[0].json() == {"error": "too many requests with this key"}
    assert app.send("GET", "/api/version").status_code == 200
    waited = int(refused[0].headers["Retry-After"])
    assert 0 < waited <= 5
    time.sleep(waited)
    assert slow.send("GET", "/api/version").status_code == 200


def test_a_body_over_the_limit_is_413_and_one_of_unknown_length_411(app: Client) -> None:
    large = chat_body("x" * 2_000_000)
    assert app.send("POST", "/api/chat", json=large).status_code == 413
    # A generator is sent in chunks, without a length.
    chunked = app.send("POST", "/api/chat", data=iter([b"x" * 65536] * 8))
    assert chunked.status_code == 411
    small = app.send("POST", "/api/chat", data=iter([json.dumps(chat_body("hi")).encode()]))
    assert small.status_code == 200


def test_a_body_larger_than_what_is_looked_at_still_reaches_ollama(app: Client, stack: LiveStack) -> None:
    with logged(stack) as lines:
        answer = app.send("POST", "/api/embed", json={"model": "all-minilm:22m", "input": "word " * 60_000})
    assert answer.status_code == 200
    assert lines[-1]["model"] == "all-minilm:22m"


@pytest.mark.parametrize("body", [b"", b"{", b'{"model":', b"\x00" * 100, b"[" * 50_000, b'{"model": 5}', b"null"])
def test_malformed_json_is_ollamas_to_refuse_and_harms_nobody(app: Client, body: bytes) -> None:
    assert 400 <= app.send("POST", "/api/chat", data=body).status_code < 500
    assert app.send("GET", "/api/version").status_code == 200


def test_an_answer_streams_through_as_it_is_made(app: Client) -> None:
    body = chat_body("tell me", tokens=200, stream=True)
    with requests.Session() as session:
        answer = session.post(
            f"{app.url}/api/chat", json=body, headers={"x-api-key": str(app.key)}, stream=True, timeout=60
        )
        arrivals = [time.monotonic() for line in answer.iter_lines() if line]
    assert len(arrivals) > 20
    # A buffered answer would come all at once.
    spread = arrivals[-1] - arrivals[0]
    assert spread > 0
    assert arrivals[len(arrivals) // 2] - arrivals[0] > spread / 5


def test_a_client_that_leaves_stops_its_generation(app: Client, stack: LiveStack) -> None:
    def ended() -> int:
        """Requests that Ollama has logged, which it does when they have ended, one way or the other."""
        names = (f"{stack.prefix}-ollama", f"{stack.prefix}-ollama-2")
        return sum(docker_client().containers.get(name).logs().count(b'"/api/chat"') for name in names)

    before = ended()
    # Minutes of work, of which the client takes the first line.
    body = chat_body("go on for ever", tokens=100_000, stream=True)
    answer = requests.post(
        f"{app.url}/api/chat", json=body, headers={"x-api-key": str(app.key)}, stream=True, timeout=60
    )
    lines = answer.iter_lines()
    next(lines)
    answer.close()
    assert eventually(lambda: ended() > before, within_s=30)
    assert eventually(lambda: access_log(stack)[-1]["end"].startswith("C"), within_s=5)


def test_a_log_line_names_key_model_and_times_but_neither_key_nor_prompt(
    app: Client, stack: LiveStack, keys: dict[str, str]
) -> None:
    marker = "a prompt that nobody shall read"
    with logged(stack) as lines:
        assert app.chat(marker).status_code == 200
    line: dict[str, Any] = lines[-1]
    assert (line["key"], line["model"], line["status"], line["path"]) == ("app", CHAT, 200, "/api/chat")
    assert line["server"] in {"ollama-1", "ollama-2"}
    assert line["total_ms"] >= line["first_byte_ms"] >= 0
    assert line["bytes_in"] > 0 < line["bytes_out"]
    text = docker_client().containers.get(f"{stack.prefix}-gateway").logs().decode()
    assert marker not in text
    assert not [name for name, key in keys.items() if key in text]


def test_metrics_are_on_loopback_and_nowhere_else(stack: LiveStack, url: str) -> None:
    port = stack.config["gateway"]["metrics_port"]
    metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    assert "haproxy_server_http_responses_total" in metrics.text
    published = stack.container("gateway")["HostConfig"]["PortBindings"]
    assert {binding["HostIp"] for bindings in published.values() for binding in bindings} == {"127.0.0.1"}
    assert Client(url, None).send("GET", "/metrics").status_code == 401


def test_no_key_stands_in_an_inspect_or_on_the_proxys_disk(stack: LiveStack, keys: dict[str, str]) -> None:
    inspected = json.dumps([stack.container(service) for service in ("gateway", "ollama", "ollama-2", "postgres")])
    files = (
        docker_client()
        .containers.get(f"{stack.prefix}-gateway")
        .exec_run(["bash", "-c", "cat /usr/local/etc/haproxy/current/*"])
    )
    assert b"description" in files.output
    for key in keys.values():
        assert key not in inspected
        assert key.encode() not in files.output


def test_the_gateway_runs_unprivileged(stack: LiveStack) -> None:
    found = stack.container("gateway")
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert not found["HostConfig"]["CapAdd"]
    assert "no-new-privileges:true" in found["HostConfig"]["SecurityOpt"]
    who = docker_client().containers.get(found["Id"]).exec_run(["id", "-u"])
    assert who.output.strip() == b"99"


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "examples/ollama_client.py"],
        [sys.executable, "examples/openai_client.py"],
        ["sh", "examples/curl.sh"],
    ],
)
def test_the_examples_of_the_readme_run_with_what_make_env_writes(stack: LiveStack, command: list[str]) -> None:
    environment = {**os.environ, **variables(stack.outputs(), "app")}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "384 dimensions" in done.stdout or '"embeddings":[[' in done.stdout, done.stdout
