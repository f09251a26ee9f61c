"""The Ollama server: a container on the declared accelerator, or the native server of a Mac.

Not here: the models on it (`components/models`) and which devices an accelerator means (`components/plan`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_docker as docker

from components.plan import DeviceRequest, Devices, Plan
from components.services.container import REPLACE_ON_CHANGES, bridge, hardened_args
from components.services.images import built_image, pulled_image
from components.services.labels import volume_labels
from components.services.network import Networks
from components.services.volume import kept_options
from components.settings import Settings
from components.settings.types import in_url

CONTAINER_PORT = 11434
# How a container finds the machine it runs on; Docker resolves `host-gateway` (docs of `docker run --add-host`).
HOST_GATEWAY = "host.docker.internal"


@dataclass(frozen=True, kw_only=True)
class OllamaArgs:
    settings: Settings
    plan: Plan
    networks: Networks


class OllamaServer(pulumi.ComponentResource):
    """`url`: the API as the machine itself reaches it; `internal_url`: as containers of the stack reach it; `identity`:
    changes whenever another container answers there, so that models are proven again."""

    url: pulumi.Output[str]
    internal_url: pulumi.Output[str]
    identity: pulumi.Output[str]

    def __init__(self, name: str, args: OllamaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:services:OllamaServer", name, None, opts)
        ollama = args.settings.ollama
        self.url = pulumi.Output.from_input(f"http://{in_url(ollama.bind)}:{ollama.port}")
        if args.settings.accelerator.kind == "apple":
            self.internal_url = pulumi.Output.from_input(f"http://{HOST_GATEWAY}:{ollama.port}")
            self.identity = pulumi.Output.from_input("native")
        else:
            container = self._container(name, args)
            self.internal_url = container.name.apply(lambda host: f"http://{host}:{CONTAINER_PORT}")
            self.identity = container.id
        self.register_outputs({"url": self.url, "internal_url": self.internal_url})

    def _container(self, name: str, args: OllamaArgs) -> docker.Container:
        settings, plan = args.settings, args.plan
        child = pulumi.ResourceOptions(parent=self)
        return docker.Container(
            f"{name}-container",
            hardened_args(
                name=plan.names.ollama_container,
                image=self._image(name, args, child).image_id,
                names=plan.names,
                settings=settings.ollama.container,
                limits=plan.ollama_limits,
                # The image has neither curl nor wget; its own client asks the server itself.
                health_command=["ollama", "list"],
                environment=environment(settings, plan.devices),
                ports=[
                    docker.ContainerPortArgs(
                        internal=CONTAINER_PORT, external=settings.ollama.port, ip=settings.ollama.bind
                    )
                ],
                networks_advanced=[bridge(args.networks.edge, "ollama"), bridge(args.networks.private, "ollama")],
                hosts=[docker.ContainerHostArgs(host=host, ip="host-gateway") for host in _mirror_on_host(settings)],
                volumes=self._volumes(name, args, child),
                **device_args(plan.devices),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                replace_on_changes=REPLACE_ON_CHANGES,
                delete_before_replace=True,
            ),
        )

    def _image(self, name: str, args: OllamaArgs, child: pulumi.ResourceOptions) -> docker.RemoteImage:
        settings, names = args.settings, args.plan.names
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
        if args.settings.ollama.models_from == "image":
            return None
        names = args.plan.names
        volume = docker.Volume(
            f"{name}-models",
            name=names.ollama_volume,
            labels=volume_labels(names),
            opts=pulumi.ResourceOptions.merge(child, kept_options(args.settings)),
        )
        home = "/home/ollama" if args.settings.ollama.non_root else "/root"
        return [docker.ContainerVolumeArgs(volume_name=volume.name, container_path=f"{home}/.ollama")]


def environment(settings: Settings, devices: Devices) -> dict[str, str]:
    """The server's environment. Its own client must not go through a proxy to reach it, or every health check fails."""
    return {
        # A restarted server would otherwise delete what an interrupted pull has already downloaded.
        "OLLAMA_NOPRUNE": "1",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
        **settings.ollama.variables(),
        **devices.environment,
        "OLLAMA_HOST": f"0.0.0.0:{CONTAINER_PORT}",
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
