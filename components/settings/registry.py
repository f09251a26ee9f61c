"""`ragstack:registry`: mirrors for images and models, for networks where the public registries are out of reach."""

from __future__ import annotations

from pydantic import Field

from components.settings.base import Section
from components.settings.types import ModelRegistry, RegistryPrefix


class Registry(Section):
    """`images` is put before every image reference that names no registry of its own, `models` before every model.

    Models are still known to clients by the name the stack file declares. `models` is reached from inside the Ollama
    container; `models_insecure` allows plain HTTP there.
    """

    images: RegistryPrefix = Field(default="", examples=["registry.example.com:5000"])
    models: ModelRegistry = Field(default="", examples=["registry.example.com:5000"])
    models_insecure: bool = False
