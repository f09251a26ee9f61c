"""What every service of a stack is declared from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.plan import Plan
from components.services.network import Networks
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Site:
    """`address`: where a user finds the machine; `engine`: how its Docker engine is reached from inside an update
    (`components.engine.container_of`)."""

    settings: Settings
    plan: Plan
    networks: Networks
    engine: pulumi.Input[Mapping[str, Any]]
    address: pulumi.Input[str] = "127.0.0.1"
