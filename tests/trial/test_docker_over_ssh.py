"""A Docker engine over SSH, with whatever options the provider is given: a real sshd on this machine's loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest

from components.errors import StackError
from trial.docker_engine import Engines

PROXY = """
import os, socket, sys, threading
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def send():
    while data := os.read(0, 65536):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := peer.recv(65536):
    os.write(1, data)
"""


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("sshd did not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def provider(engine: docker.DockerClient, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The inputs of a docker.Provider leading back here, by a ProxyCommand, with a shared connection's options."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(sshd).exists() or not shutil.which("ssh"):
        pytest.skip("no sshd or ssh on this machine")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    port = _free_port()
    config = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": tmp_path / "host", "PidFile": "none",
        "AuthorizedKeysFile": tmp_path / "user.pub", "StrictModes": "no", "UsePAM": "no",
    }  # fmt: skip
    (tmp_path / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=log)
    _wait_for(port)
    proxy = tmp_path / "proxy.py"
    proxy.write_text(PROXY)
    options = {
        "IdentityFile": tmp_path / "user", "StrictHostKeyChecking": "no", "UserKnownHostsFile": tmp_path / "known",
        "ProxyCommand": f"{sys.executable} {proxy} {port}", "ControlMaster": "auto",
        "ControlPath": tmp_path / "shared", "ControlPersist": "60", "LogLevel": "ERROR",
    }  # fmt: skip
    yield {
        "host": "ssh://root@a-machine",
        "sshOpts": [word for key, value in options.items() for word in ("-o", f"{key}={value}")],
    }
    server.terminate()
    server.wait()


def test_many_connections_at_once_go_through_one_login(
    provider: dict[str, Any], engine: docker.DockerClient, tmp_path: Path
) -> None:
    engines = Engines({})
    try:
        with ThreadPoolExecutor(24) as pool:
            ids = set(pool.map(lambda _: engines.client(provider).info()["ID"], range(48)))
        assert ids == {engine.info()["ID"]}
        assert (tmp_path / "log").read_text().count("Accepted publickey") == 1
        assert not (tmp_path / "shared").exists()
    finally:
        engines.close()


def test_a_connection_that_died_is_made_anew(provider: dict[str, Any], tmp_path: Path) -> None:
    engines = Engines({})
    try:
        assert engines.client(provider).ping()
        process, _ = engines._forwards[provider["host"]]
        process.kill()
        process.wait()
        assert engines.client(provider).ping()
        assert (tmp_path / "log").read_text().count("Accepted publickey") == 2
    finally:
        engines.close()


def test_a_machine_that_refuses_is_one_message_with_what_ssh_said(provider: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "user.pub").write_text("")
    engines = Engines({})
    try:
        with pytest.raises(StackError, match="Permission denied"):
            engines.client(provider)
    finally:
        engines.close()
