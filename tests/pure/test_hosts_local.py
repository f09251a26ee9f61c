"""The survey of the engine at hand: ports that are taken, and the native server of a Mac."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.errors import StackError
from components.hosts import local
from components.hosts.engine import Endpoint
from components.hosts.ports import WantedPort, refuse_taken_ports
from components.plan import HostFacts
from tests.pure.given import settings

FACTS = HostFacts(cpus=2, memory_mib=8000, architecture="x86_64", engine_version=(28, 3))
AT_HAND = Endpoint(address="unix:///the/engine.sock")


class FakeClient:
    """A Docker client whose engine runs one container with the given ports, or none."""

    def __init__(self, name: str = "", *ports: int) -> None:
        self.api = self
        self.closed = False
        published = [{"PublicPort": port, "IP": "127.0.0.1"} for port in ports]
        self._containers: list[dict[str, Any]] = [
            {"Names": [f"/{name}"], "Ports": published},
            {"Names": ["/quiet"], "Ports": None},
        ]

    def containers(self) -> list[dict[str, Any]]:
        return self._containers

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def check(client: Any, port: int, address: str = "127.0.0.1") -> None:
    wanted = WantedPort(key="ragstack:postgres.port", address=address, port=port, container="ragstack-dev-postgres")
    refuse_taken_ports(client, [wanted])


def test_a_free_port_is_fine() -> None:
    check(FakeClient(), free_port())


def test_a_port_of_another_program_is_refused_with_how_to_find_it(taken: int) -> None:
    with pytest.raises(StackError) as caught:
        check(FakeClient(), taken)
    assert caught.value.cause == (
        f"ragstack:postgres.port is {taken}, but another program already listens on 127.0.0.1:{taken}."
    )
    assert f"sport = :{taken}" in caught.value.mend
    assert f"'ragstack:postgres.port' {taken + 1}" in caught.value.mend


def test_a_port_of_another_container_is_refused_by_that_containers_name(taken: int) -> None:
    with pytest.raises(StackError, match="but the container somebodys-db already listens") as caught:
        check(FakeClient("somebodys-db", taken), taken)
    assert caught.value.mend.startswith("docker stop somebodys-db, or ")


def test_a_port_of_the_stacks_own_container_is_no_conflict(taken: int) -> None:
    check(FakeClient("ragstack-dev-postgres", taken), taken)


def test_an_own_container_on_another_port_does_not_excuse_a_program(taken: int) -> None:
    with pytest.raises(StackError, match="another program"):
        check(FakeClient("ragstack-dev-postgres", taken + 1), taken)


def test_an_address_of_another_machine_is_left_to_the_engine() -> None:
    check(FakeClient(), 5432, address="192.0.2.1")


def test_the_last_port_is_not_mended_by_one_beyond_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.hosts.ports._is_free", lambda *_: False)
    with pytest.raises(StackError) as caught:
        check(FakeClient(), 65535)
    assert caught.value.mend.endswith(" 65534")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(local, "endpoint_of", lambda _: AT_HAND)
    monkeypatch.setattr(local, "open_client", lambda _: fake)
    monkeypatch.setattr(local, "facts_of", lambda *_: FACTS)
    monkeypatch.setattr(pulumi, "get_project", lambda: "ragstack")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")
    return fake


def test_a_survey_gives_endpoint_and_facts_and_leaves_no_connection(client: FakeClient) -> None:
    found = local.survey(settings(ollama={"port": free_port()}, postgres={"port": free_port()}))
    assert found == local.Survey(endpoint=AT_HAND, facts=FACTS)
    assert client.closed


@pytest.mark.parametrize("section", ["ollama", "postgres"])
def test_a_survey_refuses_a_taken_port_of_either_service(client: FakeClient, taken: int, section: str) -> None:
    ports = {"ollama": {"port": free_port()}, "postgres": {"port": free_port()}} | {section: {"port": taken}}
    with pytest.raises(StackError, match=rf"ragstack:{section}\.port is {taken}"):
        local.survey(settings(**ports))
    assert client.closed


@pytest.mark.parametrize("address", ["tcp://10.0.0.7:2375", "tcp://docker:2375", "ssh://user@localhost"])
def test_an_engine_elsewhere_is_refused_before_it_is_asked(
    client: FakeClient, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "endpoint_of", lambda _: Endpoint(address=address))
    monkeypatch.setattr(local, "open_client", lambda _: pytest.fail("the engine was asked"))
    with pytest.raises(StackError, match=f"the Docker engine at {address} is on another machine"):
        local.survey(settings())


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:2375", "tcp://localhost:2375", "tcp://[::1]:2375"])
def test_an_engine_on_a_loopback_port_is_at_hand(address: str) -> None:
    assert Endpoint(address=address).is_at_hand


class _Ollama(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/version" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Server6(http.server.HTTPServer):
    address_family = socket.AF_INET6


@pytest.mark.parametrize(("bind", "server"), [("127.0.0.1", http.server.HTTPServer), ("::1", _Server6)])
def test_a_native_server_that_answers_is_all_an_apple_stack_needs(
    client: FakeClient, bind: str, server: type[http.server.HTTPServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    try:
        native = server((bind, 0), _Ollama)
    except OSError:
        pytest.skip(f"no {bind} on this machine")
    with native:
        thread = threading.Thread(target=native.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        ollama = {"port": native.server_address[1], "bind": bind}
        found = local.survey(settings(accelerator={"kind": "apple"}, ollama=ollama, postgres={"port": free_port()}))
        native.shutdown()
        thread.join()
    assert found.facts == FACTS


def test_an_apple_stack_without_a_native_server_is_told_how_to_get_one(client: FakeClient) -> None:
    port = free_port()
    with pytest.raises(StackError) as caught:
        local.survey(settings(accelerator={"kind": "apple"}, ollama={"port": port}, postgres={"port": free_port()}))
    assert f"no native Ollama answers at http://127.0.0.1:{port}/api/version" in caught.value.cause
    assert "brew install ollama" in caught.value.mend


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("echo '580.95.05, 8.6'", ""),
        ("echo '535.230.02, 8.6'", "This machine has the NVIDIA driver 535.230.02, and Ollama 0.32.15 needs 550"),
        ("echo '560.35.03, 6.1'", "needs 570 or newer"),
        ("exit 9", ""),
    ],
)
def test_a_driver_that_is_too_old_is_refused_where_it_can_be_asked(
    client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, refused: str
) -> None:
    stub = tmp_path / "nvidia-smi"
    stub.write_text(f"#!/bin/sh\n# STUB of nvidia-smi: there is no GPU here.\n{said}\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    given = settings(accelerator={"kind": "nvidia"}, postgres={"port": free_port()}, ollama={"port": free_port()})
    if refused:
        with pytest.raises(StackError, match=refused):
            local.survey(given)
    else:
        assert local.survey(given).facts == FACTS
