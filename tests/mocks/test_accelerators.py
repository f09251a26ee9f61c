"""The exact Docker inputs of every accelerator profile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.plan import HostFacts
from tests.mocks.recording import CONTAINER, FACTS, IMAGE, MODEL, VOLUME, Recording, run

UUID = "GPU-3a23c669-1f69-c64e-cf85-44e9b07e7a2a"
NVIDIA = replace(FACTS, cdi=True, runtimes=("nvidia", "runc"))
AMD = replace(FACTS, device_group_ids=(44, 992))
DEVICE_FIELDS = {"deviceRequests", "devices", "groupAdds", "gpus", "runtime"}
# Each would hide a GPU from a container that got it by its device request already.
PINNING = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def on(facts: HostFacts, **accelerator: Any) -> Recording:
    recording = run(facts=facts, accelerator=accelerator)
    assert recording.error is None
    return recording


def device_inputs(recording: Recording) -> dict[str, Any]:
    inputs = recording.named("ollama-container").inputs
    return {field: inputs[field] for field in DEVICE_FIELDS & inputs.keys()}


def variables(recording: Recording) -> dict[str, str]:
    return dict(env.split("=", 1) for env in recording.named("ollama-container").inputs["envs"])


def device(path: str) -> dict[str, str]:
    return {"hostPath": path, "containerPath": path, "permissions": "rwm"}


def test_a_cpu_stack_asks_for_no_device() -> None:
    recording = on(AMD, kind="cpu")
    assert device_inputs(recording) == {}
    assert recording.named("ollama-image").inputs["name"] == "ollama/ollama:0.32.15"


@pytest.mark.parametrize(
    ("gpus", "ids"),
    [
        ("all", ["nvidia.com/gpu=all"]),
        (2, ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        (["0", "2"], ["nvidia.com/gpu=0", "nvidia.com/gpu=2"]),
        ([UUID], [f"nvidia.com/gpu={UUID}"]),
    ],
)
def test_nvidia_by_cdi_requests_the_devices_by_name(gpus: object, ids: list[str]) -> None:
    recording = on(NVIDIA, kind="nvidia", gpus=gpus)
    assert device_inputs(recording) == {"deviceRequests": [{"driver": "cdi", "deviceIds": ids}]}


@pytest.mark.parametrize(
    ("gpus", "chosen"),
    [
        ("all", {"count": -1}),
        (2, {"count": 2}),
        (["0", "1"], {"deviceIds": ["0", "1"]}),
        ([UUID], {"deviceIds": [UUID]}),
    ],
)
def test_nvidia_by_runtime_requests_a_count_or_ids(gpus: object, chosen: dict[str, Any]) -> None:
    recording = on(NVIDIA, kind="nvidia", nvidia_mode="runtime", gpus=gpus)
    request = {"driver": "nvidia", "capabilities": ["gpu"], **chosen}
    assert device_inputs(recording) == {"deviceRequests": [request]}


@pytest.mark.parametrize("mode", ["cdi", "runtime"])
def test_nvidia_gpus_are_never_pinned_a_second_time_by_a_variable(mode: str) -> None:
    found = variables(on(NVIDIA, kind="nvidia", nvidia_mode=mode, gpus=["1"]))
    assert not found.keys() & set(PINNING)


def test_rocm_runs_its_own_image_with_device_paths_and_numeric_groups() -> None:
    recording = on(AMD, kind="rocm")
    assert recording.named("ollama-image").inputs["name"] == "ollama/ollama:0.32.15-rocm"
    assert device_inputs(recording) == {
        "devices": [device("/dev/kfd"), device("/dev/dri")],
        "groupAdds": ["44", "992"],
    }
    assert not variables(recording).keys() & {"HSA_OVERRIDE_GFX_VERSION", "ROCR_VISIBLE_DEVICES", *PINNING}


def test_rocm_gets_override_and_visible_devices_when_they_are_declared() -> None:
    recording = on(FACTS, kind="rocm", hsa_override_gfx_version="10.3.0", visible_devices=[0, 1], group_ids=[105])
    assert variables(recording).items() >= {"HSA_OVERRIDE_GFX_VERSION": "10.3.0", "ROCR_VISIBLE_DEVICES": "0,1"}.items()
    assert device_inputs(recording)["groupAdds"] == ["105"]


def test_vulkan_runs_the_standard_image_with_the_render_nodes_and_the_switch() -> None:
    recording = on(AMD, kind="vulkan", visible_devices=[1])
    assert recording.named("ollama-image").inputs["name"] == "ollama/ollama:0.32.15"
    assert device_inputs(recording) == {"devices": [device("/dev/dri")], "groupAdds": ["44", "992"]}
    assert variables(recording).items() >= {"OLLAMA_VULKAN": "1", "GGML_VK_VISIBLE_DEVICES": "1"}.items()


@pytest.mark.parametrize(
    ("facts", "kind"),
    [(FACTS, "cpu"), (NVIDIA, "nvidia"), (AMD, "rocm"), (AMD, "vulkan")],
    ids=lambda value: str(value)[:9],
)
def test_no_accelerator_makes_a_container_privileged(facts: HostFacts, kind: str) -> None:
    inputs = on(facts, kind=kind).named("ollama-container").inputs
    assert inputs["privileged"] is False
    assert inputs["capabilities"] == {"drops": ["ALL"]}
    assert inputs["securityOpts"] == ["no-new-privileges:true"]


@pytest.mark.parametrize(("facts", "kind"), [(NVIDIA, "nvidia"), (AMD, "rocm")], ids=["nvidia", "rocm"])
def test_the_database_never_gets_a_device(facts: HostFacts, kind: str) -> None:
    assert not DEVICE_FIELDS & on(facts, kind=kind).named("postgres-container").inputs.keys()


def test_an_apple_stack_has_no_ollama_container_image_or_volume() -> None:
    recording = on(FACTS, kind="apple")
    assert set(recording.of_type(CONTAINER)) == {"postgres-container"}
    assert set(recording.of_type(IMAGE)) == {"postgres-image"}
    assert set(recording.of_type(VOLUME)) == {"postgres-data"}


def test_an_apple_stack_reaches_the_native_server_from_outside_and_inside() -> None:
    recording = run(accelerator={"kind": "apple"}, ollama={"port": 11500})
    assert recording.exports["ollama_url"] == "http://127.0.0.1:11500"
    assert recording.exports["ollama_internal_url"] == "http://host.docker.internal:11500"
    assert recording.exports["accelerator"] == "apple"


def test_an_apple_stack_still_declares_its_models_on_the_native_server() -> None:
    models = on(FACTS, kind="apple").of_type(MODEL)
    assert len(models) == 2
    for model in models.values():
        assert (model.inputs["endpoint"], model.inputs["server"]) == ("http://127.0.0.1:11434", "native")
        assert model.inputs["pull"] is True


@pytest.mark.parametrize(
    ("accelerator", "says"),
    [
        ({"kind": "nvidia"}, "does not resolve CDI devices"),
        ({"kind": "nvidia", "nvidia_mode": "runtime"}, "no runtime called nvidia"),
        ({"kind": "rocm"}, "shows no /dev/kfd"),
    ],
)
def test_a_machine_that_cannot_serve_the_accelerator_is_refused_before_a_container_is_declared(
    accelerator: dict[str, Any], says: str
) -> None:
    recording = run(accelerator=accelerator)
    assert says in str(recording.error)
    assert {one.type for one in recording.resources} <= {"ragstack:hosts:LocalHost", "pulumi:providers:docker"}
