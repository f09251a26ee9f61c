"""Which images and models are stood in for, at which versions. A new one is a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from . import base, cache
from .go_tools import DOCKERFILES, GoTool
from .importable import Importable, minilm, tiny_chat

OLLAMA_VERSION = "0.17.4"
POSTGRES_MAJOR = "17"
PGVECTOR_VERSION = "0.8.0"
HAPROXY_VERSION = "3.0.11"
"""These two are what the suite of `base` carries; an image's build fails when the suite moves on."""
CADDY_VERSION = "2.10.2"

OLLAMA = GoTool(
    package="github.com/ollama/ollama",
    version=f"v{OLLAMA_VERSION}",
    cgo=True,
    link_flags=f"-s -w -X github.com/ollama/ollama/version.Version={OLLAMA_VERSION}",
)
CADDY = GoTool(
    package="github.com/caddyserver/caddy/v2/cmd/caddy",
    version=f"v{CADDY_VERSION}",
    link_flags=f"-s -w -X github.com/caddyserver/caddy/v2.CustomVersion=v{CADDY_VERSION}",
)
TOOLS = {"actionlint": GoTool(package="github.com/rhysd/actionlint/cmd/actionlint", version="v1.7.12")}


@dataclass(frozen=True, kw_only=True)
class StandInImage:
    """An image to build and push. Its tag ends in the distribution, so that nobody takes it for the original."""

    setting: str
    """The key below `images` that names it in a stack's settings."""
    repository: str
    tag: str
    folder: str
    """Its build context below `dockerfiles/`."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    binaries: tuple[GoTool, ...] = ()

    @property
    def name(self) -> str:
        """Repository and tag, without a registry."""
        return f"{self.repository}:{self.tag}"

    @property
    def key(self) -> str:
        """Changes when the built image might."""
        return cache.key_of(
            base.KEY,
            cache.key_of_folder(DOCKERFILES / self.folder),
            *(f"{name}={value}" for name, value in self.arguments.items()),
            *(tool.key for tool in self.binaries),
        )


@dataclass(frozen=True, kw_only=True)
class StandInModel:
    """A model to import into Ollama and push."""

    name: str
    """As a stack's settings name it: `model:tag`, without a registry."""
    purpose: Literal["chat", "embedding"]
    says: str
    """One line for whoever meets the model: what it is, and what its answers are worth."""
    source: Importable
    in_overlay: bool = True

    @property
    def key(self) -> str:
        """Changes when the imported model might: with its source, and with the Ollama that converts it."""
        return cache.key_of(self.source.key, OLLAMA.key)


IMAGES = (
    StandInImage(
        setting="ollama",
        repository="ollama/ollama",
        tag=f"{OLLAMA_VERSION}-{base.SUITE}",
        folder="ollama",
        binaries=(OLLAMA,),
    ),
    StandInImage(
        setting="pgvector",
        repository="pgvector/pgvector",
        tag=f"{PGVECTOR_VERSION}-pg{POSTGRES_MAJOR}-{base.SUITE}",
        folder="pgvector",
        arguments={"PG_MAJOR": POSTGRES_MAJOR, "PGVECTOR_VERSION": PGVECTOR_VERSION},
    ),
    StandInImage(
        setting="haproxy",
        repository="haproxy",
        tag=f"{HAPROXY_VERSION}-{base.SUITE}",
        folder="haproxy",
        arguments={"HAPROXY_VERSION": HAPROXY_VERSION},
    ),
    StandInImage(
        setting="caddy",
        repository="caddy",
        tag=f"{CADDY_VERSION}-{base.SUITE}",
        folder="caddy",
        binaries=(CADDY,),
    ),
)

NOISE = "random weights: its answers are noise, only its speed and its interfaces are real"

MODELS = (
    StandInModel(
        name="all-minilm:22m",
        purpose="embedding",
        says="the real all-MiniLM-L6-v2, 384 dimensions",
        source=minilm.SOURCE,
    ),
    StandInModel(name="tiny-chat:random", purpose="chat", says=NOISE, source=tiny_chat.TinyChat(seed=1)),
    StandInModel(
        name="tiny-chat:other", purpose="chat", says=NOISE, source=tiny_chat.TinyChat(seed=2), in_overlay=False
    ),
)


def overlay(image_registry: str, model_registry: str) -> dict[str, Any]:
    """The settings that point a stack at the stand-ins; `model_registry` is the registry's name inside containers."""
    return {
        "registry": {"images": image_registry, "models": model_registry, "models_insecure": True},
        "images": {image.setting: image.name for image in IMAGES},
        # The suite's pgvector is older than what a stack otherwise insists on.
        "postgres": {"extension_min_version": PGVECTOR_VERSION},
        "models": [{"name": model.name, "purpose": model.purpose} for model in MODELS if model.in_overlay],
    }
