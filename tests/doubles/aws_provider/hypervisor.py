"""Machines behind the instances, when a rehearsal asks for them (RAGSTACK_REHEARSAL); otherwise nothing happens."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tests.doubles.aws_provider import store
from tests.doubles.aws_provider.calls import Aws


def start(aws: Aws, instance: str, given: dict[str, Any]) -> None:
    """Boots the instance's machine, or starts it again, with what EC2 would hand to it. Returns at once."""
    machines = _machines()
    if machines is None:
        return
    key = store.get(aws, "public-key", given["keyName"]) if given.get("keyName") else None
    machines.start(
        instance,
        user_data=given.get("userDataBase64") or given.get("userData") or "",
        public_key=key["publicKey"] if key else "",
        ami=_ami_name(aws, given["ami"]),
    )


def stop(instance: str) -> None:
    _do("stop", instance)


def terminate(instance: str) -> None:
    _do("terminate", instance)


def attach(instance: str, volume: str, size_gib: int) -> None:
    _do("attach", instance, volume, size_gib)


def detach(instance: str, volume: str) -> None:
    _do("detach", instance, volume)


def delete_volume(volume: str) -> None:
    _do("delete_volume", volume)


def _do(action: str, *arguments: Any) -> None:
    machines = _machines()
    if machines is not None:
        getattr(machines, action)(*arguments)


def _machines() -> Any:
    if not os.environ.get("RAGSTACK_REHEARSAL"):
        return None
    # Imported late: it needs Docker, and this double does not.
    return importlib.import_module("tests.doubles.machines")


def _ami_name(aws: Aws, ami: str) -> str:
    """The name tells the flavour, and a failure to play; the id is made up anew with every server."""
    found = aws.find("ec2", "DescribeImages", ImageIds=[ami])
    return str(found["Images"][0]["Name"]) if found and found["Images"] else ami
