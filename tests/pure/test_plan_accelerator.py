"""The exact devices, groups and variables of every accelerator, and the machines that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from components.errors import StackError
from components.plan import DeviceRequest, Devices, HostFacts
from components.plan.accelerator import devices_of
from components.settings.accelerator import Accelerator

UUID = "GPU-3a23c669-1f69-c64e-cf85-44e9b07e7a2a"


def facts(**more: Any) -> HostFacts:
    known: dict[str, Any] = {
        "cpus": 8,
        "memory_mib": 32_000,
        "architecture": "x86_64",
        "engine_version": (28, 3),
        "runtimes": ("nvidia", "runc"),
        "cdi": True,
        "device_group_ids": (44, 992),
    }
    return HostFacts(**known | more)


def devices(more: dict[str, Any] | None = None, **accelerator: Any) -> Devices:
    return devices_of(Accelerator.model_validate(accelerator), facts(**more or {}))


@pytest.mark.parametrize("kind", ["cpu", "apple"])
def test_what_needs_no_device_gets_none_even_where_there_are_some(kind: str) -> None:
    assert devices(kind=kind) == Devices()


@pytest.mark.parametrize(
    ("gpus", "ids"),
    [
        ("all", ("nvidia.com/gpu=all",)),
        (1, ("nvidia.com/gpu=0",)),
        (2, ("nvidia.com/gpu=0", "nvidia.com/gpu=1")),
        (["1", "3"], ("nvidia.com/gpu=1", "nvidia.com/gpu=3")),
        ([UUID], (f"nvidia.com/gpu={UUID}",)),
    ],
)
def test_nvidia_by_cdi_names_every_device_and_sets_no_variable(gpus: object, ids: tuple[str, ...]) -> None:
    expected = Devices(requests=(DeviceRequest(driver="cdi", device_ids=ids),))
    assert devices(kind="nvidia", gpus=gpus) == expected
    assert expected.environment == {}


@pytest.mark.parametrize(
    ("gpus", "request_"),
    [
        ("all", DeviceRequest(driver="nvidia", count=-1, capabilities=("gpu",))),
        (2, DeviceRequest(driver="nvidia", count=2, capabilities=("gpu",))),
        (["0", "2"], DeviceRequest(driver="nvidia", device_ids=("0", "2"), capabilities=("gpu",))),
        ([UUID], DeviceRequest(driver="nvidia", device_ids=(UUID,), capabilities=("gpu",))),
    ],
)
def test_nvidia_by_runtime_gives_a_count_or_ids_and_never_both(gpus: object, request_: DeviceRequest) -> None:
    assert devices(kind="nvidia", gpus=gpus, nvidia_mode="runtime") == Devices(requests=(request_,))
    assert (request_.count is None) != (request_.device_ids == ())


def test_rocm_gets_both_device_paths_and_numeric_groups_and_no_variable_unasked() -> None:
    assert devices(kind="rocm") == Devices(paths=("/dev/kfd", "/dev/dri"), group_ids=(44, 992))


def test_rocm_takes_override_devices_and_groups_from_the_settings() -> None:
    found = devices(kind="rocm", hsa_override_gfx_version="10.3.0", visible_devices=[0, 2], group_ids=[105])
    assert found == Devices(
        paths=("/dev/kfd", "/dev/dri"),
        group_ids=(105,),
        environment={"ROCR_VISIBLE_DEVICES": "0,2", "HSA_OVERRIDE_GFX_VERSION": "10.3.0"},
    )


def test_vulkan_gets_the_render_nodes_and_ollamas_switch() -> None:
    switch = {"OLLAMA_VULKAN": "1"}
    assert devices(kind="vulkan") == Devices(paths=("/dev/dri",), group_ids=(44, 992), environment=switch)
    chosen = devices(kind="vulkan", visible_devices=[1])
    assert chosen.environment == switch | {"GGML_VK_VISIBLE_DEVICES": "1"}


@pytest.mark.parametrize("more", [{"engine_version": (24, 0)}, {"cdi": False}])
def test_an_engine_that_does_not_resolve_cdi_is_refused_with_both_ways_out(more: dict[str, Any]) -> None:
    with pytest.raises(StackError) as caught:
        devices(more, kind="nvidia")
    assert "nvidia_mode is cdi" in caught.value.cause
    assert "28.3" in caught.value.mend
    assert "'ragstack:accelerator.nvidia_mode' runtime" in caught.value.mend


def test_the_oldest_engine_with_cdi_is_taken() -> None:
    assert devices({"engine_version": (25, 0)}, kind="nvidia").requests


def test_an_engine_without_the_nvidia_runtime_is_refused_by_runtime_alone() -> None:
    with pytest.raises(StackError, match="no runtime called nvidia"):
        devices({"runtimes": ("runc",)}, kind="nvidia", nvidia_mode="runtime")
    assert devices({"runtimes": ("runc",)}, kind="nvidia").requests


@pytest.mark.parametrize("architecture", ["aarch64", "arm64"])
def test_rocm_is_refused_where_its_image_does_not_run(architecture: str) -> None:
    with pytest.raises(StackError, match=f"the machine is {architecture}"):
        devices({"architecture": architecture}, kind="rocm")
    assert devices({"architecture": architecture}, kind="vulkan").paths


@pytest.mark.parametrize("kind", ["rocm", "vulkan"])
def test_a_machine_that_shows_no_device_is_refused_unless_the_groups_are_named(kind: str) -> None:
    with pytest.raises(StackError) as caught:
        devices({"device_group_ids": ()}, kind=kind)
    assert "shows no /dev/" in caught.value.cause
    assert "stat -c %g" in caught.value.mend
    assert devices({"device_group_ids": ()}, kind=kind, group_ids=[7]).group_ids == (7,)


@pytest.mark.parametrize(
    ("kind", "there", "absent"),
    [
        ("rocm", (), "no /dev/kfd and no /dev/dri"),
        ("rocm", ("/dev/dri",), "no /dev/kfd"),
        ("rocm", ("/dev/kfd",), "no /dev/dri"),
        ("vulkan", ("/dev/kfd",), "no /dev/dri"),
    ],
)
def test_a_machine_at_hand_without_the_devices_is_refused_even_when_the_groups_are_named(
    kind: str, there: tuple[str, ...], absent: str
) -> None:
    with pytest.raises(StackError) as caught:
        devices({"device_paths": there}, kind=kind, group_ids=[7])
    assert caught.value.cause.endswith(f"this machine has {absent}.")
    assert "'ragstack:accelerator.kind' cpu" in caught.value.mend


@pytest.mark.parametrize("there", [None, ("/dev/kfd", "/dev/dri")])
def test_devices_that_are_there_or_that_nobody_can_see_are_taken(there: tuple[str, ...] | None) -> None:
    assert devices({"device_paths": there}, kind="rocm").paths == ("/dev/kfd", "/dev/dri")
    assert devices({"device_paths": there}, kind="vulkan").paths == ("/dev/dri",)
    assert devices({"device_paths": ()}, kind="cpu") == Devices()
