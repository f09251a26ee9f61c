"""Every AWS resource type and function that the double maps, once, in the shape in which the prod stack uses them."""

from __future__ import annotations

import base64
import json
import os

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

config = pulumi.Config()
switches = set((config.get("switches") or "").split(","))
provider = aws.Provider(
    "aws", region="us-east-1", default_tags=aws.ProviderDefaultTagsArgs(tags={"Project": "fixture"})
)
asking = pulumi.InvokeOptions(provider=provider)
opts = pulumi.ResourceOptions(provider=provider)

parameter = aws.ssm.get_parameter(
    name="/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id", opts=asking
)
offerings = aws.ec2.get_instance_type_offerings(
    filters=[aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="instance-type", values=[config.require("type")])],
    location_type="availability-zone",
    opts=asking,
)
zone = sorted(offerings.locations)[0]
quota = aws.servicequotas.get_service_quota(service_code="ec2", quota_code="L-1216C47A", opts=asking)
account = aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=provider)).account_id

vpc = aws.ec2.Vpc("vpc", cidr_block="10.86.0.0/24", enable_dns_hostnames=True, opts=opts)
aws.ec2.DefaultSecurityGroup("default-group", vpc_id=vpc.id, opts=opts)
internet = aws.ec2.InternetGateway("internet", vpc_id=vpc.id, tags={"Name": "fixture"}, opts=opts)
subnet = aws.ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block="10.86.0.0/24", availability_zone=zone, opts=opts)
routes = aws.ec2.RouteTable(
    "routes",
    vpc_id=vpc.id,
    routes=[aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=internet.id)],
    opts=opts,
)
aws.ec2.RouteTableAssociation("routes-of-subnet", subnet_id=subnet.id, route_table_id=routes.id, opts=opts)
group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="the machine", opts=opts)
aws.vpc.SecurityGroupEgressRule(
    "out", security_group_id=group.id, ip_protocol="tcp", from_port=443, to_port=443, cidr_ipv4="0.0.0.0/0", opts=opts
)
aws.vpc.SecurityGroupIngressRule(
    "in", security_group_id=group.id, ip_protocol="tcp", from_port=22, to_port=22,
    referenced_security_group_id=group.id, description="from within", opts=opts,
)  # fmt: skip
aws.ec2transitgateway.InstanceConnectEndpoint(
    "endpoint", subnet_id=subnet.id, security_group_ids=[group.id], preserve_client_ip=False, opts=opts
)

trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
role = aws.iam.Role("role", assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [trust]}), opts=opts)
statement = {"Effect": "Allow", "Action": ["ssmmessages:CreateControlChannel"], "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
aws.iam.RolePolicy("session", role=role.id, policy=policy, opts=opts)
attachment = aws.iam.RolePolicyAttachment(
    "snapshots-policy",
    role=role.name,
    policy_arn="arn:aws:iam::aws:policy/service-role/AWSDataLifecycleManagerServiceRole",
    opts=opts,
)
profile = aws.iam.InstanceProfile("profile", role=role.name, opts=opts)

volume = aws.ebs.Volume(
    "data",
    availability_zone=zone,
    type="gp3",
    size=config.require_int("size"),
    encrypted=True,
    tags={"Data": "fixture"},
    opts=opts,
)
aws.dlm.LifecyclePolicy(
    "snapshots",
    description="the data volume",
    execution_role_arn=role.arn,
    policy_details=aws.dlm.LifecyclePolicyPolicyDetailsArgs(
        resource_types="VOLUME",
        target_tags={"Data": "fixture"},
        schedules=[
            aws.dlm.LifecyclePolicyPolicyDetailsScheduleArgs(
                name="daily",
                create_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleCreateRuleArgs(
                    interval=24, interval_unit="HOURS", times="03:00"
                ),
                retain_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleRetainRuleArgs(count=7),
                copy_tags=True,
            )
        ],
    ),
    opts=opts,
)

key = aws.ec2.KeyPair("key", public_key=config.require("key"), opts=opts)
machine = aws.ec2.Instance(
    "machine",
    ami=config.get("ami") or parameter.insecure_value,
    instance_type=config.require("type"),
    key_name=key.key_name,
    subnet_id=subnet.id,
    vpc_security_group_ids=[group.id],
    associate_public_ip_address=True,
    iam_instance_profile=profile.name,
    user_data_base64=base64.b64encode(b"x" * 20000 if "long" in switches else b"#cloud-config\n{}\n").decode(),
    user_data_replace_on_change=True,
    metadata_options=aws.ec2.InstanceMetadataOptionsArgs(http_tokens="required", http_put_response_hop_limit=1),
    root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(volume_type="gp3", volume_size=20, encrypted=True),
    tags={"Name": "fixture"},
    opts=pulumi.ResourceOptions(provider=provider, delete_before_replace=True),
)
attached = aws.ec2.VolumeAttachment(
    "attachment",
    device_name="/dev/sdf",
    instance_id=machine.id,
    volume_id=volume.id,
    stop_instance_before_detaching=True,
    opts=pulumi.ResourceOptions(provider=provider, delete_before_replace=True),
)

machine_input = machine.id.apply(lambda id_: json.dumps({"InstanceIds": [id_]}))
aws.scheduler.Schedule(
    "stop",
    schedule_expression="cron(0 20 ? * MON-FRI *)",
    flexible_time_window=aws.scheduler.ScheduleFlexibleTimeWindowArgs(mode="OFF"),
    target=aws.scheduler.ScheduleTargetArgs(
        arn="arn:aws:scheduler:::aws-sdk:ec2:stopInstances", role_arn=role.arn, input=machine_input
    ),
    opts=opts,
)
aws.budgets.Budget(
    "budget",
    budget_type="COST",
    time_unit="MONTHLY",
    limit_amount="900",
    limit_unit="USD",
    notifications=[
        aws.budgets.BudgetNotificationArgs(
            comparison_operator="GREATER_THAN",
            threshold=80,
            threshold_type="PERCENTAGE",
            notification_type="ACTUAL",
            subscriber_email_addresses=["a@example.com"],
        )
    ],
    opts=opts,
)
if "note" in switches:
    # Something that lives on the machine: goes with it, is made anew with it.
    from notes import Note  # type: ignore[import-not-found]  # the test copies it beside this file

    with_machine = pulumi.ResourceOptions(replace_with=[machine], deleted_with=machine)
    Note("note", folder=os.environ["TRIAL_FIXTURE_FOLDER"], text=machine.private_ip, opts=with_machine)
if "docker" in switches:
    on_machine = docker.Provider("on-machine", host=pulumi.Output.concat("ssh://root@", machine.id))
    box = pulumi.ResourceOptions(provider=on_machine, replace_with=[machine], deleted_with=machine)
    docker.Container("box", image="an-image", opts=box)
if "typo" in switches:
    pulumi.CustomResource("aws:ec2/vpc:Vpc", "typo", {"cidrBlok": "10.0.0.0/16"}, opts)
if "nested-typo" in switches:
    wrong = {"ami": "ami-1", "metadataOptions": {"httpToken": "required"}}
    pulumi.CustomResource("aws:ec2/instance:Instance", "nested-typo", wrong, opts)
if "unmapped" in switches:
    aws.ec2.Vpc("unmapped", cidr_block="10.0.0.0/16", assign_generated_ipv6_cidr_block=True, opts=opts)
if "found-subnet" in switches:
    found = aws.ec2.get_subnet_output(id=subnet.id, opts=pulumi.InvokeOutputOptions(provider=provider))
    pulumi.export("found_zone", found.availability_zone)

pulumi.export("instance", machine.id)
pulumi.export("volume", volume.id)
pulumi.export("group", group.id)
pulumi.export("account", account)
pulumi.export("quota", quota.value)
pulumi.export("tags", machine.tags_all)
pulumi.export("zone", zone)
