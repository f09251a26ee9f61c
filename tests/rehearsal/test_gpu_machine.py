"""A GPU machine as far as it can be rehearsed without a GPU: NVIDIA's driver and toolkit are labelled stubs.

Docker's engine there is 20.10, which knows no CDI, so the GPU is handed over by the NVIDIA runtime.
"""

from __future__ import annotations

import json

import pytest

from tests.doubles import aws_server
from tests.rehearsal.conftest import Rehearsal


def boot_from(rehearsal: Rehearsal, ami: str) -> None:
    """Declares a GPU machine whose image carries what its name says; nothing of an earlier one is left."""
    done = rehearsal.run("destroy", "--yes", "--ignore-protect")
    assert done.returncode == 0, done.stdout
    aws_server.seed("us-east-1", {aws_server.DRIVER_AMI: (ami, "x86_64")})
    rehearsal.settings["accelerator"] = {"kind": "nvidia", "nvidia_mode": "runtime"}
    rehearsal.settings["host"]["aws"]["instance_type"] = "g5.xlarge"


@pytest.mark.parametrize(
    ("ami", "step", "reason"),
    [
        ("rehearsal no driver", "driver", "driver"),
        ("rehearsal old driver", "driver", "535.230.02"),
        ("rehearsal driver, toolkit broken", "toolkit", "nvidia-ctk"),
    ],
)
def test_a_gpu_machine_that_cannot_work_fails_the_update_with_step_and_reason(
    rehearsal: Rehearsal, ami: str, step: str, reason: str
) -> None:
    boot_from(rehearsal, ami)
    done = rehearsal.run("up")
    assert done.returncode == 1
    failure = done.stdout.partition(f"failed in the step {step}: ")[2].splitlines()
    assert failure, done.stdout
    assert reason in failure[0]
    assert "Traceback" not in done.stdout
    assert "docker:index/container:Container" not in done.stdout


def test_a_gpu_machine_is_handed_to_the_server_and_a_second_up_changes_nothing(rehearsal: Rehearsal) -> None:
    boot_from(rehearsal, "rehearsal driver")
    rehearsal.up()
    name = next(name for name in rehearsal.containers() if name.endswith("ollama"))
    requests = json.loads(rehearsal.on_machine("docker", "inspect", "-f", "{{json .HostConfig.DeviceRequests}}", name))
    assert [(request["Driver"], request["Count"]) for request in requests] == [("nvidia", -1)]
    versions = json.loads(rehearsal.on_machine("cat", "/var/lib/ragstack/prepared.json"))["versions"]
    assert versions["driver"] == "580.95.05"
    assert versions["gpu"] == ["NVIDIA A10G"]
    assert "unchanged\n" in rehearsal.up()
