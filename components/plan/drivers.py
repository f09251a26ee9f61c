"""The oldest NVIDIA driver that an Ollama works with, by its version and the card's compute capability."""

from __future__ import annotations

import re

from components.errors import StackError

# Ollama version from which on -> driver, and driver for cards of compute capability below 7.0. Source: docs/gpu of
# ollama/ollama at those versions; both need compute capability 5.0.
_FLOORS: tuple[tuple[tuple[int, ...], tuple[int, int], tuple[int, int]], ...] = (
    ((0, 30, 11), (550, 0), (570, 0)),
    ((0, 0, 0), (531, 0), (531, 0)),
)
_OLDEST_CAPABILITY = (5, 0)
# What a machine should get where it needs a new one anyway: the branch that NVIDIA supports longest in 2026.
RECOMMENDED = 580


def numbers(version: str) -> tuple[int, ...]:
    """The first three numbers of a version: `580.95.05` is (580, 95, 5), `0.17.4-rocm` is (0, 17, 4)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def floor_of(ollama: str = "", capability: str = "") -> tuple[int, int]:
    """The oldest driver, (major, minor), for an Ollama version such as `0.17.4` and a compute capability such as `8.6`.

    A version that is not known counts as the newest, and a card that is not known as a current one.
    """
    version = numbers(ollama) or _FLOORS[0][0]
    _, current, old = next(floor for floor in _FLOORS if version >= floor[0])
    return old if capability and numbers(capability) < (7, 0) else current


# What machines are prepared for: the newest floor, so that a newer Ollama needs no other machine.
FLOOR = floor_of()


def driver_fault(version: str, *, ollama: str = "", capability: str = "") -> str | None:
    """What is wrong with a driver `version` (`580.95.05`) or a card, in a sentence; None when both will do."""
    found = numbers(version)
    if len(found) < 2:
        return f"an NVIDIA driver that names no version: {version!r}"
    if capability and numbers(capability) < _OLDEST_CAPABILITY:
        return f"a card of compute capability {capability}, and Ollama needs 5.0 or newer"
    floor = floor_of(ollama, capability)
    if found[:2] < floor:
        wanted = f"Ollama {ollama}" if ollama else "Ollama"
        return (
            f"the NVIDIA driver {version}, and {wanted} needs {floor[0]} or newer: with an older one it answers from "
            "the CPU without saying so"
        )
    return None


def refuse_old_driver(machine: str, version: str, *, ollama: str = "", capability: str = "") -> None:
    """Raises `StackError` when the driver of `machine` is below the floor, or no version."""
    if fault := driver_fault(version, ollama=ollama, capability=capability):
        raise StackError(
            f"{machine} has {fault}.",
            f"install a newer driver there ({RECOMMENDED} or later) and reboot; on AWS: take a newer driver AMI",
        )
