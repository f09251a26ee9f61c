"""The AWS double behind a plugin, run by the trial runner against moto: each test is one promise of the double."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.aws_server import PLAIN_AMI, aws_server
from tests.trial.aws_account import ROOT, Account


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    folder = tmp_path / "program"
    fixture = ROOT / "tests" / "trial" / "aws_fixture"
    shutil.copytree(fixture, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(ROOT / "tests" / "trial" / "fixture" / "notes.py", folder)
    (tmp_path / "notes").mkdir()
    with aws_server() as environment:
        yield Account(folder, environment, {"TRIAL_FIXTURE_FOLDER": str(tmp_path / "notes")})


def test_every_type_is_made_left_alone_and_taken_away(account: Account) -> None:
    preview = account.run("preview")
    assert preview.code == 0, preview.text
    assert set(preview.ops().values()) == {"create"}
    assert account.client("ec2").describe_instances()["Reservations"] == []

    first = account.up()
    assert len(first.ops()) == 21
    assert first.document["outputs"]["account"] == "123456789012"
    assert account.instance(first.document["outputs"]["instance"])["State"]["Name"] == "running"

    assert account.up().changed() == {}
    refreshed = account.run("refresh")
    assert set(refreshed.ops().values()) == {"same"}, refreshed.text

    ec2 = account.client("ec2")
    destroyed = account.run("destroy", "--yes")
    assert destroyed.code == 0, destroyed.text
    assert len(destroyed.ops()) == 21
    assert ec2.describe_volumes(Filters=[{"Name": "tag:Data", "Values": ["fixture"]}])["Volumes"] == []
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert account.client("iam").list_roles()["Roles"] == []


def test_what_was_declared_reaches_aws(account: Account) -> None:
    outputs = account.up().document["outputs"]
    instance = account.instance(outputs["instance"])
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert {item["Key"]: item["Value"] for item in instance["Tags"]} == {"Name": "fixture", "Project": "fixture"}
    assert outputs["tags"] == {"Name": "fixture", "Project": "fixture"}
    parameter = account.client("ssm").get_parameter(Name=PLAIN_AMI)["Parameter"]["Value"]
    assert instance["ImageId"] == parameter

    group = account.client("ec2").describe_security_groups(GroupIds=[outputs["group"]])["SecurityGroups"][0]
    # The one rule of AWS's own, which lets everything out, is gone.
    assert [(rule["FromPort"], rule["ToPort"]) for rule in group["IpPermissionsEgress"]] == [(443, 443)]
    assert [rule["UserIdGroupPairs"][0]["GroupId"] for rule in group["IpPermissions"]] == [outputs["group"]]
    volume = account.client("ec2").describe_volumes(VolumeIds=[outputs["volume"]])["Volumes"][0]
    assert volume["Attachments"][0]["InstanceId"] == outputs["instance"]
    assert volume["Encrypted"] is True


def test_a_larger_volume_and_another_type_change_in_place(account: Account) -> None:
    before = account.up().document["outputs"]
    result = account.up(size="20", type="m7i.xlarge")
    assert result.changed() == {"data": "update", "machine": "update"}
    assert result.document["outputs"]["instance"] == before["instance"]
    assert account.instance(before["instance"])["InstanceType"] == "m7i.xlarge"
    assert account.instance(before["instance"])["State"]["Name"] == "running"


def test_a_replaced_machine_gives_its_volume_up_first_and_the_volume_stays(account: Account) -> None:
    before = account.up().document["outputs"]
    other = account.client("ec2").register_image(Name="another image", RootDeviceName="/dev/sda1")["ImageId"]

    preview = account.run("preview", ami=other)
    assert preview.changed() == {"machine": "replace", "attachment": "replace", "stop": "update"}
    result = account.up(ami=other)

    order = [(change["name"], change["op"]) for change in result.document["changes"] if change["op"] != "same"]
    assert order.index(("attachment", "delete")) < order.index(("machine", "replace"))
    assert order.index(("machine", "replace")) < order.index(("attachment", "create"))
    after = result.document["outputs"]
    assert after["volume"] == before["volume"]
    assert after["instance"] != before["instance"]
    assert account.instance(before["instance"])["State"]["Name"] == "terminated"
    volume = account.client("ec2").describe_volumes(VolumeIds=[after["volume"]])["Volumes"][0]
    assert [item["InstanceId"] for item in volume["Attachments"]] == [after["instance"]]


def test_what_lives_on_a_machine_is_made_anew_with_it_and_not_deleted_on_the_one_that_is_gone(account: Account) -> None:
    account.up(switches="note")
    other = account.client("ec2").register_image(Name="another image", RootDeviceName="/dev/sda1")["ImageId"]
    assert account.run("preview", switches="note", ami=other).changed()["note"] == "replace"
    # The engine does it in this order, too: what lives on the machine leaves the state before the machine goes.
    changes = account.up(switches="note", ami=other).document["changes"]
    order = [(change["name"], change["op"]) for change in changes if change["op"] != "same"]
    assert order.index(("note", "delete")) < order.index(("machine", "replace")) < order.index(("note", "create"))
    calls = Path(account.environment["TRIAL_FIXTURE_FOLDER"], "calls.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in calls] == ["create", "create"]
    assert account.up(switches="note", ami=other).changed() == {}


def test_a_replacement_that_failed_half_way_makes_everything_on_the_machine_anew(account: Account) -> None:
    account.up(switches="note")
    other = account.client("ec2").register_image(Name="another image", RootDeviceName="/dev/sda1")["ImageId"]
    account.environment["RAGSTACK_AWS_FAILS"] = "RunInstances:InsufficientInstanceCapacity"
    assert account.run("up", switches="note", ami=other).code == 1
    del account.environment["RAGSTACK_AWS_FAILS"]
    changed = account.up(switches="note", ami=other).changed()
    assert {name: changed[name] for name in ("machine", "attachment", "note")} == dict.fromkeys(
        ("machine", "attachment", "note"), "create"
    )
    assert "data" not in changed


def test_an_engine_on_a_machine_that_is_not_there_yet_previews(account: Account) -> None:
    preview = account.run("preview", switches="docker")
    assert preview.code == 0, preview.text
    assert preview.ops()["box"] == "create"


def test_a_machine_that_vanished_is_made_anew_after_a_refresh(account: Account) -> None:
    before = account.up().document["outputs"]
    account.client("ec2").terminate_instances(InstanceIds=[before["instance"]])
    assert account.run("refresh").changed() == {"machine": "forget", "attachment": "forget"}
    result = account.up()
    assert result.changed()["machine"] == "create"
    assert "data" not in result.changed()


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ("typo", "aws:ec2/vpc:Vpc has no cidrBlok"),
        ("nested-typo", "aws:ec2/instance:Instance has no metadataOptions.httpToken"),
        ("unmapped", "the double does not map assignGeneratedIpv6CidrBlock"),
    ],
)
def test_a_property_that_the_double_cannot_honour_is_refused_before_anything_is_made(
    account: Account, switch: str, said: str
) -> None:
    result = account.run("up", switches=switch)
    assert result.code == 1
    assert said in result.text
    assert "Traceback" not in result.text
    assert [vpc for vpc in account.client("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []


@pytest.mark.parametrize(
    ("played", "said"),
    [
        ("RunInstances:VcpuLimitExceeded", "creating EC2 Instance: operation error EC2: RunInstances, https response"),
        ("RunInstances:InsufficientInstanceCapacity", "api error InsufficientInstanceCapacity: We currently do not"),
        ("AttachVolume:VolumeInUse", "attaching EBS Volume Attachment: operation error EC2: AttachVolume"),
        (
            "GetParameter:ParameterNotFound",
            "invocation of aws:ssm/getParameter:getParameter returned an error: ",
        ),
    ],
)
def test_a_played_failure_fails_the_update_in_the_providers_words(account: Account, played: str, said: str) -> None:
    account.environment["RAGSTACK_AWS_FAILS"] = played
    result = account.run("up")
    assert result.code == 1
    assert said in result.text
    assert "Traceback" not in result.text


def test_an_update_that_failed_half_way_is_completed_by_the_next(account: Account) -> None:
    account.environment["RAGSTACK_AWS_FAILS"] = "AttachVolume:VolumeInUse"
    assert account.run("up").code == 1
    del account.environment["RAGSTACK_AWS_FAILS"]
    assert account.up().changed()["attachment"] == "create"
    assert account.up().changed() == {}


def test_user_data_that_ec2_would_refuse_is_refused(account: Account) -> None:
    result = account.run("up", switches="long")
    assert result.code == 1
    assert "User data is limited to 16384 bytes" in result.text


def test_the_quota_is_what_the_environment_says(account: Account) -> None:
    account.environment["RAGSTACK_AWS_QUOTA"] = "8"
    assert account.up().document["outputs"]["quota"] == 8


def test_a_function_of_something_that_is_not_there_yet_waits_for_it(account: Account) -> None:
    preview = account.run("preview", switches="found-subnet")
    assert preview.code == 0, preview.text
    outputs = account.up(switches="found-subnet").document["outputs"]
    assert outputs["found_zone"] == outputs["zone"]


def test_without_credentials_the_provider_says_so(account: Account) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del account.aws[name]
    result = account.run("preview")
    assert result.code == 1
    assert "No valid credential sources found" in result.text
    assert account.cli("sts", "get-caller-identity").returncode == 253


def test_the_double_never_speaks_to_aws_itself(account: Account) -> None:
    account.aws["AWS_ENDPOINT_URL"] = "https://ec2.us-east-1.amazonaws.com"
    result = account.run("preview")
    assert result.code == 1
    assert "this is a test double" in result.text


def test_a_session_starts_only_to_a_running_machine_that_may_have_one(account: Account) -> None:
    outputs = account.up().document["outputs"]
    session = ("ssm", "start-session", "--document-name", "AWS-StartSSHSession", "--parameters", "portNumber=22")
    allowed = account.cli(*session, "--target", outputs["instance"])
    # The way in is open; behind it there is no machine without a rehearsal.
    assert "RAGSTACK_REHEARSAL is not set" in allowed.stderr

    account.client("ec2").stop_instances(InstanceIds=[outputs["instance"]])
    refused = account.cli(*session, "--target", outputs["instance"])
    assert refused.returncode == 254
    assert "TargetNotConnected" in refused.stderr
    assert json.loads(account.cli("sts", "get-caller-identity").stdout)["Account"] == "123456789012"


def test_a_role_without_session_manager_gets_no_session(account: Account) -> None:
    outputs = account.up().document["outputs"]
    iam = account.client("iam")
    role = iam.list_roles()["Roles"][0]["RoleName"]
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    arguments = ("--document-name", "AWS-StartSSHSession", "--parameters", "portNumber=22", "--target")
    refused = account.cli("ssm", "start-session", *arguments, outputs["instance"])
    assert refused.returncode == 254
    assert "TargetNotConnected" in refused.stderr
