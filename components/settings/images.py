"""`ragstack:images`: the image of every service, pinned. Versions move only when somebody moves them."""

from __future__ import annotations

from pydantic import Field

from components.settings.base import Section
from components.settings.types import ImageReference


class Images(Section):
    """References without a registry of their own get the prefix `ragstack:registry.images`.

    `ollama_rocm` serves the ROCm profile, which needs libraries that the standard tag does not carry. `pgvector` left
    out is chosen by `ragstack:postgres.version`.
    """

    ollama: ImageReference = Field(default="ollama/ollama:0.32.15", examples=["ollama/ollama:0.32.15"])
    ollama_rocm: ImageReference = Field(default="ollama/ollama:0.32.15-rocm", examples=["ollama/ollama:0.32.15-rocm"])
    haproxy: ImageReference = Field(default="haproxy:3.0.11", examples=["haproxy:3.0.11"])
    caddy: ImageReference = Field(default="caddy:2.10.2", examples=["caddy:2.10.2"])
    pgvector: ImageReference | None = Field(default=None, examples=["pgvector/pgvector:0.8.6-pg17"])
