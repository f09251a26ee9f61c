"""The prod host put together: look-ups, network, role, data volume, machine, guards, and the gate in front of it."""

from __future__ import annotations

from typing import Literal, cast

import pulumi
import pulumi_aws as aws

from components.hosts.aws import lookups
from components.hosts.aws.data_volume import DataVolume, DataVolumeArgs
from components.hosts.aws.guards import StopStartSchedule, budget_alarm
from components.hosts.aws.identity import IdentityArgs, MachineIdentity
from components.hosts.aws.machine import GpuMachine, GpuMachineArgs
from components.hosts.aws.network import MachineNetwork, NetworkArgs
from components.hosts.aws.pinned import Pinned, PinnedArgs
from components.hosts.aws.survey import RentedSurvey
from components.hosts.aws.tags import stack_value, tags_of
from components.hosts.aws.way_in import ssh_options
from components.hosts.preparation import Preparation, user_data
from components.hosts.remote import RemoteArgs, RemoteHost
from components.settings import Settings
from components.settings.aws import AwsHost


class AwsMachine(pulumi.ComponentResource):
    """`remote` is how the machine is used; `instance` is what everything on it goes with; `address` is public, or the
    private one of a machine in a subnet without."""

    remote: RemoteHost
    instance: aws.ec2.Instance
    address: pulumi.Output[str]

    def __init__(self, name: str, settings: Settings, found: RentedSurvey) -> None:
        super().__init__("ragstack:aws:AwsMachine", name)
        host = settings.host.aws or AwsHost()
        project, stack = pulumi.get_project(), pulumi.get_stack()
        title = stack_value(project, stack)
        provider = aws.Provider(
            f"{name}-aws",
            region=host.region,
            profile=host.profile,
            default_tags=aws.ProviderDefaultTagsArgs(tags=tags_of(host, project=project, stack=stack)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        asking = pulumi.InvokeOptions(provider=provider)
        inside = pulumi.ResourceOptions(parent=self, providers=[provider])
        # Every question first, so that a no comes before anything exists.
        zones = lookups.find_zones(host, asking)
        in_subnet = lookups.zone_of_subnet(host, zones, asking) if host.network.subnet_id else None
        offered = lookups.find_image(host, found.machine, asking)
        lookups.refuse_small_quota(host, found.cost, asking)
        zone = in_subnet or self._zone(name, host, zones)
        image = self._image(name, host, offered)

        network = MachineNetwork(
            f"{name}-network", NetworkArgs(host=host, ports=settings.public_ports, zone=zone, name=title), inside
        )
        identity = MachineIdentity(
            f"{name}-identity", IdentityArgs(cloudwatch_agent=host.monitoring.cloudwatch_agent, name=title), inside
        )
        data = DataVolume(f"{name}-data", DataVolumeArgs(host=host, zone=zone, name=title), inside)
        machine = GpuMachine(
            f"{name}-machine",
            GpuMachineArgs(
                host=host,
                ami=image,
                public_key=found.public_key,
                subnet_id=network.subnet_id,
                security_group_id=network.security_group_id,
                profile_name=identity.profile_name,
                user_data=data.id.apply(lambda volume: user_data(preparation(settings, volume))),
                data_volume_id=data.id,
                public=network.public,
                name=title,
            ),
            inside,
        )
        self.instance = machine.instance
        if host.schedule:
            StopStartSchedule(f"{name}-schedule", host.schedule, machine.instance, inside)
        if host.budget:
            budget_alarm(f"{name}-budget", host.budget, inside)
        self.remote = RemoteHost(
            f"{name}-remote",
            RemoteArgs(
                destination=machine.instance.id.apply(lambda id_: f"{host.user}@{id_}"),
                options=ssh_options(host),
                machine=machine.instance.id,
                prepared=True,
                gpus=found.machine.gpus if settings.accelerator.kind == "nvidia" else 0,
                settings=settings,
            ),
            pulumi.ResourceOptions(
                parent=self, depends_on=[machine.attachment, *([network.endpoint] if network.endpoint else [])]
            ),
        )
        addresses = pulumi.Output.all(machine.instance.public_ip, machine.instance.private_ip)
        self.address = addresses.apply(lambda both: str(both[0] or both[1]))
        self.register_outputs({"address": self.address})

    def _zone(self, name: str, host: AwsHost, zones: tuple[str, ...]) -> pulumi.Output[str]:
        # The data volume is bound to its zone for good, while AWS may list another zone first tomorrow.
        wanted = host.availability_zone or ""
        args = PinnedArgs(offered=wanted or zones[0], reason=f"{host.region} {wanted}".strip())
        return Pinned(f"{name}-zone", args, pulumi.ResourceOptions(parent=self)).value

    def _image(self, name: str, host: AwsHost, offered: lookups.Image) -> pulumi.Output[str]:
        reason = " ".join(filter(None, (offered.parameter or offered.id, host.ami.taken)))
        args = PinnedArgs(offered=offered.id, reason=reason)
        return Pinned(f"{name}-ami", args, pulumi.ResourceOptions(parent=self)).value


def preparation(settings: Settings, data_volume_id: str | None) -> Preparation:
    """What a machine of these settings has to be prepared for."""
    host = settings.host.aws or AwsHost()
    return Preparation(
        user=host.user,
        # The settings refuse apple on a remote host.
        accelerator=cast(Literal["cpu", "nvidia", "rocm", "vulkan"], settings.accelerator.kind),
        data_volume_id=data_volume_id,
        log_max_size=settings.ollama.container.log.max_size,
        log_max_file=settings.ollama.container.log.max_file,
        cloudwatch_agent=host.monitoring.cloudwatch_agent,
    )
