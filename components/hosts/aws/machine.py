"""The machine itself: one EC2 instance that prepares itself at its first boot, with the data volume attached.

It may be replaced at any time; what must not be lost is on the data volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.hosts.aws.data_volume import gib
from components.settings.aws import AwsHost

# The name the API wants. The machine itself sees an NVMe device and finds it by the volume's id.
DATA_DEVICE = "/dev/sdf"


@dataclass(frozen=True, kw_only=True)
class GpuMachineArgs:
    """`ami`: the image's id; `public_key`: the half of the user's key that may be known; `user_data`: the preparation,
    as EC2 takes it; `public`: whether to give it a public address, None leaves it to the subnet."""

    host: AwsHost
    ami: pulumi.Input[str]
    public_key: str
    subnet_id: pulumi.Input[str]
    security_group_id: pulumi.Input[str]
    profile_name: pulumi.Input[str]
    user_data: pulumi.Input[str]
    data_volume_id: pulumi.Input[str]
    public: bool | None
    name: str


class GpuMachine(pulumi.ComponentResource):
    """`instance` is what everything on the machine is replaced and deleted with; `attachment` is when its data is
    there."""

    instance: aws.ec2.Instance
    attachment: aws.ec2.VolumeAttachment

    def __init__(self, name: str, args: GpuMachineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:aws:GpuMachine", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        key = aws.ec2.KeyPair(f"{name}-key", public_key=args.public_key, opts=child)
        self.instance = aws.ec2.Instance(
            f"{name}-instance",
            ami=args.ami,
            instance_type=args.host.instance_type,
            key_name=key.key_name,
            subnet_id=args.subnet_id,
            vpc_security_group_ids=[args.security_group_id],
            associate_public_ip_address=args.public,
            iam_instance_profile=args.profile_name,
            user_data_base64=args.user_data,
            # The preparation runs at the first boot only, so another one needs another machine.
            user_data_replace_on_change=True,
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled",
                http_tokens="required",
                # One hop ends at the machine: no container on a bridge gets its credentials.
                http_put_response_hop_limit=1,
                instance_metadata_tags="disabled",
            ),
            root_block_device=_root(args),
            instance_market_options=_market(args.host),
            monitoring=args.host.monitoring.detailed,
            ebs_optimized=True,
            tags={"Name": args.name},
            # The data volume can be attached to one machine at a time.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.attachment = aws.ec2.VolumeAttachment(
            f"{name}-data",
            device_name=DATA_DEVICE,
            instance_id=self.instance.id,
            volume_id=args.data_volume_id,
            # Stopped, it has written everything; a mounted volume would be torn out.
            stop_instance_before_detaching=True,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.register_outputs({"instance_id": self.instance.id})


def _root(args: GpuMachineArgs) -> aws.ec2.InstanceRootBlockDeviceArgs:
    settings = args.host.root_volume
    return aws.ec2.InstanceRootBlockDeviceArgs(
        volume_type="gp3",
        volume_size=gib(settings.size),
        iops=settings.iops,
        throughput=settings.throughput,
        encrypted=True,
        kms_key_id=args.host.data_volume.kms_key_id,
        delete_on_termination=True,
        tags={"Name": f"{args.name}-root"},
    )


def _market(host: AwsHost) -> aws.ec2.InstanceInstanceMarketOptionsArgs | None:
    """One-time spot: an interrupted machine is gone, and the next update makes another around the same data. A
    persistent request would outlive a destroy and start machines by itself (terraform-provider-aws, issue 38142)."""
    if host.purchase != "spot":
        return None
    return aws.ec2.InstanceInstanceMarketOptionsArgs(
        market_type="spot",
        spot_options=aws.ec2.InstanceInstanceMarketOptionsSpotOptionsArgs(
            spot_instance_type="one-time",
            instance_interruption_behavior="terminate",
            max_price=None if host.max_hourly_usd is None else f"{host.max_hourly_usd:g}",
        ),
    )
