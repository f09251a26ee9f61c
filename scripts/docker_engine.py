"""A Docker engine that answers: found, or installed and started where that is allowed."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from components.dynamic import still_going
from components.errors import StackError
from components.hosts.engine import DEFAULT_SOCKET, Endpoint, EngineNotPermittedError, endpoint_of, open_client
from components.settings.host import Host
from scripts import docker_group
from scripts.say import say

# Seconds a fresh daemon may take to answer; it takes two to five.
_START_DEADLINE_S = 60
# Where Debian puts daemons; only root has these on PATH.
_DAEMON_FOLDERS = ("/usr/sbin", "/sbin")


def ensure_engine(host: Host | None = None) -> Endpoint:
    """The endpoint of an engine that answered: the one that `host` names, else the one at hand.

    Installs Debian's or Ubuntu's `docker.io` as root or with passwordless sudo, unless RAGSTACK_INSTALL=no. A user whom
    that puts into the group docker gets the running command started again inside the group. Raises `StackError` when
    there is no engine and none may be installed, `EngineNotPermittedError` when there is one that is not for this user.
    """
    endpoint = endpoint_of(host or Host())
    try:
        open_client(endpoint).close()
        return endpoint
    except EngineNotPermittedError:
        if _is_default(endpoint):
            docker_group.enter_if_member()
        raise
    except StackError:
        if not _is_default(endpoint):
            raise
    if platform.system() != "Linux":
        raise StackError("No Docker engine answers.", "install and open Docker Desktop, then run the command again")
    is_new = not find_dockerd()
    if is_new:
        _install()
    _start()
    try:
        _wait_for(endpoint)
    except EngineNotPermittedError:
        # Only who had it installed a moment ago is let in: the group docker is as good as root.
        if is_new:
            docker_group.join(_as_root() or [])
        docker_group.enter_if_member()
        raise
    return endpoint


def require_engine(host: Host) -> None:
    """Changes nothing. Raises `StackError` when no engine answers, with what `make up` would do about it."""
    endpoint = endpoint_of(host)
    try:
        open_client(endpoint).close()
    except EngineNotPermittedError:
        if _is_default(endpoint):
            docker_group.enter_if_member()
        raise
    except StackError as error:
        if not _is_default(endpoint) or platform.system() != "Linux":
            raise
        would = "start it" if find_dockerd() else "install the package docker.io and start it"
        raise StackError(error.cause, f"make up (it would {would}), or start an engine yourself") from None


def find_dockerd() -> str | None:
    """The engine's program on this machine, running or not."""
    return shutil.which("dockerd", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_DAEMON_FOLDERS]))


def _is_default(endpoint: Endpoint) -> bool:
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
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "docker.io", "iptables", "ca-certificates"]
    for step in (["apt-get", "update", "-q"], ["env", "DEBIAN_FRONTEND=noninteractive", *install]):
        if subprocess.run([*prefix, *step], check=False).returncode:
            raise StackError(
                f"The package docker.io cannot be installed: {' '.join(step[:2])} failed, for the reason above.",
                "sudo apt-get install docker.io",
            )


def _start() -> None:
    prefix = _as_root()
    if prefix is None:
        raise StackError("Docker Engine is installed but not running.", "sudo systemctl start docker")
    if Path("/run/systemd/system").exists():
        say("starting Docker Engine by systemd")
        with still_going("starting Docker Engine", say):
            subprocess.run([*prefix, "systemctl", "start", "docker"], check=False)
        return
    log = Path("/var/log/dockerd.log")
    say(f"starting Docker Engine (no systemd here; its log is {log})")
    command = f"exec setsid {shlex.quote(find_dockerd() or 'dockerd')} >>{log} 2>&1 </dev/null &"
    subprocess.run([*prefix, "sh", "-c", command], check=True)


def _wait_for(endpoint: Endpoint) -> None:
    deadline = time.monotonic() + _START_DEADLINE_S
    with still_going("waiting for Docker Engine to answer", say):
        while True:
            try:
                open_client(endpoint).close()
                return
            except EngineNotPermittedError:
                raise
            except StackError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)
