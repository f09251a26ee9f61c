"""What a machine reached by SSH has in common, rented or owned: the gate, and a Docker provider that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components.hosts.readiness.resource import Readiness, ReadinessArgs
from components.reach import SshTarget
from components.settings import Settings

# What lives on a machine and goes with it. Volumes are no part of it: their data outlives the machine.
_ON_MACHINE = (
    "docker:index/container:Container",
    "docker:index/network:Network",
    "docker:index/remoteImage:RemoteImage",
    "pulumi-python:dynamic/ragstack:PoolMember",
    "pulumi-python:dynamic/ragstack:ProxyConfiguration",
)
# Host keys of rented machines. They are known by their instance id, so a new machine never contradicts an old one.
KNOWN_HOSTS = "~/.ragstack/known_hosts"
# Nobody is there to type an answer, and a connection that has died must not be waited for.
COMMON_OPTIONS = (
    "-o", "BatchMode=yes",
    "-o", "ServerAliveInterval=10",
    "-o", "ServerAliveCountMax=3",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RemoteArgs:
    """`destination`: `[user@]host` for ssh, `options`: its arguments; `machine`: changes with the machine; `prepared`
    and `gpus` as in `readiness.wait.Wanted`."""

    destination: pulumi.Input[str]
    options: tuple[str, ...]
    machine: pulumi.Input[str]
    prepared: bool
    gpus: int
    settings: Settings


class RemoteHost(pulumi.ComponentResource):
    """`provider` declares containers there, once the machine is ready; `reach` is how its loopback is reached."""

    provider: docker.Provider
    reach: pulumi.Output[dict[str, object]]

    def __init__(self, name: str, args: RemoteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:hosts:RemoteHost", name, None, opts)
        destination = pulumi.Output.from_input(args.destination)
        target = destination.apply(lambda to: SshTarget(destination=to, options=args.options))
        gate = Readiness(
            f"{name}-readiness",
            ReadinessArgs(
                reach=target.apply(SshTarget.as_input),
                machine=args.machine,
                accelerator=args.settings.accelerator.model_dump(mode="json", exclude_defaults=True),
                prepared=args.prepared,
                gpus=args.gpus,
                docker_url=target.apply(lambda to: to.docker_url),
                ollama=args.settings.ollama_version,
            ),
            # What the gate was passed with may have been made by another machine's marker.
            pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on if opts else None),
        )
        self.provider = docker.Provider(
            f"{name}-docker",
            host=gate.docker_url,
            ssh_opts=SshTarget(destination="", options=args.options).docker_options,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.reach = pulumi.Output.all(gate.reach, gate.engine).apply(lambda found: dict(found[0]))
        self.register_outputs({"reach": self.reach})


def going_with(
    machine: pulumi.Resource,
) -> Callable[[pulumi.ResourceTransformationArgs], pulumi.ResourceTransformationResult | None]:
    """Replaces what is on a machine together with it, and deletes it with it, hence without asking a Docker engine that
    is gone. The engine would otherwise take the containers of the old machine for those of the new (measured)."""

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if args.type_ not in _ON_MACHINE:
            return None
        more = pulumi.ResourceOptions(replace_with=[machine], deleted_with=machine)
        return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, more))

    return transform
