"""`ragstack:models`: the Ollama models a stack holds. A model left out of the list is removed from the server."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import Section
from components.settings.types import MEMORY_ALLOWED, Digest, Duration, KeepAlive, Memory, ModelName

Count = Annotated[int, Field(ge=1, le=10_000_000)]


class ModelShape(Section):
    """What a transformer's memory follows from, for a model that the plan does not know: the metadata of its GGUF file
    (`ollama show --verbose`: block_count, attention.head_count, head_count_kv, key_length, embedding_length, the number
    of tokens, context_length). `kv_heads` is 0 for an encoder."""

    layers: Count
    heads: Count
    kv_heads: Annotated[int, Field(ge=0, le=10_000)]
    head_size: Count
    hidden: Count
    vocabulary: Count
    context: Count


class Model(Section):
    """One model. `digest` pins it: another content under the same tag fails the update.

    `preload` loads it into memory at the end of the update and keeps it there for `keep_alive`; `context` is the
    context length in tokens it is loaded with, the server's own default when left out. `size` is its download's, for
    models that the plan does not know (`components/plan/model_sizes.py`), and `shape` says the same of its layers.
    """

    name: ModelName = Field(examples=["all-minilm:22m"])
    purpose: Literal["chat", "embedding"] = Field(examples=["embedding"])
    digest: Digest | None = None
    preload: bool = True
    keep_alive: KeepAlive | None = Field(default=None, examples=["30m"])
    context: Annotated[int, Field(ge=128, le=10_485_760)] | None = None
    size: Memory | None = Field(default=None, examples=["4.9g"], description=MEMORY_ALLOWED)
    shape: ModelShape | None = None
    pull_timeout: Duration = Field(default="2h0m0s", examples=["2h"])
