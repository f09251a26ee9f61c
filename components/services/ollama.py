"""The Ollama servers: containers on the declared accelerator, or the native server of a Mac.

Servers of a pool share one volume of models, and an update replaces them one after the other: each waits until the
gateway gives work to the one before it.

Not here: the models on it (`components/models`) and which devices an accelerator means (`components/plan`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_docker as docker

from components.plan import DeviceRequest, Devices, Plan, Server
from components.plan.pool import kept_on
from components.proxies.member import PoolMember, PoolMemberArgs
from components.services.container import REPLACE_ON_CHANGES, bridge, hardened_args
from components.services.gateway import Gateway
from components.services.images import built_image, pulled_image
from components.services.labels import volume_labels
from components.services.network import HOST_GATEWAY, OLLAMA_PORT
from components.services.site import Site
from components.services.volume import kept_options
from components.settings import Settings
from components.settings.types import duration_seconds, in_url


@dataclass(frozen=True, kw_only=True)
class OllamaArgs:
    site: Site
    gateway: Gateway


class OllamaServer(pulumi.ComponentResource):
    """`url`: the API as the machine itself reaches it; `internal_url`: as containers of the stack reach it; `identity`:
    changes whenever another container answers there, so that models are proven again; `residents`: of a pool, a model's
    name to the URLs of the servers that keep it; `servers`: name, url and container (an id, None for a native server)
    of each. `url` and `internal_url` are those of the first server."""

    url: pulumi.Output[str]
    internal_url: pulumi.Output[str]
    identity: pulumi.Output[str]
    residents: dict[str, list[str]]
    servers: pulumi.Output[list[dict[str, Any]]]

    def __init__(self, name: str, args: OllamaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:services:OllamaServer", name, None, opts)
        ollama = args.site.settings.ollama
        self.url = pulumi.Output.from_input(f"http://{in_url(ollama.bind)}:{ollama.port}")
        if args.site.settings.accelerator.kind == "apple":
            self.internal_url = pulumi.Output.from_input(f"http://{HOST_GATEWAY}:{ollama.port}")
            self.identity = pulumi.Output.from_input("native")
            containers = []
        else:
            containers = self._containers(name, args)
            self.internal_url = containers[0].name.apply(lambda host: f"http://{host}:{OLLAMA_PORT}")
            self.identity = pulumi.Output.all(*(container.id for container in containers)).apply(",".join)
        host, planned = in_url(ollama.bind), args.site.plan.pool.servers
        self.servers = pulumi.Output.all(*(container.id for container in containers)).apply(
            lambda ids: [
                {
                    "name": server.name,
                    "url": f"http://{host}:{server.port}",
                    "container": ids[server.index] if ids else None,
                }
                for server in planned
            ]
        )
        self.residents = residents(args.site.settings, args.site.plan)
        self.register_outputs({"url": self.url, "internal_url": self.internal_url})

    def _containers(self, name: str, args: OllamaArgs) -> list[docker.Container]:
        child = pulumi.ResourceOptions(parent=self)
        image, volumes = self._image(name, args, child), self._volumes(name, args, child)
        made: list[docker.Container] = []
        # Also because the engine ends the plugin of dynamic resources when the program declares its first one, and with
        # it a member's deletion that is still draining its server (seen with 3.260). After this one, it has.
        before = args.gateway.configuration
        for server in args.site.plan.pool.servers:
            # The first keeps the name it has without a pool, so that a pool grows around it.
            called = name if server.index == 0 else f"{name}-{server.index + 1}"
            made.append(self._container(called, args, server, image=image.image_id, volumes=volumes, before=before))
            before = self._member(called, args, server, made[-1]) or made[-1]
        return made

    def _member(
        self, name: str, args: OllamaArgs, server: Server, container: docker.Container
    ) -> pulumi.Resource | None:
        if args.gateway.container is None:
            return None
        return PoolMember(
            f"{name}-member",
            PoolMemberArgs(
                engine=args.site.engine,
                gateway=args.gateway.container,
                server=server.name,
                container=container.id,
                drain_s=duration_seconds(args.site.settings.pool.drain),
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _container(
        self,
        name: str,
        args: OllamaArgs,
        server: Server,
        *,
        image: pulumi.Input[str],
        volumes: list[docker.ContainerVolumeArgs] | None,
        before: pulumi.Resource | None,
    ) -> docker.Container:
        settings, plan = args.site.settings, args.site.plan
        return docker.Container(
            f"{name}-container",
            hardened_args(
                name=server.container,
                image=image,
                names=plan.names,
                settings=settings.ollama.container,
                limits=server.limits,
                # The image has neither curl nor wget; its own client asks the server itself.
                health_command=["ollama", "list"],
                environment=environment(settings, server.devices),
                ports=[docker.ContainerPortArgs(internal=OLLAMA_PORT, external=server.port, ip=settings.ollama.bind)],
                networks_advanced=[
                    bridge(network, *(["ollama"] if server.index == 0 else []))
                    for network in (args.site.networks.edge, args.site.networks.private)
                ],
                hosts=[docker.ContainerHostArgs(host=host, ip="host-gateway") for host in _mirror_on_host(settings)],
                volumes=volumes,
                **device_args(server.devices),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                replace_on_changes=REPLACE_ON_CHANGES,
                delete_before_replace=True,
                depends_on=[before] if before else None,
            ),
        )

    def _image(self, name: str, args: OllamaArgs, child: pulumi.ResourceOptions) -> docker.RemoteImage:
        settings, names = args.site.settings, args.site.plan.names
        if settings.ollama.models_from == "image":
            models = " ".join(f"{settings.model_source(model.name)}={model.name}" for model in settings.models)
            flags = "--insecure" if settings.registry.models_insecure else ""
            return built_image(
                f"{name}-image",
                "ollama_baked",
                {"BASE": settings.ollama_image, "MODELS": models, "PULL_FLAGS": flags},
                names,
                child,
                extra_hosts=tuple(f"{host}:host-gateway" for host in _mirror_on_host(settings)),
            )
        if settings.ollama.non_root:
            return built_image(f"{name}-image", "ollama_non_root", {"BASE": settings.ollama_image}, names, child)
        return pulled_image(f"{name}-image", settings.ollama_image, child)

    def _volumes(
        self, name: str, args: OllamaArgs, child: pulumi.ResourceOptions
    ) -> list[docker.ContainerVolumeArgs] | None:
        if args.site.settings.ollama.models_from == "image":
            return None
        names = args.site.plan.names
        volume = docker.Volume(
            f"{name}-models",
            name=names.ollama_volume,
            labels=volume_labels(names),
            opts=pulumi.ResourceOptions.merge(child, kept_options(args.site.settings)),
        )
        home = "/home/ollama" if args.site.settings.ollama.non_root else "/root"
        return [docker.ContainerVolumeArgs(volume_name=volume.name, container_path=f"{home}/.ollama")]


def residents(settings: Settings, plan: Plan) -> dict[str, list[str]]:
    """Where each declared model is kept: on every server of a pool, or on its own where models are routed; nowhere in
    particular on a single server."""
    servers = plan.pool.servers
    if len(servers) == 1:
        return {}
    host = in_url(settings.ollama.bind)
    urls = {server.name: f"http://{host}:{server.port}" for server in servers}
    return {model: [urls[name] for name in kept] for model, kept in kept_on(settings, list(urls)).items()}


def environment(settings: Settings, devices: Devices) -> dict[str, str]:
    """The server's environment. Its own client must not go through a proxy to reach it, or every health check fails."""
    return {
        # A restarted server would otherwise delete what an interrupted pull has already downloaded.
        "OLLAMA_NOPRUNE": "1",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
        **settings.ollama.variables(),
        **devices.environment,
        "OLLAMA_HOST": f"0.0.0.0:{OLLAMA_PORT}",
    }


def device_args(devices: Devices) -> dict[str, Any]:
    """Devices as `ContainerArgs` fields; a field that is not needed is left out rather than empty."""
    args: dict[str, Any] = {}
    if devices.requests:
        args["device_requests"] = [_request(request) for request in devices.requests]
    if devices.paths:
        args["devices"] = [
            docker.ContainerDeviceArgs(host_path=path, container_path=path, permissions="rwm") for path in devices.paths
        ]
    if devices.group_ids:
        args["group_adds"] = [str(group) for group in devices.group_ids]
    return args


def _request(request: DeviceRequest) -> docker.ContainerDeviceRequestArgs:
    return docker.ContainerDeviceRequestArgs(
        driver=request.driver,
        count=request.count,
        device_ids=list(request.device_ids) or None,
        capabilities=list(request.capabilities) or None,
    )


def _mirror_on_host(settings: Settings) -> tuple[str, ...]:
    """The name of the machine itself, when the models' mirror runs on it."""
    return (HOST_GATEWAY,) if settings.registry.models.startswith(f"{HOST_GATEWAY}:") else ()
