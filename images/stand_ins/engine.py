"""The Docker engine: connecting to it, building an image on it, and the addresses of its default bridge."""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound

from components.errors import StackError
from components.hosts.engine import endpoint_of, open_client
from components.settings.host import Host

from .progress import Note

LABEL = "ragstack.stand-in"
"""On every object made here; its value says what the object is for."""
KEY_LABEL = "ragstack.stand-in.key"
"""On what is rebuilt when its inputs change; its value is their key."""

BUILD_TIMEOUT_S = 900
"""Longest silence of the engine that is waited for: compressing and pushing one large layer says nothing meanwhile."""


def connect() -> docker.DockerClient:
    """A client of the Docker engine that answers.

    Raises:
        StackError: none answers, or it runs containers for another platform than linux/amd64.
    """
    endpoint = endpoint_of(Host())
    try:
        client = open_client(endpoint)
    except StackError as error:
        # No stack file is read here, so the mend that names its setting would not help.
        mend = "start it (`systemctl start docker`, or `dockerd &`), or name another with DOCKER_HOST"
        raise StackError(error.cause, mend) from None
    version = client.version()
    client.api.timeout = BUILD_TIMEOUT_S
    if (version["Os"], version["Arch"]) != ("linux", "amd64"):
        raise StackError(
            f"the Docker engine runs {version['Os']}/{version['Arch']}; stand-ins are built for linux/amd64 only",
            "use an engine on a linux/amd64 machine, or the original images",
        )
    return client


def bridge_gateway(client: docker.DockerClient) -> str:
    """The host's IPv4 address on the default bridge, which `host.docker.internal:host-gateway` stands for."""
    configs = client.networks.get("bridge").attrs["IPAM"]["Config"]
    config = next(entry for entry in configs if ipaddress.ip_network(entry["Subnet"]).version == 4)
    # Some engines leave the gateway out until the first container runs; it is the first address of the subnet then.
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))


def has_image(client: docker.DockerClient, reference: str) -> bool:
    """Whether the engine holds an image under `reference`; does not pull."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def build(
    client: docker.DockerClient,
    folder: Path,
    reference: str,
    note: Note,
    *,
    arguments: Mapping[str, str],
    binaries: Sequence[Path] = (),
) -> None:
    """Builds the Dockerfile in `folder` as `reference`, with `binaries` beside it in the build context.

    Raises:
        StackError: the build fails; quotes the builder's reason.
    """
    with tempfile.TemporaryDirectory(prefix="ragstack-build-") as scratch:
        context = Path(scratch) / "context"
        shutil.copytree(folder, context)
        for binary in binaries:
            shutil.copy2(binary, context / binary.name)
        # The host's network, because a machine behind a proxy or its own name server often serves only that.
        events = client.api.build(
            path=str(context),
            tag=reference,
            buildargs=dict(arguments),
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        )
        watch(events, note, failure=f"building {reference} failed")


def watch(events: Iterable[dict[str, Any]], note: Note, *, failure: str) -> None:
    """Follows the engine's event stream of a build or a push to its end.

    Raises:
        StackError: the stream carries an error; `failure` says what that means.
    """
    latest = ""
    for event in events:
        line = event.get("stream") or " ".join(filter(None, (event.get("status"), event.get("progress"))))
        if error := event.get("error"):
            raise StackError(
                f"{failure}: {error.strip()} (before it: {latest})",
                "check that the package registries can be reached and the disk has room, then run `up` again",
            )
        if line.strip():
            latest = line.strip().splitlines()[-1]
            note(latest)
