"""The machine's preparation: every variant against the real linters, and what it must and must not do."""

from __future__ import annotations

import base64
import bz2
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import StackError
from components.hosts.preparation import Preparation, cloud_config, revision, script, user_data
from components.hosts.preparation.cloud_config import EC2_LIMIT

VOLUME = "vol-0123456789abcdef0"
VARIANTS = [
    Preparation(user="ubuntu", accelerator=accelerator, data_volume_id=volume, cloudwatch_agent=agent)  # type: ignore[arg-type]
    for accelerator, volume, agent in itertools.product(
        ("cpu", "nvidia", "rocm", "vulkan"), (None, VOLUME), (False, True)
    )
]


def name(preparation: Preparation) -> str:
    volume = "-volume" if preparation.data_volume_id else ""
    return f"{preparation.accelerator}{volume}{'-agent' if preparation.cloudwatch_agent else ''}"


every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=name)


def of(**fields: Any) -> Preparation:
    return Preparation(**{"user": "ubuntu", "accelerator": "nvidia", "data_volume_id": VOLUME, **fields})


def tool(command: str) -> str:
    """A Debian package of its own name, installed where that is allowed."""
    if not shutil.which(command) and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", command]
        subprocess.run(install, check=False, capture_output=True)
    found = shutil.which(command)
    if not found:
        pytest.skip(f"{command} is not installed and cannot be")
    return found


@every_variant
def test_cloud_init_accepts_the_user_data(variant: Preparation, tmp_path: Path) -> None:
    file = tmp_path / "user-data"
    file.write_text(cloud_config(variant))
    done = subprocess.run([tool("cloud-init"), "schema", "-c", file], check=False, capture_output=True, text=True)
    assert (done.returncode, "Valid" in done.stdout) == (0, True), done.stdout + done.stderr


@every_variant
def test_the_whole_script_is_clean(variant: Preparation) -> None:
    for command in (["bash", "-n"], [tool("shellcheck"), "--shell=bash", "-"]):
        done = subprocess.run(command, input=script(variant), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@every_variant
def test_the_user_data_fits_and_carries_the_script_unchanged(variant: Preparation) -> None:
    sent = base64.b64decode(user_data(variant))
    assert sent.decode() == cloud_config(variant)
    assert len(sent) <= EC2_LIMIT
    (file,) = yaml.safe_load(sent)["write_files"]
    assert bz2.decompress(base64.b64decode(file["content"])).decode() == script(variant)


@every_variant
def test_nothing_is_upgraded_and_no_driver_or_kernel_installed(variant: Preparation) -> None:
    text = script(variant)
    assert not re.search(r"apt(-get|_get)? [^\n]*\b(dist-upgrade|full-upgrade|upgrade)\b", text)
    for call in re.findall(r"^\s*(?:apt_install|need_packages|packages\+?=).*$", text, re.MULTILINE):
        assert not re.search(r"nvidia-driver|cuda|linux-|dkms|amdgpu", call), call
    config = yaml.safe_load(cloud_config(variant))
    assert (config["package_update"], config["package_upgrade"], config["swap"]) == (False, False, {"size": 0})
    assert "packages" not in config


@every_variant
def test_a_step_is_there_exactly_when_the_machine_needs_it(variant: Preparation) -> None:
    text = script(variant)
    nvidia, volume = variant.accelerator == "nvidia", variant.data_volume_id is not None
    assert ("step_toolkit" in text, "nvidia.github.io" in text) == (nvidia, nvidia)
    assert ("step_driver" in text) == (variant.accelerator != "cpu")
    assert ("mkfs.ext4" in text, "/dev/disk/by-id" in text) == (volume, volume)
    assert ("amazon-cloudwatch-agent" in text) == variant.cloudwatch_agent
    order = re.findall(r"^  step_(\w+)$", text, re.MULTILINE)
    assert order.index("docker") < order.index("engine") < order.index("sshd")
    if volume:
        assert order.index("data") < order.index("docker")


def test_the_volume_is_found_by_its_id_without_the_dash() -> None:
    device = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"
    assert f"DATA_DEVICE={device}\n" in script(of())


def test_only_the_prepared_run_formats_and_never_the_boot() -> None:
    text = script(of())
    at_boot = text[text.index("DATA_VOLUME_SCRIPT=") :].split("\nesac")[0]
    assert "mount -t ext4" in at_boot
    assert "mkfs" not in at_boot
    assert text.count("mkfs.ext4") == 1


def test_user_data_is_the_same_at_every_rendering() -> None:
    assert user_data(of()) == user_data(of())


@pytest.mark.parametrize(
    "change",
    [
        {"user": "admin"},
        {"accelerator": "cpu"},
        {"data_volume_id": None},
        {"data_volume_id": "vol-0a"},
        {"log_max_size": "10m"},
        {"log_max_file": 2},
        {"cloudwatch_agent": True},
        {"driver_floor": "580"},
        {"toolkit_pin": "1.18.1-1"},
        {"data_timeout_s": 5},
    ],
    ids=str,
)
def test_the_revision_changes_with_what_the_script_does(change: dict[str, Any]) -> None:
    assert revision(of(**change)) != revision(of())
    assert re.fullmatch(r"[0-9a-f]{12}", revision(of()))
    assert f"REVISION={revision(of())}\n" in script(of())


def test_what_a_machine_does_not_need_does_not_change_its_revision() -> None:
    cpu = of(accelerator="cpu", data_volume_id=None)
    assert revision(cpu) == revision(of(accelerator="cpu", data_volume_id=None, toolkit_pin="1.17.9-1"))


def test_comments_are_left_out_so_that_they_replace_no_machine() -> None:
    lines = script(of(cloudwatch_agent=True)).splitlines()
    comments = [line for line in lines[2:] if re.match(r"\s*#", line) and "shellcheck" not in line]
    assert comments == ["#!/bin/bash"] or comments == []


@pytest.mark.parametrize(
    "bad",
    [
        {"user": "ubuntu; reboot"},
        {"user": ""},
        {"data_volume_id": "vol-$(id)"},
        {"toolkit_key_fingerprint": "F796ECB0"},
        {"toolkit_repository": "file:///tmp"},
        {"log_max_size": "lots"},
    ],
    ids=str,
)
def test_a_value_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(StackError, match=next(iter(bad))):
        of(**bad)
