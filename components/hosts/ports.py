"""Whether the ports a stack wants to publish are free, asked before anything is created."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import docker

from components.errors import StackError


@dataclass(frozen=True, kw_only=True)
class WantedPort:
    """A port to publish: the settings key that says so, the address, and the container it is for."""

    key: str
    address: str
    port: int
    container: str


def refuse_taken_ports(client: docker.DockerClient, wanted: Iterable[WantedPort]) -> None:
    """Raises `StackError` when another program or container holds a wanted port.

    A port held by the very container it is for is that container running, hence no conflict.
    """
    for want in wanted:
        if _is_free(want.address, want.port):
            continue
        holder = _publishing_container(client, want)
        if holder == want.container:
            continue
        who = f"the container {holder}" if holder else "another program"
        find = f"docker stop {holder}" if holder else f"find it with `ss -ltnp 'sport = :{want.port}'` and stop it"
        other = want.port + 1 if want.port < 65535 else want.port - 1
        raise StackError(
            f"{want.key} is {want.port}, but {who} already listens on {want.address}:{want.port}.",
            f"{find}, or pulumi config set --path '{want.key}' {other}",
        )


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            # Anything but "in use" (a privileged port, an address of another machine) is the engine's to judge.
            return error.errno != errno.EADDRINUSE
    return True


def _publishing_container(client: docker.DockerClient, want: WantedPort) -> str | None:
    addresses = (want.address, "0.0.0.0", "::")  # noqa: S104 - what a container listens on, not what we do
    for container in client.api.containers():
        published = container.get("Ports") or ()
        if any(port.get("PublicPort") == want.port and port.get("IP") in addresses for port in published):
            return str(container["Names"][0]).removeprefix("/")
    return None
