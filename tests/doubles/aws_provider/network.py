"""The VPC, its way out, its subnet and routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.doubles.aws_provider.base import Resource, specification
from tests.doubles.aws_provider.calls import Aws


class Vpc(Resource):
    token = "aws:ec2/vpc:Vpc"
    noun = "EC2 VPC"
    mapped = frozenset({"cidrBlock", "enableDnsSupport", "enableDnsHostnames", "instanceTenancy", "tags"})
    replaces = frozenset({"cidrBlock"})
    computed = ("arn", "ownerId", "mainRouteTableId", "defaultSecurityGroupId", "defaultRouteTableId")
    # The provider turns the support on; hostnames are off until asked for.
    defaults: ClassVar[Mapping[str, Any]] = {"enableDnsSupport": True, "instanceTenancy": "default"}

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "ec2", "CreateVpc", CidrBlock=given["cidrBlock"], InstanceTenancy=given.get("instanceTenancy"),
            TagSpecifications=specification("vpc", tags),
        )  # fmt: skip
        id_ = str(made["Vpc"]["VpcId"])
        self.update(aws, id_, {}, given, {"enableDnsSupport", "enableDnsHostnames"} & set(given))
        return id_

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        for key, name in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
            if key in changed:
                aws.call("ec2", "ModifyVpcAttribute", VpcId=id_, **{name: {"Value": bool(new.get(key))}})

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("ec2", "DescribeVpcs", VpcIds=[id_])
        if not found:
            return None
        of_vpc = {"Name": "vpc-id", "Values": [id_]}
        main = {"Name": "association.main", "Values": ["true"]}
        tables = aws.call("ec2", "DescribeRouteTables", Filters=[of_vpc, main])["RouteTables"]
        default = {"Name": "group-name", "Values": ["default"]}
        groups = aws.call("ec2", "DescribeSecurityGroups", Filters=[of_vpc, default])["SecurityGroups"]
        table = tables[0]["RouteTableId"] if tables else ""
        return {
            "arn": aws.arn("ec2", f"vpc/{id_}"),
            "ownerId": aws.account,
            "cidrBlock": found["Vpcs"][0]["CidrBlock"],
            "mainRouteTableId": table,
            "defaultRouteTableId": table,
            "defaultSecurityGroupId": groups[0]["GroupId"] if groups else "",
        }

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.find("ec2", "DeleteVpc", VpcId=id_)


class InternetGateway(Resource):
    token = "aws:ec2/internetGateway:InternetGateway"
    noun = "EC2 Internet Gateway"
    mapped = frozenset({"vpcId", "tags"})
    computed = ("arn", "ownerId")

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call("ec2", "CreateInternetGateway", TagSpecifications=specification("internet-gateway", tags))
        id_ = str(made["InternetGateway"]["InternetGatewayId"])
        self.update(aws, id_, {}, given, {"vpcId"} & set(given))
        return id_

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        if "vpcId" not in changed:
            return
        if state.get("vpcId"):
            aws.call("ec2", "DetachInternetGateway", InternetGatewayId=id_, VpcId=state["vpcId"])
        if new.get("vpcId"):
            aws.call("ec2", "AttachInternetGateway", InternetGatewayId=id_, VpcId=new["vpcId"])

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("ec2", "DescribeInternetGateways", InternetGatewayIds=[id_])
        if not found:
            return None
        attached = found["InternetGateways"][0].get("Attachments") or [{}]
        return {
            "arn": aws.arn("ec2", f"internet-gateway/{id_}"),
            "ownerId": aws.account,
            "vpcId": attached[0].get("VpcId", ""),
        }

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        if state.get("vpcId"):
            aws.find("ec2", "DetachInternetGateway", InternetGatewayId=id_, VpcId=state["vpcId"])
        aws.find("ec2", "DeleteInternetGateway", InternetGatewayId=id_)


class Subnet(Resource):
    token = "aws:ec2/subnet:Subnet"
    noun = "EC2 Subnet"
    mapped = frozenset({"vpcId", "cidrBlock", "availabilityZone", "mapPublicIpOnLaunch", "tags"})
    replaces = frozenset({"vpcId", "cidrBlock", "availabilityZone"})
    computed = ("arn", "ownerId", "availabilityZone", "availabilityZoneId")
    defaults: ClassVar[Mapping[str, Any]] = {"mapPublicIpOnLaunch": False}

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "ec2", "CreateSubnet", VpcId=given["vpcId"], CidrBlock=given["cidrBlock"],
            AvailabilityZone=given.get("availabilityZone"), TagSpecifications=specification("subnet", tags),
        )  # fmt: skip
        id_ = str(made["Subnet"]["SubnetId"])
        self.update(aws, id_, {}, given, {"mapPublicIpOnLaunch"})
        return id_

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        if "mapPublicIpOnLaunch" in changed:
            wanted = {"Value": bool(new.get("mapPublicIpOnLaunch"))}
            aws.call("ec2", "ModifySubnetAttribute", SubnetId=id_, MapPublicIpOnLaunch=wanted)

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("ec2", "DescribeSubnets", SubnetIds=[id_])
        if not found:
            return None
        subnet = found["Subnets"][0]
        return {
            "arn": subnet["SubnetArn"],
            "ownerId": subnet["OwnerId"],
            "vpcId": subnet["VpcId"],
            "cidrBlock": subnet["CidrBlock"],
            "availabilityZone": subnet["AvailabilityZone"],
            "availabilityZoneId": subnet.get("AvailabilityZoneId", ""),
            "mapPublicIpOnLaunch": bool(subnet["MapPublicIpOnLaunch"]),
        }

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.find("ec2", "DeleteSubnet", SubnetId=id_)


class RouteTable(Resource):
    token = "aws:ec2/routeTable:RouteTable"
    noun = "EC2 Route Table"
    mapped = frozenset({"vpcId", "routes", "tags"})
    replaces = frozenset({"vpcId"})
    computed = ("arn", "ownerId")

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "ec2", "CreateRouteTable", VpcId=given["vpcId"], TagSpecifications=specification("route-table", tags)
        )
        id_ = str(made["RouteTable"]["RouteTableId"])
        self.update(aws, id_, {}, given, {"routes"})
        return id_

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        if "routes" not in changed:
            return
        old, wanted = state.get("routes") or [], new.get("routes") or []
        for route in old:
            if route not in wanted:
                aws.call("ec2", "DeleteRoute", RouteTableId=id_, **_destination(route))
        for route in wanted:
            if route not in old:
                aws.call("ec2", "CreateRoute", RouteTableId=id_, **_destination(route), **_target(route))

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("ec2", "DescribeRouteTables", RouteTableIds=[id_])
        if not found:
            return None
        vpc = found["RouteTables"][0]["VpcId"]
        return {"arn": aws.arn("ec2", f"route-table/{id_}"), "ownerId": aws.account, "vpcId": vpc}

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.find("ec2", "DeleteRouteTable", RouteTableId=id_)


def _destination(route: dict[str, Any]) -> dict[str, str]:
    if route.get("ipv6CidrBlock"):
        return {"DestinationIpv6CidrBlock": route["ipv6CidrBlock"]}
    return {"DestinationCidrBlock": route["cidrBlock"]}


def _target(route: dict[str, Any]) -> dict[str, str]:
    targets = {"gatewayId": "GatewayId", "natGatewayId": "NatGatewayId", "networkInterfaceId": "NetworkInterfaceId"}
    return {targets[key]: value for key, value in route.items() if key in targets and value}


class RouteTableAssociation(Resource):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    noun = "Route Table Association"
    mapped = frozenset({"routeTableId", "subnetId", "gatewayId"})
    replaces = frozenset({"subnetId", "gatewayId"})
    computed = ()
    tagged = False

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "ec2", "AssociateRouteTable", RouteTableId=given["routeTableId"], SubnetId=given.get("subnetId"),
            GatewayId=given.get("gatewayId"),
        )  # fmt: skip
        return str(made["AssociationId"])

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        if "routeTableId" in changed:
            current = self._current(aws, id_, state)
            aws.call("ec2", "ReplaceRouteTableAssociation", AssociationId=current, RouteTableId=new["routeTableId"])

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        return {} if self._current(aws, id_, state) else None

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        current = self._current(aws, id_, state)
        if current:
            aws.find("ec2", "DisassociateRouteTable", AssociationId=current)

    @staticmethod
    def _current(aws: Aws, id_: str, state: dict[str, Any]) -> str:
        """The association's id now: replacing its route table gives it another."""
        found = aws.find("ec2", "DescribeRouteTables", RouteTableIds=[state["routeTableId"]])
        items = found["RouteTables"][0]["Associations"] if found else []
        ids = {item["RouteTableAssociationId"]: item.get("SubnetId") for item in items}
        if id_ in ids:
            return id_
        return next((key for key, subnet in ids.items() if subnet and subnet == state.get("subnetId")), "")
