"""Names of the Docker objects of a stack, decided from plain settings so that they are the same on every update."""

from __future__ import annotations

from dataclasses import dataclass

from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Names:
    """Docker names. Volumes that belong to one user id carry it, since a volume keeps its first owner."""

    prefix: str
    private_network: str
    edge_network: str
    ollama_container: str
    ollama_volume: str
    postgres_container: str
    postgres_volume: str


def names_of(settings: Settings, project: str, stack: str) -> Names:
    prefix = f"{project}-{stack}"
    ollama_volume = f"{prefix}-ollama-non-root" if settings.ollama.non_root else f"{prefix}-ollama"
    return Names(
        prefix=prefix,
        private_network=settings.network.private or f"{prefix}-private",
        edge_network=settings.network.edge or f"{prefix}-edge",
        ollama_container=f"{prefix}-ollama",
        ollama_volume=settings.ollama.volume or ollama_volume,
        postgres_container=f"{prefix}-postgres",
        postgres_volume=settings.postgres.volume or f"{prefix}-postgres",
    )
