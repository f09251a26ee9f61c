"""EBS: a volume, and its attachment to an instance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.doubles.aws_provider import hypervisor
from tests.doubles.aws_provider.base import Resource, specification, wait
from tests.doubles.aws_provider.calls import Aws
from tests.doubles.aws_provider.instances import instance_of, stop_and_wait


class Volume(Resource):
    token = "aws:ebs/volume:Volume"
    noun = "EBS Volume"
    mapped = frozenset(
        {
            "availabilityZone", "type", "size", "iops", "throughput", "encrypted", "kmsKeyId", "snapshotId",
            "finalSnapshot", "tags",
        }
    )  # fmt: skip
    replaces = frozenset({"availabilityZone", "encrypted", "kmsKeyId", "snapshotId"})
    computed = ("arn", "createTime")

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "ec2", "CreateVolume", AvailabilityZone=given["availabilityZone"], Size=given.get("size"),
            VolumeType=given.get("type"), Iops=given.get("iops"), Throughput=given.get("throughput"),
            Encrypted=given.get("encrypted"), KmsKeyId=given.get("kmsKeyId"), SnapshotId=given.get("snapshotId"),
            TagSpecifications=specification("volume", tags),
        )  # fmt: skip
        id_ = str(made["VolumeId"])
        wait(f"EBS Volume ({id_}) to be available", lambda: (volume_of(aws, id_) or {})["State"] == "available")
        return id_

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        if changed & {"size", "iops", "throughput", "type"}:
            aws.call(
                "ec2", "ModifyVolume", VolumeId=id_, Size=new.get("size"), Iops=new.get("iops"),
                Throughput=new.get("throughput"), VolumeType=new.get("type"),
            )  # fmt: skip

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        volume = volume_of(aws, id_)
        if volume is None:
            return None
        return {
            "arn": aws.arn("ec2", f"volume/{id_}"),
            "createTime": volume["CreateTime"].isoformat(),
            "availabilityZone": volume["AvailabilityZone"],
            "size": volume["Size"],
            "type": volume["VolumeType"],
            "encrypted": bool(volume["Encrypted"]),
        }

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        volume = volume_of(aws, id_)
        if volume is None:
            return
        if volume["State"] == "in-use":
            raise aws.refused("ec2", "DeleteVolume", "VolumeInUse", f"Volume {id_} is currently attached")
        aws.find("ec2", "DeleteVolume", VolumeId=id_)
        hypervisor.delete_volume(id_)


def volume_of(aws: Aws, id_: str) -> dict[str, Any] | None:
    found = aws.find("ec2", "DescribeVolumes", VolumeIds=[id_])
    return dict(found["Volumes"][0]) if found and found["Volumes"] else None


class VolumeAttachment(Resource):
    """moto attaches whatever it is told to; what AWS refuses is refused here."""

    token = "aws:ec2/volumeAttachment:VolumeAttachment"
    noun = "EBS Volume Attachment"
    mapped = frozenset(
        {"deviceName", "instanceId", "volumeId", "stopInstanceBeforeDetaching", "forceDetach", "skipDestroy"}
    )
    replaces = frozenset({"deviceName", "instanceId", "volumeId"})
    computed = ()
    tagged = False
    verbs: ClassVar[Mapping[str, str]] = {**Resource.verbs, "create": "attaching", "delete": "detaching"}

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        instance_id, volume_id, device = given["instanceId"], given["volumeId"], given["deviceName"]
        volume, instance = volume_of(aws, volume_id), instance_of(aws, instance_id)
        if volume and volume["State"] == "in-use":
            raise aws.refused("ec2", "AttachVolume", "VolumeInUse", f"{volume_id} is already attached to an instance")
        if volume and instance and volume["AvailabilityZone"] != instance["Placement"]["AvailabilityZone"]:
            message = f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'"
            raise aws.refused("ec2", "AttachVolume", "InvalidVolume.ZoneMismatch", message)
        aws.call("ec2", "AttachVolume", Device=device, InstanceId=instance_id, VolumeId=volume_id)
        wait(f"EBS Volume ({volume_id}) attach", lambda: self._attached(aws, volume_id) == instance_id)
        hypervisor.attach(instance_id, volume_id, int((volume or given)["Size"]))
        # As terraform-provider-aws makes one up, which EC2 does not give (ebs_volume_attachment.go): by its parts.
        parts = hashlib.sha256(f"{device}-{instance_id}-{volume_id}-".encode()).hexdigest()
        return f"vai-{int(parts[:8], 16)}"

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        return {} if self._attached(aws, state["volumeId"]) == state["instanceId"] else None

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        instance_id, volume_id = state["instanceId"], state["volumeId"]
        if state.get("skipDestroy") or self._attached(aws, volume_id) != instance_id:
            return
        if state.get("stopInstanceBeforeDetaching"):
            stop_and_wait(aws, instance_id)
        aws.call(
            "ec2", "DetachVolume", Device=state["deviceName"], InstanceId=instance_id, VolumeId=volume_id,
            Force=bool(state.get("forceDetach")),
        )  # fmt: skip
        wait(f"EBS Volume ({volume_id}) detach", lambda: not self._attached(aws, volume_id))
        hypervisor.detach(instance_id, volume_id)

    @staticmethod
    def _attached(aws: Aws, volume_id: str) -> str:
        volume = volume_of(aws, volume_id)
        attachments = (volume or {}).get("Attachments") or [{}]
        return str(attachments[0].get("InstanceId", ""))
