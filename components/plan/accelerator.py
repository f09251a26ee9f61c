"""The devices, groups and variables a container gets for each accelerator. Never privileged, never pinned twice."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.errors import StackError
from components.plan.facts import HostFacts
from components.settings.accelerator import Accelerator

# CDI devices can be requested from Docker 25 on: docs.docker.com/engine/release-notes/25.0.
CDI_ENGINE = (25, 0)


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    """Docker's DeviceRequest. `count` -1 asks for all; `count` and `device_ids` exclude each other."""

    driver: str
    count: int | None = None
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Devices:
    """What a container needs to reach the accelerator: requests, device paths, numeric groups and environment."""

    requests: tuple[DeviceRequest, ...] = ()
    paths: tuple[str, ...] = ()
    group_ids: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def devices_of(accelerator: Accelerator, facts: HostFacts) -> Devices:
    """The devices for the declared accelerator. Raises `StackError` when the engine or the machine cannot serve it."""
    if accelerator.kind == "nvidia":
        return _nvidia(accelerator, facts)
    if accelerator.kind == "rocm":
        return _rocm(accelerator, facts)
    if accelerator.kind == "vulkan":
        return _vulkan(accelerator, facts)
    return Devices()


def _nvidia(accelerator: Accelerator, facts: HostFacts) -> Devices:
    """Chosen by the device request alone: containers number their GPUs from 0, so CUDA_VISIBLE_DEVICES on top of it
    would leave none. Chosen GPUs are listed as ids because the provider misreads its `gpus` string for lists."""
    gpus = accelerator.gpus
    if accelerator.nvidia_mode == "cdi":
        if facts.engine_version < CDI_ENGINE or not facts.cdi:
            raise StackError(
                "accelerator.nvidia_mode is cdi, but the Docker engine (version "
                f"{facts.engine_version[0]}.{facts.engine_version[1]}) does not resolve CDI devices.",
                "use Docker 28.3 or newer (or set features.cdi in daemon.json from 25 on), or "
                "`pulumi config set --path 'ragstack:accelerator.nvidia_mode' runtime`",
            )
        chosen = tuple(str(index) for index in range(gpus)) if isinstance(gpus, int) else gpus
        names = ("all",) if chosen == "all" else chosen
        return Devices(
            requests=(DeviceRequest(driver="cdi", device_ids=tuple(f"nvidia.com/gpu={name}" for name in names)),)
        )
    if "nvidia" not in facts.runtimes:
        raise StackError(
            "accelerator.nvidia_mode is runtime, but the Docker engine has no runtime called nvidia.",
            "install the NVIDIA Container Toolkit, then `sudo nvidia-ctk runtime configure --runtime=docker` and "
            "`sudo systemctl restart docker`",
        )
    if isinstance(gpus, tuple):
        return Devices(requests=(DeviceRequest(driver="nvidia", device_ids=gpus, capabilities=("gpu",)),))
    count = -1 if gpus == "all" else gpus
    return Devices(requests=(DeviceRequest(driver="nvidia", count=count, capabilities=("gpu",)),))


def _rocm(accelerator: Accelerator, facts: HostFacts) -> Devices:
    if facts.architecture not in ("x86_64", "amd64"):
        raise StackError(
            f"accelerator.kind is rocm, but the machine is {facts.architecture} and Ollama's ROCm image is amd64 only.",
            "pulumi config set --path 'ragstack:accelerator.kind' cpu",
        )
    environment = {}
    if accelerator.visible_devices:
        environment["ROCR_VISIBLE_DEVICES"] = ",".join(map(str, accelerator.visible_devices))
    if accelerator.hsa_override_gfx_version:
        environment["HSA_OVERRIDE_GFX_VERSION"] = accelerator.hsa_override_gfx_version
    paths = _existing(accelerator, facts, "/dev/kfd", "/dev/dri")
    return Devices(paths=paths, group_ids=_group_ids(accelerator, facts, "/dev/kfd"), environment=environment)


def _vulkan(accelerator: Accelerator, facts: HostFacts) -> Devices:
    environment = {"OLLAMA_VULKAN": "1"}
    if accelerator.visible_devices:
        environment["GGML_VK_VISIBLE_DEVICES"] = ",".join(map(str, accelerator.visible_devices))
    paths = _existing(accelerator, facts, "/dev/dri")
    return Devices(
        paths=paths, group_ids=_group_ids(accelerator, facts, "/dev/dri/renderD128"), environment=environment
    )


def _existing(accelerator: Accelerator, facts: HostFacts, *paths: str) -> tuple[str, ...]:
    """`paths`, which Docker refuses only when it starts the container. Unknown facts are left to it."""
    absent = [path for path in paths if facts.device_paths is not None and path not in facts.device_paths]
    if absent:
        raise StackError(
            f"accelerator.kind is {accelerator.kind}, but this machine has no {' and no '.join(absent)}.",
            "install the GPU's driver and see that its module is loaded (`ls -l /dev/kfd /dev/dri`), or "
            "`pulumi config set --path 'ragstack:accelerator.kind' cpu`",
        )
    return paths


def _group_ids(accelerator: Accelerator, facts: HostFacts, device: str) -> tuple[int, ...]:
    """Numeric, because Docker resolves group names inside the image, where the host's `render` does not exist."""
    groups = accelerator.group_ids or facts.device_group_ids
    if not groups:
        raise StackError(
            f"accelerator.kind is {accelerator.kind}, but the machine shows no {device} to take the group from.",
            "install the AMD GPU driver, or name the groups by number: `stat -c %g /dev/kfd /dev/dri/renderD*` on the "
            "machine, then `pulumi config set --path 'ragstack:accelerator.group_ids[0]' <number>`",
        )
    return groups
