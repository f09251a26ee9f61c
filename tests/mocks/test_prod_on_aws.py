"""The security posture of the prod stack on AWS, sentence by sentence: what is there, and what is not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.mocks.recording import (
    CONTAINER,
    DATABASE,
    IMAGE,
    INSTANCE,
    MODEL,
    NETWORK,
    PINNED,
    PROVIDER,
    PUBLIC_KEY,
    READINESS,
    VOLUME,
    VOLUME_OF_AWS,
    Declared,
    Recording,
    dev,
    prod_on_aws,
    run,
    texts,
)

INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
ATTACHMENT = "aws:ec2/volumeAttachment:VolumeAttachment"
SCHEDULE = {"stop": "0 20 ? * MON-FRI *", "start": "0 7 ? * MON-FRI *", "timezone": "Europe/Berlin"}


def only(recording: Recording, type_: str) -> Declared:
    found = recording.of_type(type_)
    assert len(found) == 1, list(found)
    return next(iter(found.values()))


def actions(policy: Declared) -> set[str]:
    statements = json.loads(policy.inputs["policy"])["Statement"]
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    return {action for statement in statements for action in statement["Action"]}


def test_a_dev_stack_has_nothing_on_aws_and_asks_it_nothing() -> None:
    assert not [resource for resource in dev().resources if "aws" in resource.type.lower()]
    assert not dev().asked


PUBLIC_EDGE = {"enabled": True, "bind": "0.0.0.0", "port": 443, "names": ["rag.internal"]}


def test_nobody_is_let_in_by_default() -> None:
    recording = prod_on_aws()
    assert not recording.of_type(INGRESS)
    group = recording.named("host-network-machine-group")
    assert not group.inputs.get("ingress")
    assert not recording.named("host-network-default-group").inputs.get("ingress")


def test_listed_networks_reach_the_gateways_port_alone() -> None:
    recording = prod_on_aws({"network": {"gateway_cidrs": ["203.0.113.0/24", "2001:db8::/32"]}}, edge=PUBLIC_EDGE)
    rules = [rule.inputs for rule in recording.of_type(INGRESS).values()]
    assert [(rule["fromPort"], rule["toPort"], rule["ipProtocol"]) for rule in rules] == [(443, 443, "tcp")] * 2
    assert {rule.get("cidrIpv4") or rule.get("cidrIpv6") for rule in rules} == {"203.0.113.0/24", "2001:db8::/32"}


def test_no_rule_lets_ssh_in_from_anywhere() -> None:
    for network in ({}, {"gateway_cidrs": ["203.0.113.0/24"]}, {"instance_connect_endpoint": True}):
        for rule in prod_on_aws({"network": network}, edge=PUBLIC_EDGE).of_type(INGRESS).values():
            if rule.inputs["fromPort"] <= 22 <= rule.inputs["toPort"]:
                assert "cidrIpv4" not in rule.inputs
                assert "cidrIpv6" not in rule.inputs
                assert rule.inputs["referencedSecurityGroupId"] == "id-of-host-network-endpoint-group"


def test_an_instance_connect_endpoint_is_there_only_when_asked_for() -> None:
    endpoint = "aws:ec2transitgateway/instanceConnectEndpoint:InstanceConnectEndpoint"
    assert not prod_on_aws().of_type(endpoint)
    with_one = prod_on_aws({"network": {"instance_connect_endpoint": True}, "access": "instance_connect"})
    assert only(with_one, endpoint).inputs["securityGroupIds"] == ["id-of-host-network-endpoint-group"]
    assert "open-tunnel" in str(only(with_one, PROVIDER).inputs["sshOpts"])


def test_the_machine_may_call_out_on_the_listed_ports_alone() -> None:
    rules = [rule.inputs for rule in prod_on_aws().of_type(EGRESS).values()]
    assert {(rule["fromPort"], rule["toPort"]) for rule in rules} == {(80, 80), (443, 443)}


def test_the_metadata_service_wants_a_token_and_answers_no_container() -> None:
    options = only(prod_on_aws(), INSTANCE).inputs["metadataOptions"]
    assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)


def test_every_volume_is_encrypted_gp3_with_its_own_speed() -> None:
    recording = prod_on_aws({"data_volume": {"size": "200g", "iops": 4000, "throughput": 600}})
    root = only(recording, INSTANCE).inputs["rootBlockDevice"]
    data = only(recording, VOLUME_OF_AWS).inputs
    assert (root["encrypted"], root["volumeType"]) == (True, "gp3")
    assert (data["encrypted"], data["type"]) == (True, "gp3")
    assert (data["size"], data["iops"], data["throughput"]) == (200, 4000, 600)


def test_the_data_volume_is_protected_and_nothing_that_goes_with_the_machine_is() -> None:
    recording = prod_on_aws()
    assert [resource.name for resource in recording.resources if resource.protect] == ["host-data-volume"]
    assert all(volume.retain_on_delete for volume in recording.of_type(VOLUME).values())


def test_the_data_volume_is_detached_from_a_stopped_machine() -> None:
    attachment = only(prod_on_aws(), ATTACHMENT)
    assert attachment.inputs["stopInstanceBeforeDetaching"] is True
    assert attachment.delete_before_replace
    assert only(prod_on_aws(), INSTANCE).delete_before_replace


def test_the_role_of_the_machine_may_be_reached_and_nothing_else() -> None:
    recording = prod_on_aws({"snapshots": {"enabled": False}})
    assert actions(only(recording, ROLE_POLICY)) == {
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }
    assert not recording.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment")


def test_metrics_may_be_sent_only_when_the_agent_is_wanted() -> None:
    recording = prod_on_aws({"monitoring": {"cloudwatch_agent": True}})
    assert "cloudwatch:PutMetricData" in actions(recording.named("host-identity-cloudwatch"))
    assert not prod_on_aws().has("host-identity-cloudwatch")


def test_the_private_key_is_nowhere_and_the_public_one_has_no_comment() -> None:
    recording = prod_on_aws()
    assert only(recording, "aws:ec2/keyPair:KeyPair").inputs["publicKey"] == PUBLIC_KEY
    assert not [text for resource in recording.resources for text in texts(resource.inputs) if "PRIVATE KEY" in text]


def test_user_data_holds_no_secret_and_fits_ec2() -> None:
    data = base64.b64decode(only(prod_on_aws(), INSTANCE).inputs["userDataBase64"])
    assert data.startswith(b"#cloud-config")
    assert len(data) <= 16_384
    assert b"generated-secret" not in data


def test_models_images_and_passwords_touch_no_machine() -> None:
    other = prod_on_aws(
        models=[{"name": "bge-m3:567m", "purpose": "embedding"}], images={"ollama": "ollama/ollama:0.33.0"}
    )
    assert only(other, INSTANCE).inputs == only(prod_on_aws(), INSTANCE).inputs


def test_the_ami_and_the_zone_are_taken_once_and_moved_on_purpose_only() -> None:
    pinned = prod_on_aws().of_type(PINNED)
    assert pinned["host-zone"].inputs == {"offered": "us-east-1a", "reason": "us-east-1"}
    reason = pinned["host-ami"].inputs["reason"]
    newer = run(
        stack="prod",
        host={"type": "aws"},
        accelerator={"kind": "nvidia"},
        aws={"getParameter": {"insecureValue": "ami-0fffffffffffffff0", "value": ""}},
    )
    assert newer.of_type(PINNED)["host-ami"].inputs == {"offered": "ami-0fffffffffffffff0", "reason": reason}
    taken = prod_on_aws({"ami": {"taken": "2026-11"}}).of_type(PINNED)["host-ami"]
    assert taken.inputs["reason"] != reason


def test_a_cpu_machine_gets_a_plain_image_and_no_gpu_is_waited_for() -> None:
    recording = prod_on_aws({"instance_type": "m7i.xlarge"}, accelerator={"kind": "cpu"})
    assert "canonical" in recording.of_type(PINNED)["host-ami"].inputs["reason"]
    assert only(recording, READINESS).inputs["gpus"] == 0
    assert only(prod_on_aws(), READINESS).inputs["gpus"] == 1


def test_nothing_is_declared_on_the_machine_before_the_gate() -> None:
    recording = prod_on_aws()
    gate = only(recording, READINESS)
    assert gate.inputs["prepared"] is True
    assert "host-machine-data" in gate.depends_on
    provider = only(recording, PROVIDER)
    assert provider.inputs["host"] == "ssh://ubuntu@i-0abc"
    assert gate.name in provider.depends_on
    for type_ in (CONTAINER, NETWORK, IMAGE, VOLUME):
        assert {resource.provider for resource in recording.of_type(type_).values()} == {provider.name}


def test_what_is_on_the_machine_is_replaced_and_deleted_with_it_and_volumes_are_not() -> None:
    recording = prod_on_aws()
    for type_ in (CONTAINER, NETWORK, IMAGE):
        for resource in recording.of_type(type_).values():
            assert resource.replace_with == ("host-machine-instance",)
            assert resource.deleted_with == "host-machine-instance"
    for volume in recording.of_type(VOLUME).values():
        assert (volume.replace_with, volume.deleted_with) == ((), "")


def test_models_and_the_database_are_reached_through_session_manager() -> None:
    recording = prod_on_aws()
    for resource in (*recording.of_type(MODEL).values(), *recording.of_type(DATABASE).values()):
        reach = resource.inputs["reach"]
        assert reach["destination"] == "ubuntu@i-0abc"
        assert any("aws ssm start-session --target %h" in option for option in reach["options"])


def test_ports_are_published_on_the_machines_loopback_alone() -> None:
    for container in prod_on_aws().of_type(CONTAINER).values():
        assert {port["ip"] for port in container.inputs["ports"]} == {"127.0.0.1"}
        assert container.inputs.get("privileged") is not True


def test_spot_ends_with_the_machine_and_on_demand_says_nothing_of_it() -> None:
    options = only(prod_on_aws({"purchase": "spot", "max_hourly_usd": 0.5}), INSTANCE).inputs["instanceMarketOptions"]
    assert options["spotOptions"] == {
        "spotInstanceType": "one-time",
        "instanceInterruptionBehavior": "terminate",
        "maxPrice": "0.5",
    }
    assert "instanceMarketOptions" not in only(prod_on_aws(), INSTANCE).inputs


def test_a_schedule_may_start_and_stop_this_machine_and_do_nothing_else() -> None:
    recording = prod_on_aws({"schedule": SCHEDULE})
    policy = recording.named("host-schedule-machine")
    assert actions(policy) == {"ec2:StartInstances", "ec2:StopInstances"}
    assert json.loads(policy.inputs["policy"])["Statement"][0]["Resource"].endswith("instance/i-0abc")
    for action in ("start", "stop"):
        schedule = recording.named(f"host-schedule-{action}").inputs
        assert schedule["target"]["arn"] == f"arn:aws:scheduler:::aws-sdk:ec2:{action}Instances"
        assert json.loads(schedule["target"]["input"]) == {"InstanceIds": ["i-0abc"]}
        assert schedule["scheduleExpressionTimezone"] == "Europe/Berlin"
    assert not prod_on_aws().of_type("aws:scheduler/schedule:Schedule")


def test_a_budget_mails_when_the_month_is_spent_or_will_be() -> None:
    budget = only(
        prod_on_aws({"budget": {"monthly_usd": 900, "emails": ["a@example.org"]}}), "aws:budgets/budget:Budget"
    )
    told = {(mail["notificationType"], mail["threshold"]) for mail in budget.inputs["notifications"]}
    assert told == {("ACTUAL", 80), ("FORECASTED", 100)}
    assert not prod_on_aws().of_type("aws:budgets/budget:Budget")


def test_snapshots_find_the_data_volume_by_its_tag_and_are_kept_as_told() -> None:
    recording = prod_on_aws({"snapshots": {"keep": 3, "every_hours": 12, "at": "01:30"}})
    details = only(recording, "aws:dlm/lifecyclePolicy:LifecyclePolicy").inputs["policyDetails"]
    assert details["targetTags"].items() <= only(recording, VOLUME_OF_AWS).inputs["tags"].items()
    schedule = details["schedules"][0]
    assert (schedule["createRule"]["interval"], schedule["createRule"]["times"]) == (12, "01:30")
    assert schedule["retainRule"] == {"count": 3}
    assert not prod_on_aws({"snapshots": {"enabled": False}}).of_type("aws:dlm/lifecyclePolicy:LifecyclePolicy")


def test_tags_come_from_one_place_and_users_add_to_them() -> None:
    provider = prod_on_aws({"tags": {"Owner": "search"}}).named("host-aws")
    tags = provider.inputs["defaultTags"]
    tags = json.loads(tags) if isinstance(tags, str) else tags
    assert tags["tags"] == {
        "Owner": "search",
        "Project": "ragstack",
        "Stack": "ragstack-prod",
        "ManagedBy": "pulumi",
    }


def test_a_network_of_the_users_is_used_as_it_is() -> None:
    recording = prod_on_aws({"network": {"vpc_id": "vpc-0123456789abcdef0", "subnet_id": "subnet-0123456789abcdef0"}})
    for type_ in ("vpc:Vpc", "subnet:Subnet", "internetGateway:InternetGateway", "routeTable:RouteTable"):
        assert not recording.of_type(f"aws:ec2/{type_}")
    instance = only(recording, INSTANCE).inputs
    assert instance["subnetId"] == "subnet-0123456789abcdef0"
    assert "associatePublicIpAddress" not in instance
    assert only(recording, VOLUME_OF_AWS).inputs["availabilityZone"] == "us-east-1a"


def refused(aws: dict[str, Any] | None = None, answers: dict[str, Any] | None = None, **sections: Any) -> str:
    recording = run(
        stack="prod",
        host={"type": "aws", "aws": aws or {}},
        aws=answers,
        **{"accelerator": {"kind": "nvidia"}, **sections},
    )
    assert recording.error is not None
    assert not recording.of_type(INSTANCE)
    assert not recording.of_type(VOLUME_OF_AWS)
    assert "mend:" in str(recording.error)
    return str(recording.error)


@pytest.mark.parametrize(
    ("aws", "sections", "said"),
    [
        ({"instance_type": "g5.huge"}, {}, "the nearest is g5."),
        ({"instance_type": "m7i.xlarge"}, {}, "m7i.xlarge has no GPU"),
        ({}, {"accelerator": {"kind": "rocm"}}, "no machine of the catalogue has such a GPU"),
        ({}, {"accelerator": {"kind": "nvidia", "gpus": 2}}, "asks for 2 GPUs, but g5.xlarge has 1"),
        ({}, {"accelerator": {"kind": "apple"}}, "is apple on a remote host"),
        (
            {"data_volume": {"size": "20g"}},
            {"models": [{"name": "llama3.3:70b", "purpose": "chat"}, {"name": "bge-m3:567m", "purpose": "embedding"}]},
            "data_volume.size' 52g",
        ),
    ],
)
def test_what_could_not_work_is_refused_before_anything_is_created(
    aws: dict[str, Any], sections: dict[str, Any], said: str
) -> None:
    assert said in refused(aws, **sections)


def test_a_quota_of_zero_is_refused_with_the_request_for_more() -> None:
    said = refused(answers={"getServiceQuota": {"value": 0.0, "quotaName": "G and VT"}})
    assert "needs 4 vCPUs" in said
    assert "request-service-quota-increase" in said
    assert "L-DB2E81BA" in said


def test_a_quota_that_may_not_be_looked_at_stops_nobody() -> None:
    recording = run(stack="prod", host={"type": "aws"}, accelerator={"kind": "nvidia"}, aws={"getServiceQuota": None})
    assert recording.error is None
    assert recording.of_type(INSTANCE)


def test_an_absent_ami_parameter_is_refused_with_what_to_name_instead() -> None:
    assert "ragstack:host.aws.ami.id" in refused(answers={"getParameter": None})


def test_a_region_without_the_type_is_refused() -> None:
    said = refused(answers={"getInstanceTypeOfferings": {"locations": []}})
    assert "No zone of us-east-1 has machines of type g5.xlarge" in said


def test_a_subnet_of_another_vpc_is_refused() -> None:
    network = {"vpc_id": "vpc-0fffffffffffffff0", "subnet_id": "subnet-0123456789abcdef0"}
    assert "belongs to vpc-0123456789abcdef0" in refused({"network": network})


def test_a_machine_of_ones_own_is_gated_and_neither_rented_nor_replaced() -> None:
    recording = run(stack="prod", host={"type": "ssh", "ssh": {"address": "gpu-box", "user": "ops"}})
    assert recording.error is None
    assert not recording.asked
    assert not [resource for resource in recording.resources if resource.type.startswith("aws:")]
    assert only(recording, PROVIDER).inputs["host"] == "ssh://ops@gpu-box"
    assert only(recording, READINESS).inputs["prepared"] is False
    assert {container.replace_with for container in recording.of_type(CONTAINER).values()} == {()}
    assert all(volume.protect for volume in recording.of_type(VOLUME).values())
