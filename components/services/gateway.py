"""The gateway: one HAProxy between clients and the Ollama servers, and an edge in front of it where one is asked for.

The container holds no configuration. It is delivered to the running proxy by a resource of its own, so that keys,
limits and certificates change without a closed connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pulumi
import pulumi_docker as docker
import pulumi_random as random

from components.errors import StackError
from components.plan import Plan
from components.proxies import haproxy, keys
from components.proxies.configuration import ProxyConfiguration, ProxyConfigurationArgs
from components.proxies.runtime import START
from components.services.container import REPLACE_ON_CHANGES, bridge, hardened_args
from components.services.edge import Edge, EdgeArgs
from components.services.images import pulled_image
from components.services.network import HOST_GATEWAY, OLLAMA_PORT
from components.services.site import Site
from components.settings import Settings
from components.settings.gateway import Tls
from components.settings.types import in_url

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104
# Seconds for answers that are on their way when the proxy itself is replaced.
SHUTDOWN_GRACE_S = 60
_HEALTH = (
    f"exec 3<>/dev/tcp/127.0.0.1/{haproxy.METRICS_PORT} && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 "
    '&& read -r _ status _ <&3 && [ "$status" = 200 ]'
)


class Gateway(pulumi.ComponentResource):
    """`url`: what clients call; `api_keys`: name to the newest key, secret; both are empty where the gateway is off.

    `container`: the name by which pool members find it, known once it has its `configuration`; None where it is off.
    """

    url: pulumi.Output[str | None]
    api_keys: pulumi.Output[dict[str, str]]
    container: pulumi.Output[str] | None
    configuration: pulumi.Resource | None

    def __init__(self, name: str, args: Site, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:services:Gateway", name, None, opts)
        self.url = pulumi.Output.from_input(None)
        self.api_keys = pulumi.Output.secret({})
        self.container = None
        self.configuration = None
        if args.settings.gateway.enabled:
            self._declare(name, args)
        self.register_outputs({"url": self.url})

    def _declare(self, name: str, args: Site) -> None:
        gateway = args.settings.gateway
        child = pulumi.ResourceOptions(parent=self)
        generated = self._generated(name, args.settings)
        container = self._container(name, args)
        self.configuration = configuration = ProxyConfiguration(
            f"{name}-configuration",
            ProxyConfigurationArgs(engine=args.engine, container=container.id, files=_files(args, generated)),
            child,
        )
        self.container = pulumi.Output.all(container.name, configuration.revision).apply(lambda made: str(made[0]))
        newest = {
            key.name: generated[keys.resource_name(key.name, max(key.generations))]
            for key in gateway.keys
            if not key.sha256
        }
        self.api_keys = pulumi.Output.secret(pulumi.Output.all(**newest))
        scheme = "https" if gateway.tls else "http"
        # An address that stands for all of the machine's is none that a client could call.
        address = args.address if gateway.bind in EVERY_ADDRESS else gateway.bind
        self.url = pulumi.Output.from_input(address).apply(lambda at: f"{scheme}://{in_url(at)}:{gateway.port}")
        if args.settings.edge.enabled:
            edge = Edge(
                f"{name}-edge",
                EdgeArgs(
                    site=args,
                    gateway=container.name.apply(lambda host: f"{host}:{haproxy.PORT}"),
                    key=generated[keys.EDGE_KEY],
                ),
                child,
            )
            self.url = edge.url

    def _generated(self, name: str, settings: Settings) -> dict[str, pulumi.Output[str]]:
        wanted = [
            keys.resource_name(key.name, generation)
            for key in settings.gateway.keys
            if not key.sha256
            for generation in key.generations
        ]
        if settings.edge.enabled:
            wanted.append(keys.EDGE_KEY)
        return {key: self._key(f"{name}-key-{key}") for key in wanted}

    def _key(self, name: str) -> pulumi.Output[str]:
        secret = random.RandomPassword(
            name, length=keys.RANDOM_LENGTH, special=False, opts=pulumi.ResourceOptions(parent=self)
        )
        return pulumi.Output.secret(secret.result.apply(lambda text: f"{keys.PREFIX}{text}"))

    def _container(self, name: str, args: Site) -> docker.Container:
        settings, plan = args.settings, args.plan
        gateway = settings.gateway
        image = pulled_image(f"{name}-image", settings.haproxy_image, pulumi.ResourceOptions(parent=self))
        native = settings.accelerator.kind == "apple"
        return docker.Container(
            f"{name}-container",
            hardened_args(
                name=plan.names.gateway_container,
                image=image.image_id,
                names=plan.names,
                settings=gateway.container,
                limits=plan.gateway_limits,
                health_command=["bash", "-c", _HEALTH],
                environment={},
                # It becomes healthy with its configuration, which is delivered to it next.
                wait=False,
                entrypoints=["bash", "-c", START],
                destroy_grace_seconds=SHUTDOWN_GRACE_S,
                ports=[
                    docker.ContainerPortArgs(internal=haproxy.PORT, external=gateway.port, ip=gateway.bind),
                    docker.ContainerPortArgs(
                        internal=haproxy.METRICS_PORT, external=gateway.metrics_port, ip="127.0.0.1"
                    ),
                ],
                networks_advanced=[bridge(args.networks.edge, "gateway"), bridge(args.networks.private, "gateway")],
                hosts=[docker.ContainerHostArgs(host=HOST_GATEWAY, ip="host-gateway")] if native else [],
            ),
            opts=pulumi.ResourceOptions(parent=self, replace_on_changes=REPLACE_ON_CHANGES, delete_before_replace=True),
        )


def upstreams(settings: Settings, plan: Plan) -> tuple[haproxy.Upstream, ...]:
    """Where the gateway finds the servers: by their containers' names, or at the machine itself on a Mac."""
    if settings.accelerator.kind == "apple":
        return (haproxy.Upstream(name="ollama-1", address=f"{HOST_GATEWAY}:{settings.ollama.port}", fixed=True),)
    return tuple(
        haproxy.Upstream(name=server.name, address=f"{server.container}:{OLLAMA_PORT}") for server in plan.pool.servers
    )


def _files(args: Site, generated: Mapping[str, pulumi.Output[str]]) -> pulumi.Output[dict[str, str]]:
    settings, pool = args.settings, args.plan.pool
    plain = haproxy.render(settings, upstreams(settings, args.plan), slots=pool.slots, homes=pool.homes)
    plain |= {"scopes.map": keys.scope_map(settings.gateway), "limits.map": keys.limit_map(settings.gateway)}
    if settings.gateway.tls:
        plain[haproxy.CERTIFICATE] = _certificate(settings.gateway.tls)
    known = pulumi.Output.all(**generated)
    return known.apply(lambda made: {**plain, "keys.map": keys.key_map(settings.gateway, made)})


def _certificate(tls: Tls) -> str:
    """Certificate, chain and key in one text, as HAProxy reads them."""
    parts = []
    for field, path in (("certificate", tls.certificate), ("private_key", tls.private_key)):
        try:
            parts.append(Path(path).expanduser().read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise StackError(
                f"{pulumi.get_project()}:gateway.tls.{field} cannot be read: {error}",
                f"name a PEM file: pulumi config set --path '{pulumi.get_project()}:gateway.tls.{field}' <path>",
            ) from None
    return "\n".join(parts) + "\n"
