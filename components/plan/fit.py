"""Whether the models of each server fit into the memory it has: VRAM of its GPUs, or its container's on a CPU.

A model that does not fit is no error to Ollama: it computes the rest on the CPU, at a tenth of the speed, in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.plan.known_models import Known
from components.plan.machines import Machine
from components.plan.memory import Need, context_of, need_in
from components.plan.pool import PoolPlan, Server, kept_on
from components.settings import Settings

_MIB = 1024**2
# What nvidia-smi shows of a nominal GPU memory: error correction takes a sixteenth of GDDR6, and some is reserved.
# T4 15,360 of 16,384 MiB, A10G 23,028 and L4 23,034 of 24,576, L40S 46,068 of 49,152 (the lowest share of the four).
SHOWN = 0.937
# MiB that the driver takes of what it shows before anything runs (an A10G then reports about 22.3 GiB to Ollama).
_DRIVER_MIB = 200
# MiB of a loaded model's CUDA context on each GPU (ml/backend and discover in ollama/ollama: 457 MiB).
RUNNER_GPU_MIB = 457
# MiB of a server and of each of its runner processes on a CPU, beside the model itself (measured: 45 and 60).
SERVER_MIB = 64
RUNNER_MIB = 64


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model: `need` is None when its size or shape is not known; `context` in tokens, of each of `parallel`
    requests; `declared` tells whether the model's own declaration says the context; `resident`: stays loaded."""

    known: Known
    need: Need | None
    context: int
    parallel: int
    declared: bool
    resident: bool

    @property
    def name(self) -> str:
        return self.known.model.name


@dataclass(frozen=True, kw_only=True)
class ServerFit:
    """What one server has to hold at once, and what it has. MiB; `capacity` is None when nobody knows. `most` models
    are held at a time (OLLAMA_MAX_LOADED_MODELS), 0 for no declared limit."""

    server: Server
    rows: tuple[Row, ...]
    capacity: int | None
    overhead: int
    most: int = 0

    @property
    def residents(self) -> tuple[Row, ...]:
        """Those that are to stay loaded, the largest first."""
        return tuple(sorted((row for row in self.rows if row.resident), key=self.alone_mib, reverse=True))

    @property
    def together(self) -> tuple[Row, ...]:
        """The residents that can be loaded at the same time, at their largest."""
        return self.residents[: self.most or None]

    @property
    def evicted(self) -> bool:
        """Whether residents push each other out, as there are more than the server holds."""
        return len(self.together) < len(self.residents)

    @property
    def resident_mib(self) -> int:
        """Of the models of known need that are loaded together, with what each costs beside itself."""
        return sum(self.alone_mib(row) for row in self.together)

    def alone_mib(self, row: Row) -> int:
        return row.need.total_mib + self.overhead if row.need else 0

    @property
    def needed_mib(self) -> int:
        """The resident ones together, or the largest of the others when that alone is more."""
        return max([self.resident_mib, *(self.alone_mib(row) for row in self.rows if not row.resident)])

    @property
    def fits(self) -> bool:
        return self.capacity is None or self.needed_mib <= self.capacity


def fits_of(
    settings: Settings, pool: PoolPlan, known: Sequence[Known], machine: Machine | None
) -> tuple[ServerFit, ...]:
    """A fit for each server, by what it has to itself and which models have their home there."""
    rows = [_row(settings, one) for one in known]
    kept = kept_on(settings, [server.name for server in pool.servers])
    return tuple(
        ServerFit(
            server=server,
            rows=tuple(row for row in rows if server.name in kept[row.name]),
            capacity=capacity_mib(settings, server, machine),
            overhead=_overhead(settings, server),
            most=int(settings.ollama.variables().get("OLLAMA_MAX_LOADED_MODELS") or 0),
        )
        for server in pool.servers
    )


def capacity_mib(settings: Settings, server: Server, machine: Machine | None) -> int | None:
    """MiB that a server may fill, None when neither the catalogue nor `accelerator.vram` says what its GPUs have."""
    if settings.accelerator.kind == "cpu":
        return server.limits.memory_mib - SERVER_MIB
    each = vram_mib(settings, machine)
    if each is None:
        return None
    kept = int(settings.ollama.variables().get("OLLAMA_GPU_OVERHEAD") or 0) // _MIB
    return (server.gpus or 1) * (each - kept)


def vram_mib(settings: Settings, machine: Machine | None) -> int | None:
    """MiB of one GPU that models may take."""
    declared = settings.accelerator.vram
    shown = declared or (int(machine.vram_mib * SHOWN) if machine and machine.vram_mib else None)
    return None if shown is None else shown - (0 if settings.accelerator.kind == "apple" else _DRIVER_MIB)


def _row(settings: Settings, known: Known) -> Row:
    model, shape = known.model, known.shape
    need = need_in(settings, model, shape, known.size) if shape and known.size else None
    wanted = context_of(settings, model)
    variables = settings.ollama.variables()
    parallel = int(variables.get("OLLAMA_NUM_PARALLEL") or 1)
    return Row(
        known=known,
        need=need,
        context=min(wanted, shape.context) if shape else wanted,
        parallel=1 if shape and not shape.kv_heads else parallel,
        declared=model.context is not None,
        resident=model.preload,
    )


def _overhead(settings: Settings, server: Server) -> int:
    """MiB beside each loaded model. On several GPUs a model may be split over all, with a context on each."""
    if settings.accelerator.kind == "cpu":
        return RUNNER_MIB
    return RUNNER_GPU_MIB * (server.gpus or 1)
