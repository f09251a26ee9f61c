"""Which Docker engine is meant, what its facts are, and how one that cannot be used is explained."""

from __future__ import annotations

import gc
import hashlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException

from components.errors import StackError
from components.hosts import engine
from components.hosts.engine import Endpoint, device_group_ids, device_paths, endpoint_of, facts_of, open_client
from components.settings.host import Host

DEFAULT = "unix:///var/run/docker.sock"
INFO: dict[str, Any] = {
    "NCPU": 8,
    "MemTotal": 16 * 1024**3,
    "Architecture": "x86_64",
    "ServerVersion": "28.3.1",
    "Runtimes": {"runc": {}, "nvidia": {}},
    "CDISpecDirs": ["/etc/cdi"],
}


def context(folder: Path, name: str, host: str, *, current: bool = False) -> None:
    """A context as `docker context create` stores it."""
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    described = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (meta / "meta.json").write_text(json.dumps(described))
    (folder / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))


# The Docker SDK leaves the socket of a failed connection to the garbage collector, which complains about it.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected_here() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "docker-config"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def test_without_a_word_about_it_the_default_socket_is_meant() -> None:
    assert endpoint_of(Host()) == Endpoint(address=DEFAULT)


def test_the_stack_file_wins_over_the_environment_and_the_environment_over_the_current_context(
    docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context(docker_config, "lab", "tcp://10.0.0.7:2375", current=True)
    assert endpoint_of(Host()).address == "tcp://10.0.0.7:2375"
    monkeypatch.setenv("DOCKER_HOST", "unix:///from/environment.sock")
    assert endpoint_of(Host()).address == "unix:///from/environment.sock"
    assert endpoint_of(Host(docker_context="lab")).address == "tcp://10.0.0.7:2375"
    assert endpoint_of(Host(docker_host="unix:///run/podman.sock")).address == "unix:///run/podman.sock"


def test_the_context_of_the_environment_wins_over_the_current_one(
    docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context(docker_config, "lab", "tcp://10.0.0.7:2375")
    monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    assert endpoint_of(Host()).address == "tcp://10.0.0.7:2375"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert endpoint_of(Host()).address == DEFAULT
    assert endpoint_of(Host(docker_context="default")) == Endpoint(address=DEFAULT)


def test_a_context_without_certificates_is_an_address_alone(docker_config: Path) -> None:
    context(docker_config, "lab", "tcp://10.0.0.7:2375")
    assert endpoint_of(Host(docker_context="lab")) == Endpoint(address="tcp://10.0.0.7:2375")


def test_a_context_that_does_not_exist_is_refused(docker_config: Path) -> None:
    context(docker_config, "lab", "tcp://10.0.0.7:2375")
    with pytest.raises(StackError) as caught:
        endpoint_of(Host(docker_context="labb"))
    assert caught.value.cause == "There is no Docker context called labb."
    assert "docker context ls" in caught.value.mend


def test_an_unreadable_docker_configuration_means_the_default(docker_config: Path) -> None:
    (docker_config / "config.json").write_text("{ not json")
    assert endpoint_of(Host()) == Endpoint(address=DEFAULT)


@pytest.mark.parametrize(
    ("address", "at_hand"), [(DEFAULT, True), ("npipe:////./pipe/x", True), ("tcp://h:1", False), ("ssh://u@h", False)]
)
def test_only_a_socket_of_this_machine_is_at_hand(address: str, at_hand: bool) -> None:
    assert Endpoint(address=address).is_at_hand is at_hand


def test_a_missing_socket_is_an_engine_that_is_not_running(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/none.sock"
    with pytest.raises(StackError) as caught:
        open_client(Endpoint(address=address))
    assert caught.value.cause == f"No Docker engine is running at {address}."
    assert "ragstack:host.docker_host" in caught.value.mend


def test_a_socket_that_nobody_serves_is_an_engine_that_is_not_running(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(StackError, match="No Docker engine is running at"):
        open_client(Endpoint(address=f"unix://{path}"))


@pytest.mark.parametrize(("system", "start"), [("Darwin", "open Docker Desktop"), ("Linux", "systemctl start docker")])
def test_how_to_start_the_engine_is_said_for_the_machine_at_hand(
    system: str, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    with pytest.raises(StackError) as caught:
        open_client(Endpoint(address=f"unix://{tmp_path}/none.sock"))
    assert start in caught.value.mend


def _client_that_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def raising(**_: Any) -> None:
        raise error

    monkeypatch.setattr(docker, "DockerClient", raising)


def test_a_socket_that_may_not_be_opened_is_explained_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = (
        "Error while fetching server API version: ('Connection aborted.', PermissionError(13, 'Permission denied'))"
    )
    _client_that_raises(monkeypatch, DockerException(reason))
    with pytest.raises(StackError) as caught:
        open_client(Endpoint(address=DEFAULT))
    assert caught.value.cause == f"The Docker engine at {DEFAULT} does not let this user in."
    assert "usermod -aG docker" in caught.value.mend


def test_a_real_socket_that_may_not_be_opened_is_explained_as_that(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may open every socket")
    path = tmp_path / "closed.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0)
        with pytest.raises(StackError, match="does not let this user in"):
            open_client(Endpoint(address=f"unix://{path}"))


def test_any_other_failure_keeps_the_engines_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    _client_that_raises(monkeypatch, DockerException("the moon is full"))
    with pytest.raises(StackError, match="cannot be used: the moon is full") as caught:
        open_client(Endpoint(address="tcp://10.0.0.7:2375"))
    assert caught.value.mend == "docker info"
    assert caught.value.__suppress_context__


class _Engine(http.server.BaseHTTPRequestHandler):
    """The two questions that opening a client asks."""

    def do_GET(self) -> None:
        body = json.dumps({"ApiVersion": "1.44", "Version": "28.3.1"}) if "version" in self.path else "OK"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def answering() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Engine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_engine_that_answers_gives_a_client(answering: str) -> None:
    client = open_client(Endpoint(address=answering))
    assert client.ping()
    client.close()


class FakeClient:
    """A client that knows its engine's `info`."""

    def __init__(self, **info: Any) -> None:
        self._info = INFO | info

    def info(self) -> dict[str, Any]:
        return self._info


def facts(address: str = "tcp://h:1", **info: Any) -> Any:
    client: Any = FakeClient(**info)
    return facts_of(client, Endpoint(address=address))


def test_facts_are_what_the_engine_reports() -> None:
    found = facts()
    assert (found.cpus, found.memory_mib, found.architecture) == (8, 16 * 1024, "x86_64")
    assert (found.engine_version, found.runtimes, found.cdi) == ((28, 3), ("nvidia", "runc"), True)


@pytest.mark.parametrize(
    ("version", "pair"), [("20.10.24+dfsg1", (20, 10)), ("5.2.1-podman", (5, 2)), ("29", (29, 0)), ("dev", (0, 0))]
)
def test_any_engines_version_is_a_pair_of_numbers(version: str, pair: tuple[int, int]) -> None:
    assert facts(ServerVersion=version).engine_version == pair


def test_an_engine_that_says_nothing_of_runtimes_and_cdi_has_neither() -> None:
    found = facts(Runtimes=None, CDISpecDirs=None)
    assert (found.runtimes, found.cdi) == ((), False)


def test_device_groups_are_read_from_the_machine_at_hand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "device_group_ids", lambda: (44,))
    assert facts(DEFAULT).device_group_ids == (44,)
    assert facts("tcp://h:1").device_group_ids == ()


def test_device_groups_are_the_numbers_of_the_compute_device_and_every_render_node(tmp_path: Path) -> None:
    (tmp_path / "dri").mkdir()
    own = os.getgid()
    assert device_group_ids(tmp_path) == ()
    (tmp_path / "dri" / "card0").touch()
    assert device_group_ids(tmp_path) == ()
    (tmp_path / "dri" / "renderD128").touch()
    assert device_group_ids(tmp_path) == (own,)
    (tmp_path / "kfd").touch()
    assert device_group_ids(tmp_path) == (own,)
    if os.geteuid() == 0:
        os.chown(tmp_path / "kfd", -1, own + 4242)
        assert device_group_ids(tmp_path) == (own, own + 4242)


def test_device_paths_are_known_of_the_machine_at_hand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "device_paths", lambda: ("/dev/dri",))
    assert facts(DEFAULT).device_paths == ("/dev/dri",)
    assert facts("tcp://h:1").device_paths is None


def test_device_paths_are_those_that_exist(tmp_path: Path) -> None:
    assert device_paths(tmp_path) == ()
    (tmp_path / "dri").mkdir()
    assert device_paths(tmp_path) == ("/dev/dri",)
    (tmp_path / "kfd").touch()
    assert device_paths(tmp_path) == ("/dev/kfd", "/dev/dri")
