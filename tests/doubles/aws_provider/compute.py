"""Instances."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from tests.doubles.aws_provider.base import Resource, listed, pascal, specification, wait
from tests.doubles.aws_provider.calls import Aws
from tests.doubles.aws_provider.hypervisor import start as start_machine
from tests.doubles.aws_provider.instances import (
    instance_of,
    start_and_wait,
    state_of,
    stop_and_wait,
    terminate_and_wait,
)

# Before it is encoded: "Run commands when you launch an EC2 instance with user data input" in the EC2 user guide.
USER_DATA_BYTES = 16384
_STOPPED_FOR = {"instanceType", "userData", "userDataBase64", "ebsOptimized"}


class Instance(Resource):
    token = "aws:ec2/instance:Instance"
    noun = "EC2 Instance"
    mapped = frozenset(
        {
            "ami", "instanceType", "keyName", "subnetId", "vpcSecurityGroupIds", "associatePublicIpAddress",
            "availabilityZone", "iamInstanceProfile", "userData", "userDataBase64", "userDataReplaceOnChange",
            "metadataOptions", "rootBlockDevice", "instanceMarketOptions", "monitoring", "ebsOptimized",
            "instanceInitiatedShutdownBehavior", "disableApiTermination", "disableApiStop", "creditSpecification",
            "sourceDestCheck", "volumeTags", "tags",
        }
    )  # fmt: skip
    replaces = frozenset(
        {
            "ami", "associatePublicIpAddress", "availabilityZone", "instanceMarketOptions", "keyName", "subnetId",
            "rootBlockDevice.encrypted", "rootBlockDevice.kmsKeyId",
        }
    )  # fmt: skip
    computed = (
        "arn", "availabilityZone", "instanceState", "primaryNetworkInterfaceId", "privateDns", "privateIp", "publicDns",
        "publicIp",
    )  # fmt: skip

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        _refuse_long_user_data(aws, given)
        made = aws.call("ec2", "RunInstances", MinCount=1, MaxCount=1, **_parameters(aws, given, tags))
        id_ = str(made["Instances"][0]["InstanceId"])
        wait(f"EC2 Instance ({id_}) create", lambda: state_of(aws, id_) == "running")
        if given.get("sourceDestCheck") is False:
            aws.call("ec2", "ModifyInstanceAttribute", InstanceId=id_, SourceDestCheck={"Value": False})
        start_machine(aws, id_, given)
        return id_

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        self._modify_running(aws, id_, new, changed)
        if "rootBlockDevice" in changed:
            _modify_root(aws, id_, new["rootBlockDevice"])
        if not changed & _STOPPED_FOR:
            return
        _refuse_long_user_data(aws, new)
        stop_and_wait(aws, id_)
        for parameters in _stopped_attributes(new, changed):
            aws.call("ec2", "ModifyInstanceAttribute", InstanceId=id_, **parameters)
        start_and_wait(aws, id_, new)

    def replaced_as_well(self, new: Mapping[str, Any], changed: set[str]) -> list[str]:
        return sorted(changed & {"userData", "userDataBase64"}) if new.get("userDataReplaceOnChange") else []

    @staticmethod
    def _modify_running(aws: Aws, id_: str, new: dict[str, Any], changed: set[str]) -> None:
        if "vpcSecurityGroupIds" in changed:
            aws.call("ec2", "ModifyInstanceAttribute", InstanceId=id_, Groups=new["vpcSecurityGroupIds"])
        if "metadataOptions" in changed:
            options = _metadata(new) or {}
            aws.call("ec2", "ModifyInstanceMetadataOptions", InstanceId=id_, **options)
        if "monitoring" in changed:
            operation = "MonitorInstances" if new.get("monitoring") else "UnmonitorInstances"
            # moto has neither; what they would change is read nowhere.
            aws.validate("ec2", operation, InstanceIds=[id_])
        if "disableApiTermination" in changed:
            wanted = {"Value": bool(new.get("disableApiTermination"))}
            aws.call("ec2", "ModifyInstanceAttribute", InstanceId=id_, DisableApiTermination=wanted)
        if "iamInstanceProfile" in changed:
            _exchange_profile(aws, id_, new.get("iamInstanceProfile"))

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        instance = instance_of(aws, id_)
        if instance is None:
            return None
        interfaces = instance.get("NetworkInterfaces") or [{}]
        return {
            "arn": aws.arn("ec2", f"instance/{id_}"),
            "ami": instance["ImageId"],
            "instanceType": instance["InstanceType"],
            "instanceState": instance["State"]["Name"],
            "availabilityZone": instance["Placement"]["AvailabilityZone"],
            "subnetId": instance.get("SubnetId", ""),
            "primaryNetworkInterfaceId": interfaces[0].get("NetworkInterfaceId", ""),
            "privateIp": instance.get("PrivateIpAddress", ""),
            "privateDns": instance.get("PrivateDnsName", ""),
            "publicIp": instance.get("PublicIpAddress", ""),
            "publicDns": instance.get("PublicDnsName", ""),
        }

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        terminate_and_wait(aws, id_)


def _parameters(aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    """As the real provider fills RunInstances: an interface of its own only when the public address is decided on."""
    groups, subnet, public = (
        given.get("vpcSecurityGroupIds"),
        given.get("subnetId"),
        given.get("associatePublicIpAddress"),
    )
    zone, market = given.get("availabilityZone"), given.get("instanceMarketOptions")
    place: dict[str, Any] = {"SubnetId": subnet, "SecurityGroupIds": groups}
    if public is not None:
        card = {"DeviceIndex": 0, "AssociatePublicIpAddress": public, "SubnetId": subnet, "Groups": groups}
        place = {"NetworkInterfaces": [{key: value for key, value in card.items() if value is not None}]}
    return {
        **place,
        "ImageId": given["ami"],
        "InstanceType": given["instanceType"],
        "KeyName": given.get("keyName"),
        "Placement": {"AvailabilityZone": zone} if zone else None,
        "IamInstanceProfile": {"Name": given["iamInstanceProfile"]} if given.get("iamInstanceProfile") else None,
        "UserData": _user_data(given),
        "MetadataOptions": _metadata(given),
        "BlockDeviceMappings": _root_device(aws, given),
        "InstanceMarketOptions": pascal(market) if market else None,
        "Monitoring": {"Enabled": bool(given["monitoring"])} if "monitoring" in given else None,
        "EbsOptimized": given.get("ebsOptimized"),
        "InstanceInitiatedShutdownBehavior": given.get("instanceInitiatedShutdownBehavior"),
        "DisableApiTermination": given.get("disableApiTermination"),
        "DisableApiStop": given.get("disableApiStop"),
        "CreditSpecification": pascal(given["creditSpecification"]) if given.get("creditSpecification") else None,
        "TagSpecifications": [
            *(specification("instance", tags) or []),
            *(specification("volume", {**given.get("volumeTags", {}), **_root_tags(aws, given)}) or []),
        ] or None,
    }  # fmt: skip


def _root_tags(aws: Aws, given: dict[str, Any]) -> dict[str, str]:
    return aws.tags(given["rootBlockDevice"]) if given.get("rootBlockDevice") else {}


def _metadata(given: dict[str, Any]) -> dict[str, Any] | None:
    options = pascal(given.get("metadataOptions") or {})
    return dict(options) or None


def _root_device(aws: Aws, given: dict[str, Any]) -> list[dict[str, Any]] | None:
    root = given.get("rootBlockDevice")
    if not root:
        return None
    images = aws.call("ec2", "DescribeImages", ImageIds=[given["ami"]])["Images"]
    device = images[0].get("RootDeviceName") or "/dev/sda1"
    return [{"DeviceName": device, "Ebs": pascal({key: value for key, value in root.items() if key != "tags"})}]


def _user_data(given: dict[str, Any]) -> bytes | None:
    """Before it is encoded, which boto3 does by itself."""
    if given.get("userDataBase64"):
        return base64.b64decode(given["userDataBase64"], validate=True)
    return given["userData"].encode() if given.get("userData") else None


def _refuse_long_user_data(aws: Aws, given: dict[str, Any]) -> None:
    if len(_user_data(given) or b"") > USER_DATA_BYTES:
        message = f"User data is limited to {USER_DATA_BYTES} bytes"
        raise aws.refused("ec2", "RunInstances", "InvalidParameterValue", message)


def _stopped_attributes(new: dict[str, Any], changed: set[str]) -> list[dict[str, Any]]:
    attributes: list[dict[str, Any]] = []
    if "instanceType" in changed:
        attributes.append({"InstanceType": {"Value": new["instanceType"]}})
    if changed & {"userData", "userDataBase64"}:
        attributes.append({"UserData": {"Value": _user_data(new) or b""}})
    if "ebsOptimized" in changed:
        attributes.append({"EbsOptimized": {"Value": bool(new.get("ebsOptimized"))}})
    return attributes


def _modify_root(aws: Aws, id_: str, root: dict[str, Any]) -> None:
    instance = instance_of(aws, id_) or {}
    devices = {item["DeviceName"]: item["Ebs"]["VolumeId"] for item in instance.get("BlockDeviceMappings") or []}
    volume = devices.get(instance.get("RootDeviceName", ""))
    if volume:
        aws.call(
            "ec2", "ModifyVolume", VolumeId=volume, Size=root.get("volumeSize"), Iops=root.get("iops"),
            Throughput=root.get("throughput"), VolumeType=root.get("volumeType"),
        )  # fmt: skip
        if root.get("tags"):
            aws.call("ec2", "CreateTags", Resources=[volume], Tags=listed(root["tags"]))


def _exchange_profile(aws: Aws, id_: str, name: str | None) -> None:
    filters = [{"Name": "instance-id", "Values": [id_]}]
    found = aws.call("ec2", "DescribeIamInstanceProfileAssociations", Filters=filters)["IamInstanceProfileAssociations"]
    current = [item["AssociationId"] for item in found if item["State"] in ("associated", "associating")]
    if current and name:
        profile = {"Name": name}
        aws.call("ec2", "ReplaceIamInstanceProfileAssociation", AssociationId=current[0], IamInstanceProfile=profile)
    elif current:
        aws.call("ec2", "DisassociateIamInstanceProfile", AssociationId=current[0])
    elif name:
        aws.call("ec2", "AssociateIamInstanceProfile", InstanceId=id_, IamInstanceProfile={"Name": name})
