"""The life of a prod stack, from nothing to an answer and back to zero cost. The tests build on one another."""

from __future__ import annotations

import os
import re
from unittest import mock

import psycopg
import pytest
import requests

from components.reach import forwarded_url
from images.stand_ins import registry
from scripts.smoke import RIGHT, answer
from tests.doubles import aws_server, machines
from tests.rehearsal.conftest import Rehearsal

SSH_PORT = 22


def test_the_preview_shows_what_it_costs_and_creates_nothing(rehearsal: Rehearsal) -> None:
    done = rehearsal.run("preview")
    assert done.returncode == 0, done.stdout
    for part in ("m7i.xlarge: 4 vCPUs", "an hour", "a month of 730 hours", "4 vCPUs of L-1216C47A"):
        assert part in done.stdout
    assert not rehearsal.aws("ec2").describe_instances()["Reservations"]


def test_up_boots_the_machine_by_its_user_data_and_gives_a_rag_answer(rehearsal: Rehearsal) -> None:
    shown = rehearsal.up()
    assert re.search(r"waiting for ubuntu@i-[0-9a-f]+ .*: (booting|preparing|ubuntu@)", shown), shown
    assert '"state": "ready"' in rehearsal.on_machine("cat", "/var/lib/ragstack/prepared.json")
    assert _answered(rehearsal) == RIGHT


def test_the_gateway_of_the_machine_answers_through_a_forward_to_who_has_a_key(rehearsal: Rehearsal) -> None:
    outputs = rehearsal.outputs()
    with (
        mock.patch.dict(os.environ, rehearsal.environment),
        forwarded_url(outputs["reach"], outputs["gateway_url"]) as url,
    ):
        refused = requests.get(f"{url}/api/tags", timeout=30)
        key = {"authorization": f"Bearer {outputs['api_keys']['app']}"}
        listed = requests.get(f"{url}/api/tags", headers=key, timeout=30)
        pulled = requests.post(f"{url}/api/pull", json={"model": "x"}, headers=key, timeout=30)
    assert (refused.status_code, listed.status_code, pulled.status_code) == (401, 200, 403)
    assert {model["name"] for model in listed.json()["models"]} == {"all-minilm:22m", "tiny-chat:random"}


def test_a_second_up_changes_nothing(rehearsal: Rehearsal) -> None:
    before = rehearsal.containers()
    assert re.search(r"Resources: \d+ unchanged\n", rehearsal.up())
    assert rehearsal.containers() == before


def test_the_machine_listens_to_nobody_but_ssh_and_no_rule_lets_ssh_in(rehearsal: Rehearsal) -> None:
    addresses = [line.split()[3] for line in rehearsal.on_machine("ss", "-Hltn").splitlines()]
    open_ports = {int(at.rpartition(":")[2]) for at in addresses if not at.startswith(("127.", "[::1]"))}
    # The second is the rehearsal's own forward to the local registry.
    assert open_ports == {SSH_PORT, registry.PORT}
    groups = rehearsal.aws("ec2").describe_security_groups()["SecurityGroups"]
    ours = [group for group in groups if any(tag["Value"] == "ragstack-rehearsal" for tag in group.get("Tags", []))]
    assert ours
    assert not [group for group in ours if group["IpPermissions"]]


def test_nothing_on_the_machine_is_privileged_and_no_secret_stands_in_an_inspect(rehearsal: Rehearsal) -> None:
    inspected = rehearsal.on_machine("sh", "-c", "docker inspect $(docker ps -q)")
    assert '"Privileged": true' not in inspected
    password = re.search(r"://[^:]+:([^@]+)@", rehearsal.outputs()["database_url"])
    assert password is not None
    assert password[1] not in inspected
    assert password[1] not in "".join(rehearsal.log)


def test_running_the_preparation_again_changes_nothing(rehearsal: Rehearsal) -> None:
    rehearsal.on_machine("ragstack-prepare")
    assert '"steps_changed": []' in rehearsal.on_machine("cat", "/var/lib/ragstack/prepared.json")


def test_a_changed_model_touches_neither_machine_nor_container(rehearsal: Rehearsal) -> None:
    instance, containers = rehearsal.instance, rehearsal.containers()
    chat = next(model for model in rehearsal.settings["models"] if model["purpose"] == "chat")
    chat["name"] = "tiny-chat:other"
    shown = rehearsal.up()
    assert "models-tiny-chat:other  created" in shown
    assert (rehearsal.instance, rehearsal.containers()) == (instance, containers)


