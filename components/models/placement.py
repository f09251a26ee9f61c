"""Where a loaded model lies: wholly on the accelerator, or partly or wholly in the machine's memory.

Pure. The proof at the end of an update and the doctor ask the same questions here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# `library=` of the line `inference compute` that a server logs when it starts (discover/ in ollama/ollama).
LIBRARIES = {"nvidia": ("cuda",), "rocm": ("rocm",), "vulkan": ("vulkan",), "apple": ("metal",), "cpu": ("cpu",)}
_COMPUTE = re.compile(r'msg="inference compute".*?\blibrary=(\S+)(.*)')
_MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a server found to work with when it started: `library` in lower case, and the rest of its line."""

    library: str
    description: str


def computes(log: str) -> list[Compute]:
    """What the last start of a server found, from its log; empty when the log does not go back so far."""
    started = log.rfind("Listening on ")
    found = _COMPUTE.findall(log[max(started, 0) :])
    return [Compute(library=library.strip('"').lower(), description=rest.strip()) for library, rest in found]


def library_fault(kind: str, log: str) -> str | None:
    """What is wrong with the library that a server chose for the accelerator `kind`, None when it is that of the kind
    or the log does not say."""
    found = computes(log)
    wanted = LIBRARIES[kind]
    if not found or any(compute.library.startswith(wanted) for compute in found):
        return None
    named = ", ".join(f"{compute.library} {compute.description}".strip()[:120] for compute in found)
    return f"the server found no {'/'.join(wanted)} device when it started, but: {named}"


def placement_fault(kind: str, loaded: Mapping[str, Any]) -> str | None:
    """What is wrong with the place of a model, an entry of `/api/ps`; None when it lies wholly on the accelerator.

    On the CPU every place is right, as there is only one.
    """
    size, on_accelerator = int(loaded["size"]), int(loaded.get("size_vram") or 0)
    if kind == "cpu" or on_accelerator >= size:
        return None
    if on_accelerator == 0:
        return f"{loaded['name']} lies wholly in the machine's memory, so the CPU computes it"
    share = round(100 * on_accelerator / size)
    return f"{loaded['name']} lies only to {share} % on the accelerator ({_mib(on_accelerator)} of {_mib(size)} MiB)"


def _mib(size: int) -> int:
    return size // _MIB
