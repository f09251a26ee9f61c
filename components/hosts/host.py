"""What every host gives, and the choice between hosts."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from components.errors import StackError
from components.hosts import local
from components.plan import HostFacts
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class DockerHost:
    """`provider` declares containers there; `address` is where a user finds the machine; `facts` is what it has."""

    provider: docker.Provider
    address: pulumi.Input[str]
    facts: HostFacts


def connect(settings: Settings) -> DockerHost:
    """The host the settings name. Raises `StackError` when it cannot be used."""
    if settings.host.type != "local":
        raise StackError(
            f"host.type is {settings.host.type}, which this version validates but cannot provision yet.",
            f"pulumi config set --stack {pulumi.get_stack()} --path '{pulumi.get_project()}:host.type' local",
        )
    found = local.survey(settings)
    host = local.LocalHost("host", found)
    return DockerHost(provider=host.provider, address="127.0.0.1", facts=found.facts)
