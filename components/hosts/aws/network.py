"""Where the machine stands: a small network of its own or the user's, and a security group that lets nobody in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.settings.aws import AwsHost

SSH_PORT = 22
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """`zone`: the availability zone of a network of our own, and of the data volume; `ports`: the gateway's or its
    edge's, the only ones that anybody may ever be let in to, and only from listed networks."""

    host: AwsHost
    ports: tuple[int, ...]
    zone: pulumi.Input[str]
    name: str


class MachineNetwork(pulumi.ComponentResource):
    """`subnet_id` and `security_group_id` for the machine; `public` tells whether it gets a public address."""

    subnet_id: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    endpoint: aws.ec2transitgateway.InstanceConnectEndpoint | None
    public: bool | None

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:aws:MachineNetwork", name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        settings = args.host.network
        vpc_id, subnet_id = self._own(name, args) if settings.vpc_id is None else (settings.vpc_id, settings.subnet_id)
        # A subnet of the user's decides itself how it gets out.
        self.public = True if settings.vpc_id is None else None
        self.subnet_id = pulumi.Output.from_input(subnet_id or "")
        group = self._group(f"{name}-machine", args, vpc_id, "The machine: out for packages and models, in for nobody")
        self._rules(name, args, group)
        self.security_group_id = group.id
        self.endpoint = self._endpoint(name, args, vpc_id, group) if settings.instance_connect_endpoint else None
        self.register_outputs({"subnet_id": self.subnet_id, "security_group_id": self.security_group_id})

    def _own(self, name: str, args: NetworkArgs) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        cidr = args.host.network.own_cidr
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": args.name},
            opts=self._child,
        )
        # Whatever is put there by hand later gets no rule to speak of either.
        aws.ec2.DefaultSecurityGroup(f"{name}-default-group", vpc_id=vpc.id, opts=self._child)
        gateway = aws.ec2.InternetGateway(f"{name}-internet", vpc_id=vpc.id, tags={"Name": args.name}, opts=self._child)
        subnet = aws.ec2.Subnet(
            f"{name}-subnet",
            vpc_id=vpc.id,
            cidr_block=cidr,
            availability_zone=args.zone,
            map_public_ip_on_launch=False,
            tags={"Name": args.name},
            opts=self._child,
        )
        routes = aws.ec2.RouteTable(
            f"{name}-routes",
            vpc_id=vpc.id,
            routes=[aws.ec2.RouteTableRouteArgs(cidr_block=ANYWHERE, gateway_id=gateway.id)],
            tags={"Name": args.name},
            opts=self._child,
        )
        aws.ec2.RouteTableAssociation(
            f"{name}-routes-of-subnet", subnet_id=subnet.id, route_table_id=routes.id, opts=self._child
        )
        return vpc.id, subnet.id

    def _group(
        self, name: str, args: NetworkArgs, vpc_id: pulumi.Input[str], description: str
    ) -> aws.ec2.SecurityGroup:
        return aws.ec2.SecurityGroup(
            f"{name}-group",
            vpc_id=vpc_id,
            description=description,
            tags={"Name": f"{args.name}-{name.rpartition('-')[2]}"},
            opts=self._child,
        )

    def _rules(self, name: str, args: NetworkArgs, group: aws.ec2.SecurityGroup) -> None:
        for port in args.host.network.egress_ports:
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-out-{port}",
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4=ANYWHERE,
                description="Packages, images, models and Session Manager",
                opts=self._child,
            )
        for port, cidr in itertools.product(args.ports, args.host.network.gateway_cidrs):
            block = {"cidr_ipv6": cidr} if ":" in cidr else {"cidr_ipv4": cidr}
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-gateway-{port}-from-{cidr}",
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                # EC2 takes letters, digits and some marks in a description, but no quotes.
                description=f"The gateway: {args.host.network.open_to_the_world or 'a listed network'}",
                opts=self._child,
                **block,
            )

    def _endpoint(
        self, name: str, args: NetworkArgs, vpc_id: pulumi.Input[str], machine: aws.ec2.SecurityGroup
    ) -> aws.ec2transitgateway.InstanceConnectEndpoint:
        group = self._group(f"{name}-endpoint", args, vpc_id, "Instance Connect Endpoint: to the machine's SSH alone")
        ssh = {"ip_protocol": "tcp", "from_port": SSH_PORT, "to_port": SSH_PORT}
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-endpoint-to-machine",
            security_group_id=group.id,
            referenced_security_group_id=machine.id,
            description="SSH to the machine",
            opts=self._child,
            **ssh,
        )
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-machine-from-endpoint",
            security_group_id=machine.id,
            referenced_security_group_id=group.id,
            description="SSH from the Instance Connect Endpoint",
            opts=self._child,
            **ssh,
        )
        return aws.ec2transitgateway.InstanceConnectEndpoint(
            f"{name}-endpoint",
            subnet_id=self.subnet_id,
            security_group_ids=[group.id],
            preserve_client_ip=False,
            tags={"Name": args.name},
            opts=self._child,
        )
