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


def test_a_gpu_that_is_handed_over_and_not_used_fails_the_update_with_the_reason(rehearsal: Rehearsal) -> None:
    boot_from(rehearsal, "rehearsal driver")
    done = rehearsal.run("up")
    # The machine, its driver and its toolkit are as they have to be, and the server has its device request.
    name = next(name for name in rehearsal.containers() if name.endswith("ollama"))
    requests = json.loads(rehearsal.on_machine("docker", "inspect", "-f", "{{json .HostConfig.DeviceRequests}}", name))
    assert [(request["Driver"], request["Count"]) for request in requests] == [("nvidia", -1)]
    versions = json.loads(rehearsal.on_machine("cat", "/var/lib/ragstack/prepared.json"))["versions"]
    assert versions["driver"] == "580.95.05"
    assert versions["gpu"] == ["NVIDIA A10G"]
    # But there is no GPU behind the stubs, which is seen where it counts: by where the models lie.
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "accelerator.kind is nvidia, but inference would not run on it: ollama-1: its container does not see" in said
    assert "by nvidia-smi -L" in said
    assert "ollama-1: the server found no cuda device when it started, but: cpu" in said
    assert "ollama-1: all-minilm:22m lies wholly in the machine's memory" in said
    assert "mend: make doctor STACK=rehearsal" in said
    assert "Traceback" not in said


def test_the_next_update_tries_the_proof_alone_again(rehearsal: Rehearsal) -> None:
    before = rehearsal.containers()
    done = rehearsal.run("up")
    assert done.returncode == 1
    assert "inference would not run on it" in " ".join(done.stdout.split())
    assert rehearsal.containers() == before
