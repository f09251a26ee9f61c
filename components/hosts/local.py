"""The Docker engine at hand as a host: Docker Engine, Docker Desktop, a named context, or a Podman socket."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker
import requests

from components.errors import StackError
from components.hosts.engine import Endpoint, endpoint_of, facts_of, open_client
from components.hosts.ports import WantedPort, refuse_taken_ports
from components.plan import HostFacts
from components.plan.drivers import refuse_old_driver
from components.plan.names import Names, names_of
from components.settings import Settings
from components.settings.types import in_url

# Seconds a native Ollama may take to say its version; it answers in milliseconds.
_NATIVE_TIMEOUT_S = 5
# Seconds; nvidia-smi takes ten after a boot.
_NVIDIA_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found before anything is declared."""

    endpoint: Endpoint
    facts: HostFacts


def survey(settings: Settings) -> Survey:
    """Asks the engine at hand. Raises `StackError` when it is down, not permitted, or a wanted port is taken."""
    endpoint = endpoint_of(settings.host)
    if not endpoint.is_at_hand:
        raise StackError(
            f"host.type is local, but the Docker engine at {endpoint.address} is on another machine, where neither the "
            "models nor the database could be reached from here.",
            "docker context use default, or name the engine at hand: "
            f"pulumi config set --path '{pulumi.get_project()}:host.docker_host' unix:///var/run/docker.sock",
        )
    client = open_client(endpoint)
    try:
        facts = facts_of(client, endpoint)
        refuse_taken_ports(client, wanted_ports(settings, pulumi.get_project(), pulumi.get_stack()))
    finally:
        client.close()
    if settings.accelerator.kind == "apple":
        _require_native_ollama(settings)
    if settings.accelerator.kind == "nvidia":
        _refuse_old_driver(settings)
    return Survey(endpoint=endpoint, facts=facts)


def wanted_ports(settings: Settings, project: str, stack: str) -> list[WantedPort]:
    """Every port that the stack publishes on the machine at hand."""
    names = names_of(settings, project, stack)
    ollama, postgres = settings.ollama, settings.postgres
    wanted = [
        WantedPort(
            key=f"{project}:postgres.port",
            address=postgres.bind,
            port=postgres.port,
            container=names.postgres_container,
        )
    ]
    if settings.accelerator.kind != "apple":
        wanted += [
            WantedPort(
                key=f"{project}:ollama.port",
                address=ollama.bind,
                port=ollama.port + index,
                container=names.ollama_server(index),
            )
            for index in range(settings.pool.servers)
        ]
    return wanted + _proxies(settings, names, project)


def _proxies(settings: Settings, names: Names, project: str) -> list[WantedPort]:
    gateway, edge = settings.gateway, settings.edge
    ports = []
    if gateway.enabled:
        ports += [
            ("gateway.port", gateway.bind, gateway.port, names.gateway_container),
            ("gateway.metrics_port", "127.0.0.1", gateway.metrics_port, names.gateway_container),
        ]
    if edge.enabled:
        ports.append(("edge.port", edge.bind, edge.port, names.edge_container))
    if edge.enabled and edge.certificate == "automatic":
        ports.append(("edge.http_port", edge.bind, edge.http_port, names.edge_container))
    return [WantedPort(key=f"{project}:{key}", address=at, port=port, container=who) for key, at, port, who in ports]


def _require_native_ollama(settings: Settings) -> None:
    """Docker on a Mac cannot reach the GPU, so the Apple profile depends on a server that is not ours to start."""
    url = f"http://{in_url(settings.ollama.bind)}:{settings.ollama.port}/api/version"
    session = requests.Session()
    # A proxy configured for the outside has no way to this machine's loopback.
    session.trust_env = False
    try:
        session.get(url, timeout=_NATIVE_TIMEOUT_S).raise_for_status()
    except requests.RequestException as error:
        raise StackError(
            f"accelerator.kind is apple, but no native Ollama answers at {url} ({type(error).__name__}).",
            "brew install ollama && brew services start ollama",
        ) from None


def _refuse_old_driver(settings: Settings) -> None:
    """Where nvidia-smi can be asked: an engine in a virtual machine has its driver elsewhere."""
    query = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=False, timeout=_NVIDIA_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return
    rows = [line.split(",") for line in said.stdout.splitlines() if "," in line] if said.returncode == 0 else []
    for version, capability in rows:
        refuse_old_driver(
            "This machine", version.strip(), ollama=settings.ollama_version, capability=capability.strip()
        )


class LocalHost(pulumi.ComponentResource):
    """The provider of the engine at hand. `provider` is what every service takes its engine from."""

    provider: docker.Provider

    def __init__(self, name: str, found: Survey, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:hosts:LocalHost", name, None, opts)
        endpoint = found.endpoint
        self.provider = docker.Provider(
            f"{name}-docker",
            host=None if endpoint.context else endpoint.address,
            context=endpoint.context,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"address": "127.0.0.1"})
