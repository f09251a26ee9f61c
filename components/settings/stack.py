"""The whole stack file as one value."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.accelerator import Accelerator
from components.settings.base import Section
from components.settings.edge import Edge
from components.settings.gateway import Gateway
from components.settings.host import Host
from components.settings.images import Images
from components.settings.model_reference import names_a_host
from components.settings.models import Model
from components.settings.network import Network
from components.settings.ollama import Ollama
from components.settings.pool import Pool
from components.settings.postgres import Postgres
from components.settings.registry import Registry
from components.settings.types import is_loopback

# pgvector >= 0.8.4 repairs HNSW vacuum, >= 0.8.2 an overflow in parallel HNSW builds (pgvector's CHANGELOG).
PGVECTOR_RELEASE = "0.8.6"


class Settings(Section):
    """What a stack file says, validated. One attribute per key of the `ragstack` namespace."""

    profile: Literal["dev", "prod"]
    host: Host = Host()
    registry: Registry = Registry()
    images: Images = Images()
    accelerator: Accelerator = Accelerator()
    ollama: Ollama = Ollama()
    pool: Pool = Pool()
    models: Annotated[tuple[Model, ...], Field(min_length=1, description="a list of at least one model")]
    postgres: Postgres = Postgres()
    gateway: Gateway = Gateway()
    edge: Edge = Edge()
    network: Network = Network()

    @property
    def embedding_model(self) -> Model | None:
        """The first embedding model declared: the one whose dimension the stack's outputs name."""
        return next((model for model in self.models if model.purpose == "embedding"), None)

    @property
    def chat_models(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model.purpose == "chat")

    @property
    def ollama_image(self) -> str:
        """The reference of the Ollama image with the accelerator's libraries, mirror included."""
        rocm = self.accelerator.kind == "rocm"
        return self._mirrored(self.images.ollama_rocm if rocm else self.images.ollama)

    @property
    def ollama_version(self) -> str:
        """What the image's tag says, such as `0.32.15`; other words for an image that is tagged otherwise."""
        return self.ollama_image.partition("@")[0].rpartition(":")[2]

    @property
    def pgvector_image(self) -> str:
        """The reference of the PostgreSQL image, mirror included."""
        default = f"pgvector/pgvector:{PGVECTOR_RELEASE}-pg{self.postgres.version}"
        return self._mirrored(self.images.pgvector or default)

    @property
    def haproxy_image(self) -> str:
        """The reference of the gateway's image, mirror included."""
        return self._mirrored(self.images.haproxy)

    @property
    def caddy_image(self) -> str:
        """The reference of the edge's image, mirror included."""
        return self._mirrored(self.images.caddy)

    @property
    def public_ports(self) -> tuple[int, ...]:
        """The ports meant for other machines: the edge's or the gateway's own, none on loopback."""
        if self.edge.enabled and not is_loopback(self.edge.bind):
            automatic = self.edge.certificate == "automatic"
            return (self.edge.port, self.edge.http_port) if automatic else (self.edge.port,)
        return (self.gateway.port,) if self.gateway.enabled and not is_loopback(self.gateway.bind) else ()

    def model_source(self, name: str) -> str:
        """The reference a model is pulled by: its own name, or that name on the mirror `registry.models`."""
        if not self.registry.models or names_a_host(name):
            return name
        # Ollama keeps models without a namespace under library/.
        return f"{self.registry.models}/{name}" if "/" in name else f"{self.registry.models}/library/{name}"

    def _mirrored(self, reference: str) -> str:
        if not self.registry.images or _names_a_registry(reference):
            return reference
        return f"{self.registry.images}/{reference}"


def _names_a_registry(reference: str) -> bool:
    """Docker's rule: the part before the first slash is a host when it looks like one."""
    first, slash, _ = reference.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")
