"""Security groups, their rules one by one, and the Instance Connect Endpoint."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.doubles.aws_provider import store
from tests.doubles.aws_provider.base import Resource, specification
from tests.doubles.aws_provider.calls import Aws


class SecurityGroup(Resource):
    """Without inline rules. As the real provider does, it takes away the rule that lets everything out."""

    token = "aws:ec2/securityGroup:SecurityGroup"
    noun = "Security Group"
    mapped = frozenset({"name", "description", "vpcId", "revokeRulesOnDelete", "tags"})
    replaces = frozenset({"name", "description", "vpcId"})
    computed = ("arn", "ownerId")
    defaults: ClassVar[Mapping[str, Any]] = {"description": "Managed by Pulumi", "revokeRulesOnDelete": False}
    autoname = "name"

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "ec2", "CreateSecurityGroup", GroupName=given["name"], Description=given["description"],
            VpcId=given.get("vpcId"), TagSpecifications=specification("security-group", tags),
        )  # fmt: skip
        id_ = str(made["GroupId"])
        revoke_all(aws, id_)
        return id_

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("ec2", "DescribeSecurityGroups", GroupIds=[id_])
        if not found:
            return None
        group = found["SecurityGroups"][0]
        return {
            "arn": aws.arn("ec2", f"security-group/{id_}"),
            "ownerId": group["OwnerId"],
            "name": group["GroupName"],
            "description": group["Description"],
            "vpcId": group["VpcId"],
        }

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.find("ec2", "DeleteSecurityGroup", GroupId=id_)


def revoke_all(aws: Aws, group: str) -> None:
    described = aws.call("ec2", "DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"][0]
    for direction, key in (("Ingress", "IpPermissions"), ("Egress", "IpPermissionsEgress")):
        if described[key]:
            aws.call("ec2", f"RevokeSecurityGroup{direction}", GroupId=group, IpPermissions=described[key])


class DefaultSecurityGroup(Resource):
    """Takes over the group that every VPC comes with, empties it, and never deletes it."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    noun = "Default Security Group"
    mapped = frozenset({"vpcId", "tags"})
    replaces = frozenset({"vpcId"})
    computed = ("arn", "ownerId", "name", "description")

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        filters = [
            {"Name": "group-name", "Values": ["default"]},
            *([{"Name": "vpc-id", "Values": [given["vpcId"]]}] if given.get("vpcId") else []),
        ]
        id_ = str(aws.call("ec2", "DescribeSecurityGroups", Filters=filters)["SecurityGroups"][0]["GroupId"])
        revoke_all(aws, id_)
        self.retag(aws, id_, tags, [])
        return id_

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        return SecurityGroup().read(aws, id_, state)

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        return


class _Rule(Resource):
    direction: ClassVar[str] = ""
    mapped = frozenset(
        {
            "securityGroupId", "ipProtocol", "fromPort", "toPort", "cidrIpv4", "cidrIpv6", "description",
            "referencedSecurityGroupId", "tags",
        }
    )  # fmt: skip
    replaces = frozenset({"securityGroupId"})
    computed = ("arn", "securityGroupRuleId")

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "ec2", f"AuthorizeSecurityGroup{self.direction}", GroupId=given["securityGroupId"],
            IpPermissions=[_permission(given)], TagSpecifications=specification("security-group-rule", tags),
        )  # fmt: skip
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        names = {
            "ipProtocol": "IpProtocol", "fromPort": "FromPort", "toPort": "ToPort", "cidrIpv4": "CidrIpv4",
            "cidrIpv6": "CidrIpv6", "description": "Description", "referencedSecurityGroupId": "ReferencedGroupId",
        }  # fmt: skip
        rule = {name: new[key] for key, name in names.items() if new.get(key) is not None}
        if changed & set(names):
            aws.call(
                "ec2", "ModifySecurityGroupRules", GroupId=new["securityGroupId"],
                SecurityGroupRules=[{"SecurityGroupRuleId": id_, "SecurityGroupRule": rule}],
            )  # fmt: skip

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("ec2", "DescribeSecurityGroupRules", SecurityGroupRuleIds=[id_])
        if not found or not found["SecurityGroupRules"]:
            return None
        return {
            "arn": aws.arn("ec2", f"security-group-rule/{id_}"),
            "securityGroupRuleId": id_,
            "securityGroupId": found["SecurityGroupRules"][0]["GroupId"],
        }

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        group = state["securityGroupId"]
        aws.find("ec2", f"RevokeSecurityGroup{self.direction}", GroupId=group, SecurityGroupRuleIds=[id_])


class IngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    noun = "VPC Security Group Ingress Rule"
    direction = "Ingress"


class EgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    noun = "VPC Security Group Egress Rule"
    direction = "Egress"


def _permission(given: dict[str, Any]) -> dict[str, Any]:
    about = {"Description": given["description"]} if given.get("description") else {}
    permission: dict[str, Any] = {"IpProtocol": given["ipProtocol"]}
    for key, name in (("fromPort", "FromPort"), ("toPort", "ToPort")):
        if given.get(key) is not None:
            permission[name] = given[key]
    if given.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": given["cidrIpv4"], **about}]
    if given.get("cidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": given["cidrIpv6"], **about}]
    if given.get("referencedSecurityGroupId"):
        permission["UserIdGroupPairs"] = [{"GroupId": given["referencedSecurityGroupId"], **about}]
    return permission


class InstanceConnectEndpoint(Resource):
    """moto has none: kept by the double, with its subnet and groups looked up as AWS would."""

    token = "aws:ec2transitgateway/instanceConnectEndpoint:InstanceConnectEndpoint"
    noun = "EC2 Instance Connect Endpoint"
    mapped = frozenset({"subnetId", "securityGroupIds", "preserveClientIp", "tags"})
    replaces = frozenset({"subnetId", "securityGroupIds", "preserveClientIp"})
    computed = ("arn", "availabilityZone", "dnsName", "fipsDnsName", "networkInterfaceIds", "ownerId", "vpcId")
    defaults: ClassVar[Mapping[str, Any]] = {"preserveClientIp": True}

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        aws.validate(
            "ec2", "CreateInstanceConnectEndpoint", SubnetId=given["subnetId"],
            SecurityGroupIds=given.get("securityGroupIds"), PreserveClientIp=given.get("preserveClientIp"),
            TagSpecifications=specification("instance-connect-endpoint", tags),
        )  # fmt: skip
        subnet = aws.call("ec2", "DescribeSubnets", SubnetIds=[given["subnetId"]])["Subnets"][0]
        if given.get("securityGroupIds"):
            aws.call("ec2", "DescribeSecurityGroups", GroupIds=given["securityGroupIds"])
        id_ = f"eice-{secrets.token_hex(8)}0"
        host = f"{id_}.{secrets.token_hex(4)}.ec2-instance-connect-endpoint.{aws.region}.amazonaws.com"
        store.put(aws, "instance-connect-endpoint", id_, {
            "arn": aws.arn("ec2", f"instance-connect-endpoint/{id_}"), "ownerId": aws.account,
            "availabilityZone": subnet["AvailabilityZone"], "vpcId": subnet["VpcId"], "dnsName": host,
            "fipsDnsName": "", "networkInterfaceIds": [f"eni-{secrets.token_hex(8)}0"],
        })  # fmt: skip
        return id_

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        return store.get(aws, "instance-connect-endpoint", id_)

    def retag(self, aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
        aws.validate("ec2", "CreateTags", Resources=[id_], Tags=[])

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.validate("ec2", "DeleteInstanceConnectEndpoint", InstanceConnectEndpointId=id_)
        store.delete(aws, "instance-connect-endpoint", id_)
