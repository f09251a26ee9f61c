"""The table of mapped types."""

from __future__ import annotations

from tests.doubles.aws_provider.base import Resource
from tests.doubles.aws_provider.compute import Instance
from tests.doubles.aws_provider.guards import Budget, LifecyclePolicy, Schedule
from tests.doubles.aws_provider.identity import InstanceProfile, Role, RolePolicy, RolePolicyAttachment
from tests.doubles.aws_provider.key_pairs import KeyPair
from tests.doubles.aws_provider.network import InternetGateway, RouteTable, RouteTableAssociation, Subnet, Vpc
from tests.doubles.aws_provider.security import (
    DefaultSecurityGroup,
    EgressRule,
    IngressRule,
    InstanceConnectEndpoint,
    SecurityGroup,
)
from tests.doubles.aws_provider.storage import Volume, VolumeAttachment

TYPES: dict[str, Resource] = {
    type_.token: type_()
    for type_ in (
        Vpc, InternetGateway, Subnet, RouteTable, RouteTableAssociation,
        SecurityGroup, DefaultSecurityGroup, IngressRule, EgressRule, InstanceConnectEndpoint,
        KeyPair, Instance, Volume, VolumeAttachment,
        Role, RolePolicy, RolePolicyAttachment, InstanceProfile,
        LifecyclePolicy, Schedule, Budget,
    )
}  # fmt: skip
