"""Names of the Docker objects of a stack, decided from plain settings so that they are the same on every update."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from components.errors import StackError
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Names:
    """Docker names. Volumes that belong to one user id carry it, since a volume keeps its first owner."""

    prefix: str
    private_network: str
    edge_network: str
    ollama_container: str
    gateway_container: str
    edge_container: str
    edge_volume: str
    ollama_volume: str
    postgres_container: str
    postgres_volume: str

    def ollama_server(self, index: int) -> str:
        """The container of the server `index`, from 0. The first keeps its name when a pool grows around it."""
        return self.ollama_container if index == 0 else f"{self.ollama_container}-{index + 1}"

    def image_repository(self, service: str) -> str:
        """The repository of an image built for this stack, valid in Docker's grammar whatever the stack is called.

        Stacks may have capitals, and dots, dashes and underscores in any number and place. A name that has to be
        changed carries a mark of the original, so that two stacks never share a repository.
        """
        plain = re.sub(r"[^a-z0-9]+", "-", self.prefix.lower()).strip("-")
        if plain != self.prefix:
            plain = f"{plain}-{hashlib.sha256(self.prefix.encode()).hexdigest()[:8]}"
        return f"{plain}-{service.replace('_', '-')}"


def names_of(settings: Settings, project: str, stack: str) -> Names:
    """The names of a stack. Raises `StackError` when a declared name is another object's default."""
    prefix = f"{project}-{stack}"
    ollama_volume = f"{prefix}-ollama-non-root" if settings.ollama.non_root else f"{prefix}-ollama"
    names = Names(
        prefix=prefix,
        private_network=settings.network.private or f"{prefix}-private",
        edge_network=settings.network.edge or f"{prefix}-edge",
        ollama_container=f"{prefix}-ollama",
        gateway_container=f"{prefix}-gateway",
        edge_container=f"{prefix}-edge",
        edge_volume=f"{prefix}-edge",
        ollama_volume=settings.ollama.volume or ollama_volume,
        postgres_container=f"{prefix}-postgres",
        postgres_volume=settings.postgres.volume or f"{prefix}-postgres",
    )
    for kind, one, other in (
        ("volume", names.ollama_volume, names.postgres_volume),
        ("volume", names.edge_volume, names.postgres_volume),
        ("volume", names.edge_volume, names.ollama_volume),
        ("network", names.private_network, names.edge_network),
    ):
        if one == other:
            raise StackError(
                f"Two objects of the stack would share the {kind} {one}.",
                f"give each a {kind} of its own in Pulumi.{stack}.yaml, or leave both names out",
            )
    return names
