"""The plan of a stack: everything that follows from settings and facts before a single resource is declared."""

from __future__ import annotations

from dataclasses import dataclass

from components.plan.cost import Cost, cost_of
from components.plan.facts import HostFacts
from components.plan.known_models import Lookup, known_models
from components.plan.limits import POSTGRES_SHARE, PROXY_SHARE, Limits, limits_of
from components.plan.machines import Machine, machine_of
from components.plan.memory_check import check_memory, table
from components.plan.model_sizes import models_mib, refuse_small_volume
from components.plan.names import Names, names_of
from components.plan.pool import PoolPlan, plan_pool
from components.plan.postgres import PostgresTuning, tuning_of
from components.settings import Settings

_GIB_IN_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Names, devices, limits and tuning; of a rented machine also what it is and costs, None for one that is there.
    `memory`: a preview's lines about it."""

    names: Names
    pool: PoolPlan
    gateway_limits: Limits
    edge_limits: Limits
    postgres_limits: Limits
    postgres_tuning: PostgresTuning
    accelerator: str
    machine: Machine | None = None
    cost: Cost | None = None
    models_mib: int = 0
    models_of_unknown_size: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()

    @property
    def hourly_cost_usd(self) -> float:
        """Of everything while the machine runs; 0.0 for a machine that is already there."""
        return self.cost.hourly if self.cost else 0.0

    def lines(self) -> list[str]:
        """What a preview shows: machine, limits, models, and what it costs."""
        ollama, postgres = self.pool.servers[0].limits, self.postgres_limits
        servers = len(self.pool.servers)
        each = f" for each of {servers} servers" if servers > 1 else ""
        lines = [
            "plan",
            *self._machine_lines(),
            f"limits     ollama {_gib(ollama.memory_mib)} and {ollama.cpus:g} CPUs{each}, "
            f"postgres {_gib(postgres.memory_mib)} and {postgres.cpus:g} CPUs",
        ]
        if self.cost:
            unknown = (
                f", and {', '.join(self.models_of_unknown_size)} of unknown size"
                if (self.models_of_unknown_size)
                else ""
            )
            lines += [f"models     {_gib(self.models_mib)} to pull{unknown}", *self.cost.lines()]
        return [*lines, *self.memory]

    def _machine_lines(self) -> list[str]:
        machine = self.machine
        if machine is None:
            return [f"machine    one that is there, inference on {self.accelerator}"]
        gpus = f", {machine.gpus} x {machine.gpu} with {_gib(machine.vram_mib)}" if machine.gpus else ""
        unused = "; its GPU is paid for and not used" if machine.gpus and self.accelerator == "cpu" else ""
        return [
            f"machine    {machine.type}: {machine.vcpus} vCPUs, {_gib(machine.memory_mib)}{gpus}; "
            f"inference on {self.accelerator}{unused}"
        ]


def make_plan(settings: Settings, facts: HostFacts, lookup: Lookup | None = None, *, project: str, stack: str) -> Plan:
    """`lookup`: what registries say of the models, where they were asked. Raises `StackError` when the machine or its
    engine cannot do what the settings ask."""
    machine = cost = None
    if settings.host.type == "aws":
        machine = machine_of(settings, project=project, stack=stack)
        cost = cost_of(settings, machine)
        refuse_small_volume(settings, project=project, stack=stack)
    known, unknown = models_mib(settings)
    postgres_limits = limits_of(f"{project}:postgres.container", settings.postgres.container, POSTGRES_SHARE, facts)
    names = names_of(settings, project, stack)
    pool = plan_pool(settings, facts, names, gpus=machine.gpus if machine else None, project=project)
    fits = check_memory(settings, pool, known_models(settings, lookup), machine, project=project, stack=stack)
    return Plan(
        names=names,
        pool=pool,
        gateway_limits=limits_of(f"{project}:gateway.container", settings.gateway.container, PROXY_SHARE, facts),
        edge_limits=limits_of(f"{project}:edge.container", settings.edge.container, PROXY_SHARE, facts),
        postgres_limits=postgres_limits,
        postgres_tuning=tuning_of(settings.postgres, postgres_limits),
        accelerator=settings.accelerator.kind,
        machine=machine,
        cost=cost,
        models_mib=known,
        models_of_unknown_size=tuple(unknown),
        memory=table(settings, fits, lookup.reason if lookup else ""),
    )


def _gib(mib: float) -> str:
    return f"{mib / _GIB_IN_MIB:.3g} GiB"
