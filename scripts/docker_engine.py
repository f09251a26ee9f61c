"""A Docker engine that answers: found, or installed and started where that is allowed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from components.errors import StackError
from components.hosts.engine import DEFAULT_SOCKET, Endpoint, endpoint_of, open_client
from components.settings.host import Host
from scripts.say import say

# Seconds a fresh daemon may take to answer; it takes two to five.
_START_DEADLINE_S = 60


def ensure_engine(host: Host | None = None) -> Endpoint:
    """The endpoint of an engine that answered: the one that `host` names, else the one at hand.

    Raises `StackError` when there is none and none may be installed.
    Installs Debian's or Ubuntu's `docker.io` as root or with passwordless sudo, unless RAGSTACK_INSTALL=no.
    """
    endpoint = endpoint_of(host or Host())
    try:
        open_client(endpoint).close()
        return endpoint
    except StackError as error:
        if "does not let this user in" in error.cause or not _default_endpoint(endpoint):
            raise
    if platform.system() != "Linux":
        raise StackError("No Docker engine answers.", "install and open Docker Desktop, then run the command again")
    if not shutil.which("dockerd"):
        _install()
    _start()
    _wait_for(endpoint)
    return endpoint


def _default_endpoint(endpoint: Endpoint) -> bool:
    return endpoint.address == DEFAULT_SOCKET


def _as_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo]
    return None


def _install() -> None:
    prefix = _as_root()
    if os.environ.get("RAGSTACK_INSTALL") == "no" or prefix is None or not shutil.which("apt-get"):
        raise StackError(
            "Docker Engine is not installed, and this command may not install it here.",
            "sudo apt-get install docker.io (Debian, Ubuntu), or see docs.docker.com/engine/install",
        )
    say("Docker Engine is missing: installing the package docker.io (RAGSTACK_INSTALL=no forbids it)")
    subprocess.run([*prefix, "apt-get", "update", "-q"], check=True)
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "docker.io", "iptables", "ca-certificates"]
    subprocess.run([*prefix, "env", "DEBIAN_FRONTEND=noninteractive", *install], check=True)


def _start() -> None:
    prefix = _as_root()
    if prefix is None:
        raise StackError("Docker Engine is installed but not running.", "sudo systemctl start docker")
    if Path("/run/systemd/system").exists():
        say("starting Docker Engine by systemd")
        subprocess.run([*prefix, "systemctl", "start", "docker"], check=False)
        return
    log = Path("/var/log/dockerd.log")
    say(f"starting Docker Engine (no systemd here; its log is {log})")
    command = f"exec setsid dockerd >>{log} 2>&1 </dev/null &"
    subprocess.run([*prefix, "sh", "-c", command], check=True)


def _wait_for(endpoint: Endpoint) -> None:
    deadline = time.monotonic() + _START_DEADLINE_S
    while True:
        try:
            open_client(endpoint).close()
            return
        except StackError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
