"""What can be known before anything exists: names, limits, devices and tuning. Pure arithmetic on settings and facts.

Not here: reading the stack file (`components/settings`), asking a machine anything (`components/hosts`), any resource.
"""

from components.plan.accelerator import DeviceRequest, Devices
from components.plan.facts import HostFacts
from components.plan.limits import Limits
from components.plan.plan import Plan, make_plan

__all__ = ["DeviceRequest", "Devices", "HostFacts", "Limits", "Plan", "make_plan"]
