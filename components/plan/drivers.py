"""The oldest NVIDIA driver that the declared Ollama works with."""

from __future__ import annotations

import re

from components.errors import StackError

# Ollama 0.30.11 and later need 550 (570 for cards of compute capability 5.0 to 6.2): docs/gpu in ollama/ollama.
# The catalogue's machines all have newer cards, so one floor serves.
FLOOR = (550, 0)


def refuse_old_driver(machine: str, version: str) -> None:
    """Raises `StackError` when the driver `version` (`580.95.05`) of `machine` is below the floor, or no version."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if len(numbers) < 2:
        raise StackError(f"{machine} has an NVIDIA driver that names no version: {version!r}.", "see nvidia-smi there")
    if numbers < FLOOR:
        raise StackError(
            f"{machine} has the NVIDIA driver {version}, and Ollama needs {FLOOR[0]} or newer: with an older one it "
            "answers from the CPU without saying so.",
            "install a newer driver there (580 or later) and reboot; on AWS: take a newer driver AMI",
        )
