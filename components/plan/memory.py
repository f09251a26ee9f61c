"""How much memory a loaded model takes: weights, KV cache and working buffers, from its shape and the settings.

Measured on Ollama 0.17.4: for the llama architecture `/api/ps` reports weights without the token table, plus the cache,
to the byte; for encoders the token table counts twice, and the buffers are those of `_encoder_buffers`, to the byte.
Models whose shape is not known are estimated by nobody, and the plan says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from components.plan.model_shapes import Shape
from components.settings import Settings
from components.settings.models import Model

_MIB = 1024**2
# Bytes per component of the cache. Quantized blocks of 32 carry a scale of two bytes (ggml's q8_0 and q4_0).
CACHE_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
# Tokens of a prompt that are worked on at once (OLLAMA's num_batch).
_BATCH = 512
_FLOAT = 4
_HALF = 2
# Bytes of attention mask per token of the cache: 1.5 KiB, twice what a CPU run shows (768; 9.5, 14, 26 and 50 MiB of
# buffers at 8, 16, 32 and 64 thousand tokens with a tiny model).
_MASK = 1536


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that one loaded model takes. `reported` is what `/api/ps` calls its size: working buffers of the llama
    architecture are not in it, and are needed all the same."""

    weights: int
    cache: int
    buffers: int
    reported: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.buffers

    @property
    def total_mib(self) -> int:
        return -(-self.total // _MIB)


def need_of(shape: Shape, file_bytes: int, *, context: int, parallel: int = 1, cache_type: str = "f16") -> Need:
    """What a model of `shape`, whose file has `file_bytes`, takes with `context` tokens for each of `parallel`
    requests. A context beyond the model's own is cut to it, as Ollama does. `cache_type`: f16, q8_0 or q4_0."""
    context = min(context, shape.context)
    if not shape.kv_heads:
        weights = file_bytes + shape.vocabulary * shape.hidden * _HALF
        buffers = _encoder_buffers(shape, context)
        return Need(weights=weights, cache=0, buffers=buffers, reported=weights + buffers)
    tokens = context * parallel
    cache = round(shape.layers * shape.kv_heads * shape.head_size * 2 * CACHE_BYTES[cache_type] * tokens)
    buffers = _BATCH * (shape.vocabulary + 4 * shape.hidden) * _FLOAT + _MASK * tokens
    return Need(weights=file_bytes, cache=cache, buffers=buffers, reported=file_bytes + cache)


def _encoder_buffers(shape: Shape, context: int) -> int:
    """Attention scores of a batch against the context, and five vectors per token."""
    return _FLOAT * context * (shape.heads * min(context, _BATCH) + 5 * shape.hidden)


def context_of(settings: Settings, model: Model) -> int:
    """The tokens that each request to a declared model gets."""
    return model.context or int(settings.ollama.variables()["OLLAMA_CONTEXT_LENGTH"])


def need_in(settings: Settings, model: Model, shape: Shape, file_bytes: int) -> Need:
    """The same for a model of a stack, by the stack's settings. Ollama gives an encoder one request at a time."""
    variables = settings.ollama.variables()
    return need_of(
        shape,
        file_bytes,
        context=context_of(settings, model),
        parallel=int(variables.get("OLLAMA_NUM_PARALLEL") or 1),
        cache_type=variables.get("OLLAMA_KV_CACHE_TYPE") or "f16",
    )
