"""`ragstack:accelerator`: what inference runs on, and which of the machine's devices it may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.base import RuleError, Section
from components.settings.types import MEMORY_ALLOWED, GpuId, Memory

GpuCount = Annotated[int, Field(ge=1, le=64)]


class Accelerator(Section):
    """`gpus`: `all`, a count, or a list of indices or UUIDs (NVIDIA only; ROCm and Vulkan use `visible_devices`).

    `nvidia_mode`: `cdi` (Docker >= 25 with a CDI specification) or `runtime` (the NVIDIA container runtime).
    `visible_devices`: indices for ROCR_VISIBLE_DEVICES or GGML_VK_VISIBLE_DEVICES. `group_ids`: the host's numeric
    groups of /dev/kfd and /dev/dri/renderD*; left out, they are read from the host at hand.
    `hsa_override_gfx_version` makes ROCm treat an unlisted card as a listed one, for example 10.3.0. `vram` is the
    memory of each device as its driver shows it (`nvidia-smi --query-gpu=memory.total --format=csv`; on a Mac what
    Metal may use, about three quarters of all), by which the plan tells whether the models fit; of a machine of the
    catalogue it is known.
    """

    kind: Literal["cpu", "nvidia", "rocm", "vulkan", "apple"] = "cpu"
    gpus: Literal["all"] | GpuCount | Annotated[tuple[GpuId, ...], Field(min_length=1)] = Field(
        default="all", examples=["all"], description="all, a count from 1 to 64, or a list of indices or UUIDs"
    )
    nvidia_mode: Literal["cdi", "runtime"] = "cdi"
    visible_devices: tuple[Annotated[int, Field(ge=0)], ...] = ()
    hsa_override_gfx_version: str | None = Field(
        default=None, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", examples=["10.3.0"], description="a version such as 10.3.0"
    )
    group_ids: tuple[Annotated[int, Field(ge=0)], ...] = ()
    vram: Memory | None = Field(default=None, examples=["24g"], description=MEMORY_ALLOWED)

    @model_validator(mode="after")
    def _only_what_the_kind_has(self) -> Accelerator:
        if self.kind != "nvidia" and self.gpus != "all":
            raise RuleError(
                f"chooses GPUs although kind is {self.kind}; allowed: with kind: nvidia",
                field="gpus",
                mend=("kind", "nvidia"),
            )
        if isinstance(self.gpus, tuple) and len(set(self.gpus)) != len(self.gpus):
            raise RuleError("names a GPU twice; allowed: each index or UUID once", field="gpus", mend=("gpus", "all"))
        if self.kind not in ("rocm", "vulkan") and (self.visible_devices or self.group_ids):
            field = "visible_devices" if self.visible_devices else "group_ids"
            raise RuleError(
                f"is set although kind is {self.kind}; "
                "allowed: with kind: rocm or vulkan (NVIDIA devices are chosen by gpus alone, or none is left)",
                field=field,
                mend=(field, None),
            )
        if self.kind == "cpu" and self.vram:
            raise RuleError(
                "is set although kind is cpu; allowed: with a kind that has memory of its own",
                field="vram",
                mend=("vram", None),
            )
        if self.kind != "rocm" and self.hsa_override_gfx_version:
            field = "hsa_override_gfx_version"
            raise RuleError(
                f"is set although kind is {self.kind}; allowed: with kind: rocm", field=field, mend=(field, None)
            )
        return self
