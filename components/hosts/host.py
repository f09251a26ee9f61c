"""What every host gives, and the choice between hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_docker as docker

from components.hosts import local, ssh
from components.hosts.aws.survey import RentedSurvey
from components.hosts.aws.survey import survey as aws_survey
from components.hosts.remote import RemoteHost, going_with
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class DockerHost:
    """`provider` declares containers there; `address` is where a user finds the machine; `reach` is how its loopback is
    reached (`SshTarget.as_input`), None for the machine at hand; `engine` is the same for its Docker engine
    (`components.engine.container_of`); `machine` is what everything on it is replaced and
    deleted with, when the stack has made it."""

    provider: docker.Provider
    address: pulumi.Input[str]
    engine: pulumi.Input[Mapping[str, Any]]
    reach: pulumi.Output[dict[str, object]] | None = None
    machine: pulumi.Resource | None = None

    @property
    def options(self) -> pulumi.ResourceOptions:
        """What a service takes to be declared there."""
        follow = [going_with(self.machine)] if self.machine else None
        return pulumi.ResourceOptions(providers=[self.provider], transformations=follow)


Survey = local.Survey | ssh.Survey | RentedSurvey


def survey(settings: Settings) -> Survey:
    """What is known of the host before anything is declared. Raises `StackError` when it cannot be used."""
    match settings.host.type:
        case "local":
            return local.survey(settings)
        case "ssh":
            return ssh.survey(settings)
        case "aws":
            return aws_survey(settings)


def connect(settings: Settings, found: Survey) -> DockerHost:
    """Declares the host and what is between here and there. Raises `StackError` when AWS cannot give it."""
    if isinstance(found, local.Survey):
        engine = {"address": found.endpoint.address, "context": found.endpoint.context}
        return DockerHost(provider=local.LocalHost("host", found).provider, address="127.0.0.1", engine=engine)
    if isinstance(found, ssh.Survey):
        remote = ssh.declare(settings)
        return DockerHost(provider=remote.provider, address=found.address, engine=_through(remote), reach=remote.reach)
    # Its library takes a second to load, which no other stack should pay.
    from components.hosts.aws.host import AwsMachine

    rented = AwsMachine("host", settings, found)
    return DockerHost(
        provider=rented.remote.provider,
        address=rented.address,
        engine=_through(rented.remote),
        reach=rented.remote.reach,
        machine=rented.instance,
    )


def _through(remote: RemoteHost) -> pulumi.Output[Mapping[str, Any]]:
    return remote.reach.apply(lambda reach: {"reach": reach})
