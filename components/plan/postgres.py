"""PostgreSQL parameters from the container's memory limit, where the stack file does not say them.

Shares follow postgresql.org/docs/current/runtime-config-resource.html (shared_buffers a quarter of memory) and
pgvector's README on index builds (maintenance_work_mem as large as can be spared, parallel workers raised).
"""

from __future__ import annotations

from dataclasses import dataclass

from components.errors import StackError
from components.plan.limits import Limits
from components.settings.postgres import Postgres, Tuning

# Beyond 2 GiB an HNSW build of a database that fits such a machine gains nothing more.
_MOST_MAINTENANCE_MIB = 2048
# Docker's default of 64 MiB; smaller values break ordinary parallel queries.
_LEAST_SHM_MIB = 64
_CONNECTIONS = 100


@dataclass(frozen=True, kw_only=True)
class PostgresTuning:
    """`parameters`: name to value as PostgreSQL reads them, in a stable order. `shm_mib`: size of /dev/shm in MiB."""

    parameters: dict[str, str]
    shm_mib: int


def tuning_of(settings: Postgres, limits: Limits) -> PostgresTuning:
    """The parameters for the declared or computed tuning. Raises `StackError` when they exceed the container's memory.

    /dev/shm is at least maintenance_work_mem, because a parallel HNSW build shares that much memory between workers.
    """
    declared = Tuning() if settings.tuning == "auto" else settings.tuning
    memory = limits.memory_mib
    maintenance = declared.maintenance_work_mem or min(_MOST_MAINTENANCE_MIB, max(64, memory // 8))
    connections = declared.max_connections or _CONNECTIONS
    workers = declared.max_parallel_maintenance_workers
    shared = declared.shared_buffers or memory // 4
    if shared + maintenance > memory:
        raise StackError(
            f"postgres.tuning asks for {shared} MiB of shared_buffers and {maintenance} MiB of maintenance_work_mem, "
            f"but the container's memory limit is {memory} MiB.",
            "pulumi config set --path 'ragstack:postgres.tuning' auto, or raise ragstack:postgres.container.memory",
        )
    values = {
        "shared_buffers": f"{shared}MB",
        "effective_cache_size": f"{declared.effective_cache_size or memory * 3 // 4}MB",
        "work_mem": f"{declared.work_mem or max(4, memory // 4 // connections)}MB",
        "maintenance_work_mem": f"{maintenance}MB",
        "max_connections": str(connections),
        "max_parallel_maintenance_workers": str(max(2, int(limits.cpus)) if workers is None else workers),
        "hnsw.ef_search": str(declared.hnsw_ef_search) if declared.hnsw_ef_search else None,
        "hnsw.iterative_scan": declared.hnsw_iterative_scan or "strict_order",
        "password_encryption": "scram-sha-256",
    }
    return PostgresTuning(
        parameters={name: value for name, value in values.items() if value is not None},
        shm_mib=max(_LEAST_SHM_MIB, maintenance),
    )
