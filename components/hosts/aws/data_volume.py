"""The volume with every row and every model: encrypted, protected, outliving machines, and copied by the day."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.hosts.aws.identity import service_role
from components.settings.aws import AwsHost

# By this tag the snapshot policy finds the volume; a policy looks for volumes by tags alone.
DATA_TAG = "RagstackData"
_GIB_IN_MIB = 1024
_DLM_POLICY = "arn:aws:iam::aws:policy/service-role/AWSDataLifecycleManagerServiceRole"


@dataclass(frozen=True, kw_only=True)
class DataVolumeArgs:
    """`zone`: where the machine is, as a volume can only be attached there."""

    host: AwsHost
    zone: pulumi.Input[str]
    name: str


class DataVolume(pulumi.ComponentResource):
    """`id` is the volume's. It is protected: a destroy refuses until it was released on purpose."""

    id: pulumi.Output[str]

    def __init__(self, name: str, args: DataVolumeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:aws:DataVolume", name, None, opts)
        settings = args.host.data_volume
        volume = aws.ebs.Volume(
            f"{name}-volume",
            availability_zone=args.zone,
            type="gp3",
            size=gib(settings.size),
            iops=settings.iops,
            throughput=settings.throughput,
            encrypted=True,
            kms_key_id=settings.kms_key_id,
            tags={"Name": f"{args.name}-data", DATA_TAG: args.name},
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        self.id = volume.id
        if args.host.snapshots.enabled:
            self._snapshots(name, args)
        self.register_outputs({"id": self.id})

    def _snapshots(self, name: str, args: DataVolumeArgs) -> None:
        settings = args.host.snapshots
        child = pulumi.ResourceOptions(parent=self)
        role = service_role(f"{name}-snapshot-role", "dlm.amazonaws.com", "Snapshots of a ragstack data volume", child)
        attachment = aws.iam.RolePolicyAttachment(
            f"{name}-snapshot-policy", role=role.name, policy_arn=_DLM_POLICY, opts=child
        )
        aws.dlm.LifecyclePolicy(
            f"{name}-snapshots",
            description=f"Snapshots of the data volume of {args.name}",
            execution_role_arn=role.arn,
            state="ENABLED",
            policy_details=aws.dlm.LifecyclePolicyPolicyDetailsArgs(
                resource_types="VOLUME",
                target_tags={DATA_TAG: args.name},
                schedules=[
                    aws.dlm.LifecyclePolicyPolicyDetailsScheduleArgs(
                        name=f"{args.name}-data",
                        create_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleCreateRuleArgs(
                            interval=settings.every_hours, interval_unit="HOURS", times=settings.at
                        ),
                        retain_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleRetainRuleArgs(count=settings.keep),
                        copy_tags=True,
                    )
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[attachment]),
        )


def gib(mib: int) -> int:
    """A size of the settings, in MiB, as AWS counts it."""
    return mib // _GIB_IN_MIB
