"""What a stack may say of a remote host, and how the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.settings import Settings
from components.settings.load import parse
from components.settings.problems import SettingsError

MODELS = [{"name": "all-minilm:22m", "purpose": "embedding"}]


def parsed(host: dict[str, Any], **sections: Any) -> Settings:
    given = {"profile": "prod", "models": MODELS, "host": host, **sections}
    config = {f"ragstack:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    return parse(config, project="ragstack", stack="prod")


def aws(**settings: Any) -> dict[str, Any]:
    return {"type": "aws", "aws": settings}


CRON = {"stop": "0 20 ? * MON-FRI *", "start": "0 7 ? * MON-FRI *"}


@pytest.mark.parametrize(
    ("host", "key", "said"),
    [
        ({"type": "ssh"}, "host.type", "without a machine"),
        ({"type": "ssh", "ssh": {"address": "me@box"}}, "host.ssh.address", "without user and port"),
        ({"type": "local", "ssh": {"address": "box"}}, "host.ssh", "although type is local"),
        ({"type": "ssh", "ssh": {"address": "box"}, "aws": {}}, "host.aws", "although type is ssh"),
        ({"type": "aws", "docker_host": "unix:///a.sock"}, "host.docker_host", "although type is aws"),
        (aws(region="mars"), "host.aws.region", "region"),
        (aws(availability_zone="eu-west-1a"), "host.aws.availability_zone", "is no zone of us-east-1"),
        (aws(key="~/.ssh/id.pub"), "host.aws.key", "public half"),
        (aws(key="-----BEGIN OPENSSH PRIVATE KEY-----\nabc"), "host.aws.key", "holds a key itself"),
        (aws(key="id_ed25519"), "host.aws.key", "no whole path"),
        (aws(ami={"id": "ami-0123456789abcdef0", "parameter": "/a/b"}), "host.aws.ami.parameter", "twice"),
        (aws(network={"subnet_id": "subnet-0123456789abcdef0"}), "host.aws.network.subnet_id", "without vpc_id"),
        (aws(network={"vpc_id": "vpc-0123456789abcdef0"}), "host.aws.network.vpc_id", "without subnet_id"),
        (aws(network={"cidr": "10.0.0.1/24"}), "host.aws.network.cidr", "10.0.0.0/24"),
        (aws(network={"cidr": "8.8.8.0/24"}), "host.aws.network.cidr", "is not private"),
        (aws(network={"gateway_cidrs": ["everyone"]}), "host.aws.network.gateway_cidrs[0]", "is no CIDR"),
        (aws(network={"gateway_cidrs": ["0.0.0.0/0"]}), "host.aws.network.gateway_cidrs", "open_to_the_world"),
        (aws(network={"gateway_cidrs": ["::/0"]}), "host.aws.network.gateway_cidrs", "open_to_the_world"),
        (aws(network={"open_to_the_world": "a public demo"}), "host.aws.network.open_to_the_world", "gives a reason"),
        (aws(data_volume={"size": "100"}), "host.aws.data_volume.size", "is not a size"),
        (aws(data_volume={"size": "1.5g"}), "host.aws.data_volume.size", "whole number of GiB"),
        (aws(data_volume={"throughput": 900}), "host.aws.data_volume.throughput", "up to 750"),
        (aws(root_volume={"size": "10g", "iops": 9000}), "host.aws.root_volume.iops", "up to 5000"),
        (aws(purchase="spot", schedule=CRON), "host.aws.schedule", "although purchase is spot"),
        (aws(max_hourly_usd=1), "host.aws.max_hourly_usd", "although purchase is on_demand"),
        (aws(schedule={"stop": "at eight", "start": "0 7 ? * * *"}), "host.aws.schedule.stop", "six fields"),
        (aws(access="instance_connect"), "host.aws.access", "without an endpoint"),
        (aws(tags={"Stack": "mine"}), "host.aws.tags", "not yours to set"),
        (aws(tags={"aws:x": "y"}), "host.aws.tags", "not yours to set"),
        (aws(budget={"monthly_usd": 0, "emails": ["a@b.c"]}), "host.aws.budget.monthly_usd", "more than 0"),
        (aws(budget={"monthly_usd": 9, "emails": []}), "host.aws.budget.emails", "one to ten"),
        (aws(snapshots={"every_hours": 5}), "host.aws.snapshots.every_hours", "24"),
        (aws(instance_typ="g5.xlarge"), "host.aws.instance_typ", "instance_type"),
    ],
)
def test_what_cannot_work_is_refused_by_its_key_with_a_command(host: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parsed(host)
    problems = {problem.key: problem for problem in raised.value.problems}
    assert f"ragstack:{key}" in problems, str(raised.value)
    assert said in problems[f"ragstack:{key}"].wrong + problems[f"ragstack:{key}"].mend
    assert "OPENSSH" not in str(raised.value)


def test_the_whole_internet_is_let_in_for_a_reason() -> None:
    network = {"gateway_cidrs": ["0.0.0.0/0"], "open_to_the_world": "a public demonstration"}
    edge = {"enabled": True, "bind": "0.0.0.0", "port": 443}
    assert parsed(aws(network=network), gateway={"enabled": True}, edge=edge).host.aws is not None


def test_networks_let_in_to_a_gateway_on_loopback_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"gateway_cidrs lists networks, but gateway and edge listen on loopback"):
        parsed(aws(network={"gateway_cidrs": ["203.0.113.0/24"]}), gateway={"enabled": True})


def test_a_mirror_on_a_port_that_the_machine_may_not_call_is_refused() -> None:
    registry = {"images": "mirror.example:5000"}
    with pytest.raises(SettingsError, match=r"egress_ports.*port 5000"):
        parsed(aws(), registry=registry)
    parsed(aws(network={"egress_ports": [443, 5000]}), registry=registry)
    own = {"vpc_id": "vpc-0123456789abcdef0", "subnet_id": "subnet-0123456789abcdef0"}
    parsed(aws(network=own), registry=registry)


def test_defaults_are_safe() -> None:
    host = parsed(aws()).host.aws
    assert host is not None
    assert host.network.gateway_cidrs == ()
    assert host.access == "session_manager"
    assert host.snapshots.enabled
    assert (host.schedule, host.budget) == (None, None)


def test_sizes_are_read_in_gib_and_kept_in_mib() -> None:
    host = parsed(aws(data_volume={"size": "1t", "throughput": 500})).host.aws
    assert host is not None
    assert host.data_volume.size == 1024 * 1024


def test_a_command_with_blanks_is_quoted() -> None:
    with pytest.raises(SettingsError, match=r'"0 20 [?] [*] MON-FRI [*]"'):
        parsed(aws(schedule={"stop": "at eight", "start": "0 7 ? * * *"}))
