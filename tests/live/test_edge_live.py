"""The edge: real Caddy with its internal authority, in front of the real gateway and real Ollama."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from components.proxies.caddyfile import KEY_FILE, ROOT_CERTIFICATE
from tests.live.fixtures_containers import docker_client, free_port
from tests.live.gateway_load import Client, access_log, chat_body, eventually, gateway_config, logged, memory_mib
from tests.live.live_stack import LiveStack
from tests.live.test_pool_live import speaks

IDLE_MIB = 60
PASSWORD = "open sesame"
# Bcrypt of that password, at the lowest cost, as the tests need no slow one.
HASH = "$2b$04$7SS4sw4N/61SjlEGCezOoeEqKLJR0UJdV9dp2AYiSN8aUg9JivBEe"


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., LiveStack]) -> LiveStack:
    users = [{"name": "ada", "password_hash": HASH}]
    config = gateway_config(keys=[{"name": "app"}])
    config["pool"] = {"servers": 1}
    stack = make_stack(**config, edge={"enabled": True, "port": free_port(), "users": users})
    stack.up()
    return stack


@pytest.fixture(scope="module")
def authority(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The internal authority's certificate, taken as the documentation says."""
    container = docker_client().containers.get(f"{stack.prefix}-edge")
    file: Path = tmp_path_factory.mktemp("edge") / "root.crt"
    file.write_bytes(container.exec_run(["cat", ROOT_CERTIFICATE]).output)
    return str(file)


@pytest.fixture
def app(stack: LiveStack, authority: str) -> Client:
    outputs = stack.outputs()
    return Client(outputs["gateway_url"], outputs["api_keys"]["app"], verify=authority)


@pytest.fixture
def nobody(app: Client) -> Client:
    return Client(app.url, None, verify=app.verify)


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_an_idle_edge_takes_little_memory(stack: LiveStack) -> None:
    assert 1 < memory_mib(stack, "edge") <= IDLE_MIB


def test_a_second_up_changes_nothing(stack: LiveStack) -> None:
    before = stack.lives()
    assert stack.up().changed_nothing
    assert stack.lives() == before


def test_a_program_calls_with_its_key_as_without_an_edge(app: Client) -> None:
    assert app.url.startswith("https://localhost:")
    assert app.chat().status_code == 200
    assert app.send("GET", "/api/tags", key_header="x-api-key").status_code == 200
    assert app.send("POST", "/api/pull", json={"model": "x"}).status_code == 403


def test_a_person_logs_in_and_may_use_the_models_but_not_administer_them(nobody: Client, stack: LiveStack) -> None:
    headers = basic("ada", PASSWORD)
    with logged(stack) as lines:
        assert nobody.chat(headers=headers).status_code == 200
    assert lines[-1]["key"] == "_edge"
    assert nobody.send("POST", "/api/pull", json={"model": "x"}, headers=headers).status_code == 403


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("eve", PASSWORD), ("ada", ""), ("", "")])
def test_a_wrong_password_is_401_in_json(nobody: Client, name: str, password: str) -> None:
    answer = nobody.send("GET", "/api/tags", headers=basic(name, password))
    assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
    openai = nobody.send("GET", "/v1/models", headers=basic(name, password))
    assert openai.json()["error"]["message"] == "Unauthorized"


def test_a_key_beside_a_password_is_not_passed_on(nobody: Client, app: Client, stack: LiveStack) -> None:
    with logged(stack) as lines:
        answer = nobody.send("GET", "/api/tags", headers={**basic("ada", PASSWORD), "x-api-key": str(app.key)})
    assert answer.status_code == 200
    assert lines[-1]["key"] == "_edge"
    assert nobody.send("GET", "/api/tags", headers={**basic("ada", "no"), "x-api-key": str(app.key)}).status_code == 401


def test_who_brings_nothing_is_asked_for_a_password(nobody: Client) -> None:
    answer = nobody.send("GET", "/api/tags")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    wrong_key = Client(nobody.url, "wrong", verify=nobody.verify).send("GET", "/api/tags")
    assert wrong_key.json() == {"error": "a valid API key is needed"}


def test_only_modern_tls_is_spoken_and_a_call_by_address_works(app: Client, stack: LiveStack, authority: str) -> None:
    port = stack.config["edge"]["port"]
    offered = {version: speaks(port, version) for version in ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3")}
    assert offered == {"TLSv1": False, "TLSv1_1": False, "TLSv1_2": True, "TLSv1_3": True}
    by_address = Client(f"https://127.0.0.1:{port}", app.key, verify=authority)
    assert by_address.send("GET", "/api/version").status_code == 200
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        ssl.create_default_context(cafile=authority).wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        assert wrapped.version() == "TLSv1.3"


def test_an_answer_streams_through_and_ends_when_its_client_leaves(app: Client, stack: LiveStack) -> None:
    body = chat_body("tell me", tokens=100_000, stream=True)
    answer = requests.post(
        f"{app.url}/api/chat",
        json=body,
        headers={"x-api-key": str(app.key)},
        stream=True,
        timeout=60,
        verify=str(app.verify),
    )
    lines = answer.iter_lines()
    started = time.monotonic()
    for _ in range(10):
        next(lines)
    # The whole answer would take minutes.
    assert time.monotonic() - started < 30
    done = len(access_log(stack))
    answer.close()
    assert eventually(lambda: len(access_log(stack)) > done, within_s=10)
    assert access_log(stack)[-1]["end"].startswith("C")


def test_neither_key_nor_hash_is_in_a_log_and_the_key_in_no_inspect(stack: LiveStack, app: Client) -> None:
    container = docker_client().containers.get(f"{stack.prefix}-edge")
    key = container.exec_run(["cat", KEY_FILE]).output.decode().strip()
    assert key.startswith("rsk_")
    assert key not in json.dumps(stack.container("edge"))
    assert str(app.key) not in json.dumps(stack.container("edge"))
    logged = container.logs().decode()
    assert not [secret for secret in (key, str(app.key), HASH, PASSWORD) if secret in logged]


def test_the_edge_runs_without_any_capability_and_alone_is_published(stack: LiveStack) -> None:
    found = stack.container("edge")
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert not found["HostConfig"]["CapAdd"]
    port = str(stack.config["edge"]["port"])
    assert found["HostConfig"]["PortBindings"] == {"8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}


def test_the_authority_outlives_its_container(stack: LiveStack, app: Client) -> None:
    docker_client().containers.get(f"{stack.prefix}-edge").remove(force=True)
    stack.up()
    assert app.send("GET", "/api/version").status_code == 200


def test_a_gateway_that_is_gone_is_an_error_in_json(stack: LiveStack, app: Client) -> None:
    docker_client().containers.get(f"{stack.prefix}-gateway").kill()
    answer = app.send("GET", "/api/tags")
    assert (answer.status_code, answer.json()) == (502, {"error": "Bad Gateway"})
    stack.up()
    assert eventually(lambda: app.send("GET", "/api/tags").status_code == 200)
