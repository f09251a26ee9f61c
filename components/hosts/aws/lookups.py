"""Questions to AWS before anything is declared. Read-only; each refusal says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.errors import StackError
from components.plan import Cost, Machine
from components.settings.aws import AwsHost

# Public parameters that name the newest AMI of a kind. With a driver: "Deep Learning Base OSS Nvidia Driver GPU AMI" in
# the AWS Deep Learning AMIs developer guide; plain: "Finding images on AWS" in Canonical's documentation of Ubuntu.
_DRIVER_AMI = "/aws/service/deeplearning/ami/{architecture}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
_PLAIN_AMI = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{architecture}/hvm/ebs-gp3/ami-id"
_CANONICAL_ARCHITECTURE = {"x86_64": "amd64", "arm64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """An AMI as AWS names it now, and what it was found by, which is empty for one that the settings pin."""

    id: str
    parameter: str


def ami_parameter(host: AwsHost, machine: Machine) -> str:
    """The public parameter to follow: the settings' own, else a driver AMI for GPU machines, Ubuntu for others."""
    if host.ami.parameter:
        return host.ami.parameter
    if machine.gpus:
        return _DRIVER_AMI.format(architecture=machine.architecture)
    return _PLAIN_AMI.format(architecture=_CANONICAL_ARCHITECTURE[machine.architecture])


def find_image(host: AwsHost, machine: Machine, asking: pulumi.InvokeOptions) -> Image:
    """Raises `StackError` when the parameter is absent in the region."""
    if host.ami.id:
        return Image(id=host.ami.id, parameter="")
    parameter = ami_parameter(host, machine)
    with _explained(
        f"The region {host.region} names no AMI by the parameter {parameter}",
        "name one: pulumi config set --path ragstack:host.aws.ami.id ami-<id> (or ragstack:host.aws.ami.parameter)",
    ):
        found = aws.ssm.get_parameter(name=parameter, opts=asking)
    # A public parameter is no secret; `value` would be marked as one and hide the AMI in every preview.
    return Image(id=found.insecure_value or found.value, parameter=parameter)


def find_zones(host: AwsHost, asking: pulumi.InvokeOptions) -> tuple[str, ...]:
    """The zones of the region that have the instance type, sorted. Raises `StackError` when none has."""
    filters = [aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="instance-type", values=[host.instance_type])]
    with _explained(
        f"AWS does not say which zones of {host.region} have {host.instance_type}",
        "allow ec2:DescribeInstanceTypeOfferings to whoever deploys",
    ):
        found = aws.ec2.get_instance_type_offerings(filters=filters, location_type="availability-zone", opts=asking)
    zones = tuple(sorted(found.locations))
    if not zones:
        raise StackError(
            f"No zone of {host.region} has machines of type {host.instance_type}.",
            "pulumi config set --path ragstack:host.aws.region us-east-1 (or another type: "
            "pulumi config set --path ragstack:host.aws.instance_type g5.xlarge)",
        )
    if host.availability_zone and host.availability_zone not in zones:
        raise StackError(
            f"The zone {host.availability_zone} has no machines of type {host.instance_type}; these have: "
            f"{', '.join(zones)}.",
            f"pulumi config set --path ragstack:host.aws.availability_zone {zones[0]}",
        )
    return zones


def zone_of_subnet(host: AwsHost, zones: tuple[str, ...], asking: pulumi.InvokeOptions) -> str:
    """The zone of the user's own subnet. Raises `StackError` when the subnet is not there, or cannot have the type."""
    network = host.network
    with _explained(
        f"The subnet {network.subnet_id} cannot be found in {host.region}",
        "aws ec2 describe-subnets, then pulumi config set --path ragstack:host.aws.network.subnet_id <id>",
    ):
        subnet = aws.ec2.get_subnet(id=network.subnet_id, opts=asking)
    if subnet.vpc_id != network.vpc_id:
        raise StackError(
            f"The subnet {network.subnet_id} belongs to {subnet.vpc_id}, not to {network.vpc_id}.",
            f"pulumi config set --path ragstack:host.aws.network.vpc_id {subnet.vpc_id}",
        )
    if subnet.availability_zone not in zones:
        raise StackError(
            f"The subnet {network.subnet_id} is in {subnet.availability_zone}, which has no machines of type "
            f"{host.instance_type}; these have: {', '.join(zones)}.",
            "name a subnet in one of these zones, or another instance type",
        )
    return str(subnet.availability_zone)


def refuse_small_quota(host: AwsHost, cost: Cost, asking: pulumi.InvokeOptions) -> None:
    """Raises `StackError` when the account's quota of vCPUs is smaller than the machine. One that may not be asked for
    is only warned about: EC2 itself refuses then, a few resources later."""
    try:
        quota = aws.servicequotas.get_service_quota(service_code="ec2", quota_code=cost.quota_code, opts=asking)
    except Exception as error:  # noqa: BLE001 - whatever the reason, the update can go on without this look
        pulumi.log.warn(f"the vCPU quota {cost.quota_code} was not looked at: {said(error)}")
        return
    if quota.value < cost.quota_vcpus:
        raise StackError(
            f"{host.instance_type} needs {cost.quota_vcpus} vCPUs, and this account's quota {cost.quota_code} "
            f"({quota.quota_name}) in {host.region} is {quota.value:g}.",
            f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {cost.quota_code} "
            f"--desired-value {cost.quota_vcpus} --region {host.region} (granted within hours or days)",
        )


@contextmanager
def _explained(cause: str, mend: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the runtime raises nothing narrower for a function that failed
        raise StackError(f"{cause}: {said(error)}", mend) from None


def said(error: Exception) -> str:
    """What AWS said, without the layers around it."""
    text = " ".join(str(error).split())
    return text.rpartition("api error ")[2][:300]
