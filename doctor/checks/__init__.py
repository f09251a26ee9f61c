"""Every check there is, in the order in which they are run: what others stand on comes first."""

from doctor.checks import (
    apple,
    containers,
    engine,
    gateway,
    machine,
    models,
    nvidia,
    ollama,
    pool,
    postgres,
    rocm,
)
from doctor.finding import Check

CHECKS: tuple[Check, ...] = (
    *engine.CHECKS,
    *machine.CHECKS,
    *nvidia.CHECKS,
    *rocm.CHECKS,
    *apple.CHECKS,
    *containers.CHECKS,
    *ollama.CHECKS,
    *models.CHECKS,
    *pool.CHECKS,
    *postgres.CHECKS,
    *gateway.CHECKS,
)
