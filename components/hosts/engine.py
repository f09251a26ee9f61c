"""Questions to a Docker engine, asked before anything is declared on it. Read-only; no Pulumi resource.

An engine that cannot be asked is explained here, because a provider's own error names a Go function and no mend.
"""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.context import ContextAPI
from docker.errors import DockerException

from components.errors import StackError
from components.plan import HostFacts
from components.settings.host import Host

DEFAULT_SOCKET = "unix:///var/run/docker.sock"
# Seconds. An engine at hand answers in milliseconds; one over SSH pays for the connection first.
_TIMEOUT_S = 20
_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """How an engine is reached: its address, and the context it came from when that carries TLS material."""

    address: str
    context: str | None = None

    @property
    def is_at_hand(self) -> bool:
        """Whether a port published on the engine's loopback is one on ours."""
        if self.address.startswith(("unix://", "npipe://")):
            return True
        host = urlsplit(self.address).hostname or ""
        return self.address.startswith("tcp://") and (host == "localhost" or _is_loopback(host))


class EngineNotPermittedError(StackError):
    """An engine is there, and its socket is closed to this user."""


EngineNotPermittedError.__module__ = "builtins"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def endpoint_of(host: Host) -> Endpoint:
    """The engine the settings name, else $DOCKER_HOST, else the current Docker context, else the default socket."""
    if host.docker_host:
        return Endpoint(address=host.docker_host)
    if host.docker_context:
        return _context_endpoint(host.docker_context)
    if os.environ.get("DOCKER_HOST"):
        return Endpoint(address=os.environ["DOCKER_HOST"])
    current = os.environ.get("DOCKER_CONTEXT") or _current_context()
    return _context_endpoint(current) if current not in (None, "default") else Endpoint(address=DEFAULT_SOCKET)


def _current_context() -> str | None:
    config = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    try:
        name = json.loads(config.read_text(encoding="utf-8")).get("currentContext")
    except (OSError, ValueError):
        return None
    return str(name) if name else None


def _context_endpoint(name: str | None) -> Endpoint:
    context = ContextAPI.get_context(name)
    if context is None:
        raise StackError(f"There is no Docker context called {name}.", "pick one of `docker context ls`")
    return Endpoint(address=context.Host or DEFAULT_SOCKET, context=name if context.TLSConfig else None)


def open_client(endpoint: Endpoint) -> docker.DockerClient:
    """A client whose engine has answered.

    Raises `EngineNotPermittedError` when this user may not use it, another `StackError` when none answers.
    """
    tls = ContextAPI.get_context(endpoint.context).TLSConfig if endpoint.context else None
    try:
        client = docker.DockerClient(base_url=endpoint.address, timeout=_TIMEOUT_S, tls=tls or False)
        client.ping()
    except (DockerException, OSError) as error:
        raise _explained(endpoint.address, error) from None
    return client


def _explained(address: str, error: Exception) -> StackError:
    reason = str(error)
    if "Permission denied" in reason or "PermissionError" in reason:
        return EngineNotPermittedError(
            f"The Docker engine at {address} does not let this user in.",
            "sudo usermod -aG docker $USER, then log in again (or set ragstack:host.docker_host to a rootless engine)",
        )
    if "FileNotFoundError" in reason or "No such file" in reason or "Connection refused" in reason:
        start = "open Docker Desktop" if platform.system() == "Darwin" else "sudo systemctl start docker"
        return StackError(
            f"No Docker engine is running at {address}.",
            f"{start}, or name another engine: pulumi config set --path 'ragstack:host.docker_host' unix:///path/to.sock",
        )
    return StackError(f"The Docker engine at {address} cannot be used: {reason}", "docker info")


def facts_of(client: docker.DockerClient, endpoint: Endpoint) -> HostFacts:
    """The facts of the machine behind an engine. Devices are looked at only on the machine at hand."""
    return facts_of_info(
        client.info(),
        device_group_ids=device_group_ids() if endpoint.is_at_hand else (),
        device_paths=device_paths() if endpoint.is_at_hand else None,
    )


def facts_of_info(
    info: Mapping[str, Any], *, device_group_ids: tuple[int, ...], device_paths: tuple[str, ...] | None
) -> HostFacts:
    """Facts from an engine's answer to `docker info`, and from what was seen of its machine's devices."""
    major, minor = [*re.findall(r"\d+", str(info["ServerVersion"])), "0", "0"][:2]
    return HostFacts(
        cpus=int(info["NCPU"]),
        memory_mib=int(info["MemTotal"]) // _MIB,
        architecture=str(info["Architecture"]),
        engine_version=(int(major), int(minor)),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        cdi=bool(info.get("CDISpecDirs")),
        device_group_ids=device_group_ids,
        device_paths=device_paths,
    )


def device_paths(root: Path = Path("/dev")) -> tuple[str, ...]:
    """Those of the AMD compute device and the folder of render nodes that exist under `root`, as paths below /dev."""
    return tuple(f"/dev/{name}" for name in ("kfd", "dri") if (root / name).exists())


def device_group_ids(root: Path = Path("/dev")) -> tuple[int, ...]:
    """The numeric groups of the AMD compute device and of every render node under `root`."""
    nodes = [root / "kfd", *sorted((root / "dri").glob("renderD*"))]
    return tuple(sorted({node.stat().st_gid for node in nodes if node.exists()}))
