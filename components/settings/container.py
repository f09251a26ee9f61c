"""What every container of the stack can be told: limits, restart policy, log rotation, health-check timings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.base import RuleError, Section
from components.settings.types import MEMORY_ALLOWED, Duration, Memory, PositiveDuration


class LogRotation(Section):
    """Docker's json-file rotation: at most `max_file` files of `max_size` each."""

    max_size: Annotated[
        str, Field(pattern=r"^[1-9]\d*[kmg]$", examples=["100m"], description="a size such as 10m or 100m")
    ] = "10m"
    max_file: Annotated[int, Field(ge=1, le=100)] = 3


class HealthCheck(Section):
    """Timings of the container's health check, as Go durations. The command is the service's own."""

    interval: PositiveDuration = "5s"
    timeout: PositiveDuration = "5s"
    start_period: Duration = "1m0s"
    retries: Annotated[int, Field(ge=1, le=100)] = 6


class Container(Section):
    """`memory` and `cpus` are hard limits; `auto` takes a share of the machine (see `components/plan/limits.py`).

    `memory_reservation` is Docker's soft limit. Sizes are MiB once validated and carry a unit in the stack file.
    """

    memory: Literal["auto"] | Memory = Field(default="auto", examples=["4g"], description=f"auto, or {MEMORY_ALLOWED}")
    memory_reservation: Memory | None = Field(default=None, examples=["2g"])
    cpus: Literal["auto"] | Annotated[float, Field(gt=0, le=1024)] = Field(
        default="auto", examples=[2], description="auto, or a number of CPUs above 0 and up to 1024"
    )
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "no"
    log: LogRotation = LogRotation()
    health: HealthCheck = HealthCheck()

    @model_validator(mode="after")
    def _limit_covers_reservation(self) -> Container:
        if self.memory_reservation and self.memory != "auto" and self.memory < self.memory_reservation:
            raise RuleError(
                "is a limit below memory_reservation; allowed: auto, or at least the reservation",
                field="memory",
                mend=("memory", "auto"),
            )
        return self
