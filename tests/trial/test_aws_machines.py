"""What the AWS double tells the machines of a rehearsal, and how a session reaches one. The machines are played."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.doubles import aws_cli
from tests.doubles.aws_provider.calls import Aws
from tests.doubles.aws_provider.types import TYPES
from tests.doubles.aws_server import AMIS, PLAIN_AMI, aws_server

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2v0eQ6pYqkP0bqZbcA0q4mYyU1cJ4b8Y2lqFv3kY0c"
USER_DATA = base64.b64encode(b"#cloud-config\n{}\n").decode()
INSTANCE, VOLUME = TYPES["aws:ec2/instance:Instance"], TYPES["aws:ebs/volume:Volume"]
ATTACHMENT = TYPES["aws:ec2/volumeAttachment:VolumeAttachment"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """Everything that the machines are told, as (function, arguments ...)."""
    told: list[tuple[Any, ...]] = []
    machines = ModuleType("tests.doubles.machines")
    for name in ("start", "stop", "terminate", "attach", "detach", "delete_volume"):

        def note(*arguments: Any, _name: str = name, **named: Any) -> None:
            told.append((_name, *arguments, *([named] if named else [])))

        setattr(machines, name, note)
    monkeypatch.setitem(sys.modules, "tests.doubles.machines", machines)
    monkeypatch.setenv("RAGSTACK_REHEARSAL", str(tmp_path))
    return told


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with aws_server() as environment:
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        yield Aws({"region": "us-east-1"})


def test_a_machine_lives_through_what_its_instance_lives_through(aws: Aws, calls: list[tuple[Any, ...]]) -> None:
    key = TYPES["aws:ec2/keyPair:KeyPair"].create(aws, {"keyName": "mine", "publicKey": KEY}, {})
    ami = aws.call("ssm", "GetParameter", Name=PLAIN_AMI)["Parameter"]["Value"]
    given = {"ami": ami, "instanceType": "m7i.large", "keyName": key, "userDataBase64": USER_DATA}
    instance = INSTANCE.create(aws, {**given, "availabilityZone": "us-east-1a"}, {})
    booted = {"user_data": USER_DATA, "public_key": KEY, "ami": AMIS[PLAIN_AMI][0]}
    assert calls == [("start", instance, booted)]

    volume = VOLUME.create(aws, {"availabilityZone": "us-east-1a", "size": 7, "type": "gp3"}, {})
    attached = {
        "instanceId": instance, "volumeId": volume, "deviceName": "/dev/sdf", "stopInstanceBeforeDetaching": True,
    }  # fmt: skip
    id_ = ATTACHMENT.create(aws, attached, {})
    assert calls[1:] == [("attach", instance, volume, 7)]

    INSTANCE.update(aws, instance, given, {**given, "instanceType": "m7i.xlarge"}, {"instanceType"})
    assert calls[2:] == [("stop", instance), ("start", instance, booted)]

    ATTACHMENT.delete(aws, id_, attached)
    INSTANCE.delete(aws, instance, given)
    VOLUME.delete(aws, volume, {})
    assert calls[4:] == [
        ("stop", instance), ("detach", instance, volume), ("terminate", instance), ("delete_volume", volume),
    ]  # fmt: skip


def test_a_volume_in_use_is_neither_attached_again_nor_deleted(aws: Aws, calls: list[tuple[Any, ...]]) -> None:
    ami = aws.call("ssm", "GetParameter", Name=PLAIN_AMI)["Parameter"]["Value"]
    one, other = (
        INSTANCE.create(aws, {"ami": ami, "instanceType": "m7i.large", "availabilityZone": f"us-east-1{zone}"}, {})
        for zone in "ab"
    )
    volume = VOLUME.create(aws, {"availabilityZone": "us-east-1a", "size": 1}, {})
    attached = {"volumeId": volume, "deviceName": "/dev/sdf"}
    with pytest.raises(Exception, match=r"InvalidVolume\.ZoneMismatch"):
        ATTACHMENT.create(aws, {**attached, "instanceId": other}, {})
    ATTACHMENT.create(aws, {**attached, "instanceId": one}, {})
    with pytest.raises(Exception, match="VolumeInUse"):
        ATTACHMENT.create(aws, {**attached, "instanceId": one}, {})
    with pytest.raises(Exception, match="VolumeInUse"):
        VOLUME.delete(aws, volume, {})
    assert [call[0] for call in calls] == ["start", "start", "attach"]


def test_a_session_carries_bytes_both_ways(tmp_path: Path) -> None:
    """The command in a process of its own, as ssh runs it; the machine is a socket that answers in capitals."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        peer, _ = server.accept()
        with peer:
            while data := peer.recv(1024):
                peer.sendall(data.upper())

    threading.Thread(target=answer, daemon=True).start()
    code = (
        "import sys, types; from tests.doubles import aws_cli\n"
        f"sys.modules['tests.doubles.machines'] = types.SimpleNamespace(address=lambda _: {server.getsockname()!r})\n"
        "sys.exit(aws_cli._join('i-1'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"hello\0there" * 50000, capture_output=True, check=False, timeout=60,
        cwd=Path(aws_cli.__file__).parents[2], env={**os.environ, "RAGSTACK_REHEARSAL": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"HELLO\0THERE" * 50000
    server.close()
