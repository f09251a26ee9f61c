"""The edge: one Caddy in front of the gateway, for certificates that come by themselves and for people with passwords.

It keeps its certificates, and the internal authority that signs them, on a volume of its own: a new authority would be
a stranger to every client. Clients that are to trust that authority get its certificate by
`docker exec <stack>-edge cat /data/caddy/pki/authorities/local/root.crt`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components.proxies import caddyfile
from components.services.container import REPLACE_ON_CHANGES, bridge, hardened_args
from components.services.images import pulled_image
from components.services.labels import volume_labels
from components.services.site import Site
from components.services.volume import kept_options
from components.settings.edge import Edge as EdgeSettings
from components.settings.types import in_url

# Seconds for answers that are on their way.
SHUTDOWN_GRACE_S = 30
_HEALTH = f"wget -q -O /dev/null http://127.0.0.1:{caddyfile.HEALTH_PORT}/healthz"
# The official program carries the file capability to bind low ports, and Linux runs no such file where that capability
# is out of reach (capabilities(7)). A copy has none, and needs none: the ports in here are high.
_START = "cp /usr/bin/caddy /tmp/caddy && exec /tmp/caddy run --config /etc/caddy/Caddyfile --adapter caddyfile"


@dataclass(frozen=True, kw_only=True)
class EdgeArgs:
    """`gateway`: `host:port` within the Docker network; `key`: the API key of those who log in, secret."""

    site: Site
    gateway: pulumi.Input[str]
    key: pulumi.Input[str]


class Edge(pulumi.ComponentResource):
    """`url`: what clients call."""

    url: pulumi.Output[str]

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:services:Edge", name, None, opts)
        settings, plan, networks = args.site.settings, args.site.plan, args.site.networks
        edge = settings.edge
        child = pulumi.ResourceOptions(parent=self)
        image = pulled_image(f"{name}-image", settings.caddy_image, child)
        volume = docker.Volume(
            f"{name}-data",
            name=plan.names.edge_volume,
            labels=volume_labels(plan.names),
            opts=pulumi.ResourceOptions.merge(child, kept_options(settings)),
        )
        text: pulumi.Output[str] = pulumi.Output.from_input(args.gateway).apply(
            lambda at: caddyfile.render(edge, gateway=at)
        )
        key: pulumi.Output[str] = pulumi.Output.secret(args.key)
        # Bcrypt hashes are slow to try, but not to be handed out.
        hidden: pulumi.Output[str] = pulumi.Output.secret(text)
        docker.Container(
            f"{name}-container",
            hardened_args(
                name=plan.names.edge_container,
                image=image.image_id,
                names=plan.names,
                settings=edge.container,
                limits=plan.edge_limits,
                health_command=["sh", "-c", _HEALTH],
                environment={"XDG_CONFIG_HOME": "/config", "XDG_DATA_HOME": "/data"},
                entrypoints=["sh", "-c", _START],
                destroy_grace_seconds=SHUTDOWN_GRACE_S,
                uploads=[
                    docker.ContainerUploadArgs(file="/etc/caddy/Caddyfile", content=hidden, permissions="0400"),
                    docker.ContainerUploadArgs(file=caddyfile.KEY_FILE, content=key, permissions="0400"),
                ],
                ports=published(edge),
                networks_advanced=[bridge(networks.edge), bridge(networks.private)],
                volumes=[docker.ContainerVolumeArgs(volume_name=volume.name, container_path="/data")],
            ),
            opts=pulumi.ResourceOptions(parent=self, replace_on_changes=REPLACE_ON_CHANGES, delete_before_replace=True),
        )
        self.url = pulumi.Output.from_input(url_of(edge))
        self.register_outputs({"url": self.url})


def published(edge: EdgeSettings) -> list[docker.ContainerPortArgs]:
    """Port 80 is for the authority that checks a domain, and sends people on to HTTPS."""
    ports = [docker.ContainerPortArgs(internal=caddyfile.HTTPS_PORT, external=edge.port, ip=edge.bind)]
    if edge.certificate == "automatic":
        ports.append(docker.ContainerPortArgs(internal=caddyfile.HTTP_PORT, external=edge.http_port, ip=edge.bind))
    return ports


def url_of(edge: EdgeSettings) -> str:
    """The URL under the first name that the certificate is for."""
    name = edge.domain if edge.certificate == "automatic" and edge.domain else edge.names[0]
    return f"https://{in_url(name)}" if edge.port == 443 else f"https://{in_url(name)}:{edge.port}"
