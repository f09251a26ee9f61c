"""The plan of a stack: everything that follows from settings and facts before a single resource is declared."""

from __future__ import annotations

from dataclasses import dataclass

from components.plan.accelerator import Devices, devices_of
from components.plan.facts import HostFacts
from components.plan.limits import OLLAMA_SHARE, POSTGRES_SHARE, Limits, limits_of
from components.plan.names import Names, names_of
from components.plan.postgres import PostgresTuning, tuning_of
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Names, devices, limits and tuning. `hourly_cost_usd` is 0.0 for a machine that is already there."""

    names: Names
    devices: Devices
    ollama_limits: Limits
    postgres_limits: Limits
    postgres_tuning: PostgresTuning
    hourly_cost_usd: float


def make_plan(settings: Settings, facts: HostFacts, *, project: str, stack: str) -> Plan:
    """Raises `StackError` when the machine or its engine cannot do what the settings ask."""
    postgres_limits = limits_of(f"{project}:postgres.container", settings.postgres.container, POSTGRES_SHARE, facts)
    return Plan(
        names=names_of(settings, project, stack),
        devices=devices_of(settings.accelerator, facts),
        ollama_limits=limits_of(f"{project}:ollama.container", settings.ollama.container, OLLAMA_SHARE, facts),
        postgres_limits=postgres_limits,
        postgres_tuning=tuning_of(settings.postgres, postgres_limits),
        hourly_cost_usd=0.0,
    )
