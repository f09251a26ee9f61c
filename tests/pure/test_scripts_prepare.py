"""`make prepare`: what is sent to a machine that is already there."""

from __future__ import annotations

import shlex

from components.hosts.preparation.cloud_config import INSTALLED
from components.reach import SshTarget
from scripts.prepare import command, preparation
from tests.pure.given import settings

TARGET = SshTarget(destination="ada@gpu-box", options=("-p", "2222"))


def test_the_script_is_the_input_and_its_copy_runs_as_root_without_a_question() -> None:
    line = command(TARGET)
    assert line[:3] == ["ssh", "-p", "2222"]
    assert line[-5:-1] == ["sudo", "-n", "sh", "-c"]
    # ssh joins its words, and the shell over there splits them again.
    (remote,) = shlex.split(line[-1])
    assert remote.endswith(f"exec {INSTALLED} </dev/null")
    assert f"mv -f {INSTALLED}.new {INSTALLED}" in remote


def test_the_machine_is_prepared_for_the_settings_and_for_no_data_volume() -> None:
    wanted = preparation(
        settings(host={"type": "ssh", "ssh": {"address": "gpu-box"}}, accelerator={"kind": "nvidia"}), user="ada"
    )
    assert (wanted.user, wanted.accelerator) == ("ada", "nvidia")
    assert wanted.data_volume_id is None
    assert not wanted.cloudwatch_agent
