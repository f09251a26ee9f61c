"""Memory and CPU limits of a container: declared ones checked against the machine, `auto` turned into a share."""

from __future__ import annotations

from dataclasses import dataclass

from components.errors import StackError
from components.plan.facts import HostFacts
from components.settings.container import Container


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits and the soft memory limit of one container. Memory in MiB, CPUs as Docker counts them."""

    memory_mib: int
    memory_reservation_mib: int | None
    cpus: float


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of the machine that `auto` stands for; the rest stays with the machine and the page cache."""

    memory: float
    cpus: float


# Weights, KV cache and a second loaded model are nearly all of a RAG backend's memory; PostgreSQL wants its index
# in memory; a quarter is left to the system, which also caches the model files.
OLLAMA_SHARE = Share(memory=0.60, cpus=1.0)
POSTGRES_SHARE = Share(memory=0.15, cpus=0.5)
# A proxy holds little more than the buffers of its connections (`components/proxies/haproxy.py`).
PROXY_SHARE = Share(memory=0.02, cpus=1.0)


def limits_of(key: str, container: Container, share: Share, facts: HostFacts) -> Limits:
    """The limits of the container configured under `key`. Raises `StackError` when the machine is smaller than them.

    `auto` memory is a whole number of GiB (at least one), because the memory a machine reports moves by a few MiB
    between boots and a moved limit would replace the container.
    """
    shared = max(1, int(facts.memory_mib * share.memory) // 1024) * 1024
    automatic = max(shared, container.memory_reservation or 0)
    memory = automatic if container.memory == "auto" else container.memory
    if memory > facts.memory_mib:
        # What is `auto` already is too large because of the reservation, or on a machine of less than a GiB.
        smaller = ("memory_reservation" if container.memory_reservation else "memory", f"{facts.memory_mib // 2}m")
        field, value = smaller if container.memory == "auto" else ("memory", "auto")
        raise StackError(
            f"{key}.memory is {memory} MiB, but the machine has {facts.memory_mib} MiB.",
            f"pulumi config set --path '{key}.{field}' {value}",
        )
    cpus = max(1.0, facts.cpus * share.cpus) if container.cpus == "auto" else container.cpus
    if cpus > facts.cpus:
        raise StackError(
            f"{key}.cpus is {cpus:g}, but the machine has {facts.cpus}.",
            f"pulumi config set --path '{key}.cpus' auto",
        )
    return Limits(memory_mib=memory, memory_reservation_mib=container.memory_reservation, cpus=cpus)
