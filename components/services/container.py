"""What every container of a stack shares: limits, no privilege, rotated logs, a health check, a restart policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_docker as docker

from components.plan import Limits
from components.plan.names import Names
from components.services.labels import container_labels
from components.settings.container import Container
from components.settings.types import duration_seconds

# The Docker provider reports both as updated without touching the container (measured with 5.x), so a change to them
# has to replace it. Limits too: an in-place update of a running container can take its GPU away.
REPLACE_ON_CHANGES = ["healthcheck", "tmpfs", "memory", "memorySwap", "memoryReservation", "cpus", "restart"]


def hardened_args(
    *,
    name: str,
    image: pulumi.Input[str],
    names: Names,
    settings: Container,
    limits: Limits,
    health_command: list[str],
    environment: Mapping[str, str],
    wait: bool = True,
    **more: Any,
) -> docker.ContainerArgs:
    """The arguments of a container that drops every capability and waits until it is healthy.

    `wait` is False for one that becomes healthy only by what another resource does to it afterwards.
    `more` are the service's own `ContainerArgs`. Memory is given to Docker in MiB, with as much swap as memory, which
    means none: a limit without it would differ from what Docker reports back, on every update.
    """
    health = settings.health
    return docker.ContainerArgs(
        name=name,
        image=image,
        envs=[f"{key}={value}" for key, value in sorted(environment.items())],
        memory=limits.memory_mib,
        memory_swap=limits.memory_mib,
        memory_reservation=limits.memory_reservation_mib,
        cpus=cpus_text(limits.cpus),
        restart=settings.restart,
        log_driver="json-file",
        log_opts={"max-size": settings.log.max_size, "max-file": str(settings.log.max_file)},
        capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
        security_opts=["no-new-privileges:true"],
        privileged=False,
        init=True,
        must_run=True,
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=["CMD", *health_command],
            interval=health.interval,
            timeout=health.timeout,
            start_period=health.start_period,
            retries=health.retries,
        ),
        wait=wait,
        wait_timeout=health_deadline_s(settings),
        labels=container_labels(names),
        **more,
    )


def cpus_text(cpus: float) -> str:
    """A CPU limit as the Docker provider reads it back, digit by digit; any other form is a change on every update.

    Its rule, kept with its quirk (terraform-provider-docker, nanoInt64ToDecimalString): nine decimals, which become one
    when exactly nine zeros are among the digits, and lose their trailing zeros otherwise.
    """
    digits = f"{cpus:.9f}"
    return f"{cpus:.1f}" if digits.count("0") == len("000000000") else digits.rstrip("0")


def health_deadline_s(settings: Container) -> int:
    """Seconds after which a container that is not healthy never will be: start period, every retry, and a margin."""
    health = settings.health
    per_try = duration_seconds(health.interval) + duration_seconds(health.timeout)
    return round(duration_seconds(health.start_period) + per_try * health.retries) + 30


def bridge(network: pulumi.Input[str], *aliases: str) -> docker.ContainerNetworksAdvancedArgs:
    """An attachment to a bridge network under the names by which other containers find this one."""
    return docker.ContainerNetworksAdvancedArgs(name=network, aliases=list(aliases))
