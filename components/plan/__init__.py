"""What can be known before anything exists: names, limits, devices, tuning, cost. Arithmetic on settings and facts.

Not here: reading the stack file (`components/settings`), asking a machine anything (`components/hosts`), any resource.
"""

from components.plan.accelerator import DeviceRequest, Devices
from components.plan.cost import Cost, cost_of
from components.plan.facts import HostFacts
from components.plan.limits import Limits
from components.plan.machines import Machine, facts_of_machine, machine_of
from components.plan.plan import Plan, make_plan
from components.plan.pool import PoolPlan, Server

__all__ = [
    "Cost",
    "DeviceRequest",
    "Devices",
    "HostFacts",
    "Limits",
    "Machine",
    "Plan",
    "PoolPlan",
    "Server",
    "cost_of",
    "facts_of_machine",
    "machine_of",
    "make_plan",
]
