"""What the machine may do on AWS: be reached through Session Manager, send metrics when asked to, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

# What Session Manager needs of a machine, without the reading of parameters that AWS's managed policy adds:
# "Creating an instance profile with minimal Session Manager permissions" in the Systems Manager user guide.
SESSION_MANAGER_ACTIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
# What the CloudWatch agent needs to send metrics, without the logs and parameters that AWS's managed policy adds:
# "Create IAM roles and users for use with the CloudWatch agent" in the CloudWatch user guide.
CLOUDWATCH_ACTIONS = ("cloudwatch:PutMetricData", "ec2:DescribeTags", "ec2:DescribeVolumes")


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    cloudwatch_agent: bool
    name: str


class MachineIdentity(pulumi.ComponentResource):
    """`profile_name` is what the machine is started with."""

    profile_name: pulumi.Output[str]

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:aws:MachineIdentity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = service_role(f"{name}-role", "ec2.amazonaws.com", "The machine of a ragstack stack", child)
        allow(f"{name}-session-manager", role, SESSION_MANAGER_ACTIONS, "*", child)
        if args.cloudwatch_agent:
            allow(f"{name}-cloudwatch", role, CLOUDWATCH_ACTIONS, "*", child)
        profile = aws.iam.InstanceProfile(f"{name}-profile", role=role.name, opts=child)
        self.profile_name = profile.name
        self.register_outputs({"profile_name": self.profile_name})


def service_role(name: str, service: str, description: str, opts: pulumi.ResourceOptions) -> aws.iam.Role:
    """A role that one AWS service alone may take on."""
    trust = [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]
    return aws.iam.Role(name, assume_role_policy=_policy(trust), description=description, opts=opts)


def allow(
    name: str, role: aws.iam.Role, actions: tuple[str, ...], resource: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> aws.iam.RolePolicy:
    """Lets a role do these actions on one resource."""
    policy = pulumi.Output.from_input(resource).apply(
        lambda arn: _policy([{"Effect": "Allow", "Action": list(actions), "Resource": arn}])
    )
    return aws.iam.RolePolicy(name, role=role.id, policy=policy, opts=opts)


def _policy(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, sort_keys=True)
