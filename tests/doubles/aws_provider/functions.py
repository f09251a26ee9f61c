"""The look-ups that the program makes before it declares anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tests.doubles.aws_provider.calls import Aws
from trial.values import Secret

# "Amazon EC2 On-Demand Instance and Spot Instance quotas" in the EC2 user guide; names as Service Quotas lists them.
QUOTAS = {
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-417A185B": "Running On-Demand P instances",
    "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
    "L-C4BD4855": "All P5 Spot Instance Requests",
}
_DEFAULT_QUOTA = "64"


def get_parameter(aws: Aws, given: dict[str, Any]) -> dict[str, Any]:
    found = aws.call("ssm", "GetParameter", Name=given["name"], WithDecryption=given.get("withDecryption", True))
    parameter = found["Parameter"]
    return {
        "id": given["name"],
        "arn": parameter.get("ARN", ""),
        "name": parameter["Name"],
        "type": parameter["Type"],
        "value": Secret(parameter["Value"]),
        "insecureValue": parameter["Value"] if parameter["Type"] != "SecureString" else "",
        "version": parameter["Version"],
        "withDecryption": given.get("withDecryption", True),
        "region": aws.region,
    }


def get_subnet(aws: Aws, given: dict[str, Any]) -> dict[str, Any]:
    filters = [{"Name": item["name"], "Values": item["values"]} for item in given.get("filters") or []]
    for key, name in (("vpcId", "vpc-id"), ("availabilityZone", "availability-zone"), ("cidrBlock", "cidr-block")):
        if given.get(key):
            filters.append({"Name": name, "Values": [given[key]]})
    ids = [given["id"]] if given.get("id") else None
    found = aws.call("ec2", "DescribeSubnets", SubnetIds=ids, Filters=filters or None)["Subnets"]
    if len(found) != 1:
        what = "no matching EC2 Subnet found" if not found else "multiple EC2 Subnets matched"
        raise aws.refused("ec2", "DescribeSubnets", "InvalidSubnetID.NotFound", what)
    subnet = found[0]
    return {
        "id": subnet["SubnetId"],
        "arn": subnet["SubnetArn"],
        "availabilityZone": subnet["AvailabilityZone"],
        "availabilityZoneId": subnet.get("AvailabilityZoneId", ""),
        "availableIpAddressCount": subnet["AvailableIpAddressCount"],
        "cidrBlock": subnet["CidrBlock"],
        "defaultForAz": bool(subnet["DefaultForAz"]),
        "mapPublicIpOnLaunch": bool(subnet["MapPublicIpOnLaunch"]),
        "ownerId": subnet["OwnerId"],
        "state": subnet["State"],
        "tags": {item["Key"]: item["Value"] for item in subnet.get("Tags") or []},
        "vpcId": subnet["VpcId"],
        "region": aws.region,
    }


def get_instance_type_offerings(aws: Aws, given: dict[str, Any]) -> dict[str, Any]:
    filters = [{"Name": item["name"], "Values": item["values"]} for item in given.get("filters") or []]
    found = aws.call(
        "ec2", "DescribeInstanceTypeOfferings", LocationType=given.get("locationType"), Filters=filters or None
    )["InstanceTypeOfferings"]
    return {
        "id": aws.region,
        "filters": given.get("filters"),
        "locationType": given.get("locationType"),
        "instanceTypes": [item["InstanceType"] for item in found],
        "locations": [item["Location"] for item in found],
        "locationTypes": [item["LocationType"] for item in found],
        "region": aws.region,
    }


def get_service_quota(aws: Aws, given: dict[str, Any]) -> dict[str, Any]:
    """moto knows no quota of EC2: the name from a table, the value from RAGSTACK_AWS_QUOTA."""
    service, code = given["serviceCode"], given.get("quotaCode") or ""
    aws.validate("service-quotas", "GetServiceQuota", ServiceCode=service, QuotaCode=code)
    if service != "ec2" or code not in QUOTAS:
        message = "The request failed because the specified service quota does not exist."
        raise aws.refused("service-quotas", "GetServiceQuota", "NoSuchResourceException", message)
    arn = aws.arn("servicequotas", f"{service}/{code}")
    return {
        "id": arn,
        "arn": arn,
        "adjustable": True,
        "defaultValue": 0,
        "globalQuota": False,
        "quotaCode": code,
        "quotaName": QUOTAS[code],
        "serviceCode": service,
        "serviceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "usageMetrics": [],
        "value": float(os.environ.get("RAGSTACK_AWS_QUOTA", _DEFAULT_QUOTA)),
        "region": aws.region,
    }


def get_caller_identity(aws: Aws, given: dict[str, Any]) -> dict[str, Any]:
    found = aws.call("sts", "GetCallerIdentity")
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


FUNCTIONS: dict[str, tuple[str, Callable[[Aws, dict[str, Any]], dict[str, Any]]]] = {
    "aws:ssm/getParameter:getParameter": ("SSM Parameter", get_parameter),
    "aws:ec2/getSubnet:getSubnet": ("EC2 Subnet", get_subnet),
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": (
        "EC2 Instance Type Offerings",
        get_instance_type_offerings,
    ),
    "aws:servicequotas/getServiceQuota:getServiceQuota": ("Service Quotas Service Quota", get_service_quota),
    "aws:index/getCallerIdentity:getCallerIdentity": ("STS Caller Identity", get_caller_identity),
}
