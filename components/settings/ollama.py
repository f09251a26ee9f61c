"""`ragstack:ollama`: the Ollama server, its port, its tuning and its container.

Variables and defaults are those of Ollama's `envconfig/config.go` (0.17 to 0.33). OLLAMA_HOST and OLLAMA_MODELS are
not settings: inside the container both are fixed, outside it `bind`, `port` and `volume` say the same.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from components.settings.base import RuleError, Section
from components.settings.container import Container
from components.settings.types import DockerName, Duration, EnvironmentName, KeepAlive, LoopbackAddress, Memory, Port


class OllamaEnvironment(Section):
    """Ollama's variables. Left out means: what the preset says, else Ollama's own default.

    `context_length` is tokens per request and multiplies with `num_parallel` in memory; `gpu_overhead` is memory kept
    free per GPU; a `kv_cache_type` other than f16 needs `flash_attention`; `debug` is 1 (debug) or 2 (trace).
    """

    num_parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    max_loaded_models: Annotated[int, Field(ge=0, le=256)] | None = None
    max_queue: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    keep_alive: KeepAlive | None = Field(default=None, examples=["10m"])
    context_length: Annotated[int, Field(ge=128, le=10_485_760)] | None = None
    flash_attention: bool | None = None
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] | None = None
    gpu_overhead: Memory | None = Field(default=None, examples=["512m"])
    load_timeout: Duration | None = Field(default=None, examples=["5m"])
    sched_spread: bool | None = None
    llm_library: str | None = Field(
        default=None, pattern=r"^[a-z0-9_]+$", examples=["cuda_v13"], description="a library's name such as cuda_v13"
    )
    origins: tuple[Annotated[str, Field(pattern=r"^[^\s,]+$")], ...] | None = Field(
        default=None, description="a list of origins such as https://example.com"
    )
    noprune: bool | None = None
    no_cloud: bool | None = None
    debug: Annotated[int, Field(ge=0, le=2)] | None = None

    @model_validator(mode="after")
    def _quantized_cache_needs_flash_attention(self) -> OllamaEnvironment:
        if self.kv_cache_type in ("q8_0", "q4_0") and self.flash_attention is not True:
            raise RuleError(
                "is quantized without flash_attention; allowed: f16, or flash_attention: true with it",
                field="kv_cache_type",
                mend=("flash_attention", "true"),
            )
        return self

    def variables(self) -> dict[str, str]:
        """The set ones as container environment, `OLLAMA_<NAME>` to text, in a stable order."""
        set_ones = sorted((name, value) for name, value in self if value is not None)
        return {f"OLLAMA_{name.upper()}": _text(name, value) for name, value in set_ones}


def _as_text(value: object) -> object:
    """`pulumi config set --path` turns what looks like a number or a boolean into one; a variable is text again."""
    return json.dumps(value) if isinstance(value, bool | int | float) else value


PlainText = Annotated[str, BeforeValidator(_as_text)]


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(value)
    if name == "gpu_overhead" and isinstance(value, int):
        return str(value * 1024 * 1024)
    return str(value)


# Sources: the report's section 9 (rag: 4 parallel, 2 loaded models), mended by Ollama's meaning of keep_alive (-1 is
# for ever), and an explicit context everywhere because the default swings from 4k to 256k with the VRAM found.
PRESETS: dict[str, dict[str, object]] = {
    "default": {"context_length": 4096},
    "rag": {"num_parallel": 4, "max_loaded_models": 2, "keep_alive": "-1", "context_length": 8192},
    "chat": {"num_parallel": 2, "max_loaded_models": 1, "keep_alive": "30m", "context_length": 16384},
}
_OWNED = {
    "OLLAMA_HOST": "set ollama.bind and ollama.port",
    "OLLAMA_MODELS": "set ollama.volume",
    "CUDA_VISIBLE_DEVICES": "set accelerator.gpus (both together leave no GPU)",
    "NVIDIA_VISIBLE_DEVICES": "set accelerator.gpus",
    "HIP_VISIBLE_DEVICES": "set accelerator.visible_devices",
    "ROCR_VISIBLE_DEVICES": "set accelerator.visible_devices",
    "GGML_VK_VISIBLE_DEVICES": "set accelerator.visible_devices",
    "HSA_OVERRIDE_GFX_VERSION": "set accelerator.hsa_override_gfx_version",
    "OLLAMA_VULKAN": "set accelerator.kind",
} | {f"OLLAMA_{name.upper()}": f"set ollama.environment.{name}" for name in OllamaEnvironment.model_fields}


class Ollama(Section):
    """`models_from: pull` keeps models in `volume`; `image` builds and uses an image that carries them.

    `non_root` runs a derived image whose server is an ordinary user. `extra_environment` is the way to a variable that
    has no setting. With the Apple accelerator `port` is where the native server listens.
    """

    bind: LoopbackAddress = "127.0.0.1"
    port: Port = 11434
    preset: Literal["default", "rag", "chat"] = "rag"
    environment: OllamaEnvironment = OllamaEnvironment()
    extra_environment: dict[EnvironmentName, PlainText] = Field(default_factory=dict)
    models_from: Literal["pull", "image"] = "pull"
    non_root: bool = False
    volume: DockerName | None = Field(default=None, examples=["ragstack-dev-ollama"])
    container: Container = Container()

    @field_validator("extra_environment")
    @classmethod
    def _not_what_has_a_setting(cls, extra: dict[str, str]) -> dict[str, str]:
        for name in extra:
            if name in _OWNED:
                raise ValueError(f"sets {name}, which has a setting; allowed: other variables ({_OWNED[name]})")
        return extra

    @model_validator(mode="after")
    def _one_derived_image(self) -> Ollama:
        if self.non_root and self.models_from == "image":
            raise RuleError(
                "is set with models_from: image; allowed: one of the two derived images",
                field="non_root",
                mend=("non_root", "false"),
            )
        return self

    def variables(self) -> dict[str, str]:
        """The server's environment: preset, then explicit settings, then the extra variables."""
        preset = OllamaEnvironment.model_validate(PRESETS[self.preset])
        return preset.variables() | self.environment.variables() | dict(sorted(self.extra_environment.items()))
