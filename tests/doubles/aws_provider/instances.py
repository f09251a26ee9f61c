"""An EC2 instance's states, which both instances and attachments wait for."""

from __future__ import annotations

from typing import Any

from tests.doubles.aws_provider import hypervisor
from tests.doubles.aws_provider.base import wait
from tests.doubles.aws_provider.calls import Aws


def instance_of(aws: Aws, id_: str) -> dict[str, Any] | None:
    """What EC2 says about it, or None when it is gone or on its way."""
    found = aws.find("ec2", "DescribeInstances", InstanceIds=[id_])
    instances = [item for reservation in (found or {}).get("Reservations", []) for item in reservation["Instances"]]
    gone = not instances or instances[0]["State"]["Name"] in ("terminated", "shutting-down")
    return None if gone else dict(instances[0])


def state_of(aws: Aws, id_: str) -> str:
    instance = instance_of(aws, id_)
    return str(instance["State"]["Name"]) if instance else "terminated"


def stop_and_wait(aws: Aws, id_: str) -> None:
    """Does nothing to an instance that is stopped or gone."""
    if state_of(aws, id_) in ("stopped", "terminated"):
        return
    aws.call("ec2", "StopInstances", InstanceIds=[id_])
    wait(f"EC2 Instance ({id_}) stop", lambda: state_of(aws, id_) == "stopped")
    hypervisor.stop(id_)


def start_and_wait(aws: Aws, id_: str, given: dict[str, Any]) -> None:
    aws.call("ec2", "StartInstances", InstanceIds=[id_])
    wait(f"EC2 Instance ({id_}) start", lambda: state_of(aws, id_) == "running")
    hypervisor.start(aws, id_, given)


def terminate_and_wait(aws: Aws, id_: str) -> None:
    aws.find("ec2", "TerminateInstances", InstanceIds=[id_])
    wait(f"EC2 Instance ({id_}) terminate", lambda: state_of(aws, id_) == "terminated")
    hypervisor.terminate(id_)