def test_a_replaced_machine_keeps_every_row_and_model(rehearsal: Rehearsal) -> None:
    before, containers = rehearsal.instance, rehearsal.containers()
    _in_database(rehearsal, "CREATE TABLE rag.kept (text text)", "INSERT INTO rag.kept VALUES ('still here')")
    # A newer image alone moves nothing; taking it is what replaces the machine.
    aws_server.seed("us-east-1", {aws_server.PLAIN_AMI: ("rehearsal plain x86_64 newer", "x86_64")})
    assert re.search(r"Resources: \d+ unchanged\n", rehearsal.up())
    rehearsal.settings["host"]["aws"]["ami"] = {"taken": "2026-11"}
    shown = rehearsal.up()
    assert rehearsal.instance != before
    assert not set(containers.values()) & set(rehearsal.containers().values())
    assert containers.keys() == rehearsal.containers().keys()
    assert _in_database(rehearsal, "SELECT text FROM rag.kept") == "still here"
    # What is on the volume is found there, not downloaded again.
    assert not re.search(r"models-\S+: .*pull", shown)
    assert _answered(rehearsal) == RIGHT
    assert re.search(r"Resources: \d+ unchanged\n", rehearsal.up())


def test_a_machine_that_is_stopped_is_named_by_the_next_update(rehearsal: Rehearsal) -> None:
    instance = rehearsal.instance
    machines.stop(instance)
    rehearsal.aws("ec2").stop_instances(InstanceIds=[instance])
    done = rehearsal.run("up")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert instance in done.stdout
    rehearsal.aws("ec2").start_instances(InstanceIds=[instance])
    machines.start(instance, user_data="", public_key="", ami="plain")
    rehearsal.up()
    assert _answered(rehearsal) == RIGHT


def test_destroy_refuses_while_data_is_protected(rehearsal: Rehearsal) -> None:
    done = rehearsal.run("destroy", "--yes")
    assert done.returncode == 1
    assert "host-data-volume" in done.stdout
    assert "is protected" in done.stdout
    assert rehearsal.instance


def test_taking_the_stack_down_spares_the_data_alone(rehearsal: Rehearsal) -> None:
    done = rehearsal.run("destroy", "--yes", "--exclude-protected")
    assert done.returncode == 0, done.stdout
    ec2 = rehearsal.aws("ec2")
    states = [held["Instances"][0]["State"]["Name"] for held in ec2.describe_instances()["Reservations"]]
    assert set(states) == {"terminated"}
    assert [volume["State"] for volume in _data_volumes(rehearsal)] == ["available"]


def test_a_stack_that_comes_back_finds_its_rows(rehearsal: Rehearsal) -> None:
    rehearsal.up()
    assert _in_database(rehearsal, "SELECT text FROM rag.kept") == "still here"


def test_released_data_goes_with_the_rest(rehearsal: Rehearsal) -> None:
    done = rehearsal.run("destroy", "--yes", "--ignore-protect")
    assert done.returncode == 0, done.stdout
    assert not _data_volumes(rehearsal)
    assert not rehearsal.aws("iam").list_roles()["Roles"]


def test_a_preparation_that_fails_fails_the_update_with_its_reason(rehearsal: Rehearsal) -> None:
    # A GPU profile on a machine whose image carries no driver.
    rehearsal.settings["accelerator"] = {"kind": "nvidia"}
    rehearsal.settings["host"]["aws"] |= {"instance_type": "g5.xlarge", "ami": {"parameter": aws_server.PLAIN_AMI}}
    done = rehearsal.run("up")
    assert done.returncode == 1
    assert "failed in the step driver" in done.stdout
    assert "the end of /var/log/ragstack-prepare.log" in done.stdout
    assert "Traceback" not in done.stdout
    assert "docker:index/container:Container" not in done.stdout.partition("Readiness")[2]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RAGSTACK_AWS_QUOTA": "0"}, "request-service-quota-increase"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "aws sso login"),
    ],
)
def test_what_aws_would_refuse_is_refused_at_preview(
    rehearsal: Rehearsal, environment: dict[str, str], said: str
) -> None:
    with mock.patch.dict(rehearsal.environment, environment):
        done = rehearsal.run("preview")
    assert done.returncode == 1
    assert said in done.stdout
    assert "Traceback" not in done.stdout


def _answered(rehearsal: Rehearsal) -> str:
    """The passage that the stack finds, asked through the forward."""
    with mock.patch.dict(os.environ, rehearsal.environment):
        return answer(rehearsal.outputs())[0].text


def _in_database(rehearsal: Rehearsal, *statements: str) -> str:
    """The first value that the last statement gives, run through the forward."""
    outputs = rehearsal.outputs()
    with (
        mock.patch.dict(os.environ, rehearsal.environment),
        forwarded_url(outputs["reach"], outputs["database_url"]) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


def _data_volumes(rehearsal: Rehearsal) -> list[dict[str, str]]:
    found = rehearsal.aws("ec2").describe_volumes(Filters=[{"Name": "tag-key", "Values": ["RagstackData"]}])
    return list(found["Volumes"])
