"""What a plan has to know about the machine under a Docker engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """Facts of the machine that runs the containers, as its Docker engine reports them.

    `memory_mib` is all of the machine's memory; `engine_version` is (major, minor); `cdi` tells whether the engine
    resolves CDI devices; `device_group_ids` are the numeric groups of /dev/kfd and /dev/dri/renderD*, empty when there
    are none or the machine is not the one at hand. `device_paths` are those of /dev/kfd and /dev/dri that exist, None
    when the machine is not the one at hand, so that nobody knows.
    """

    cpus: int
    memory_mib: int
    architecture: str
    engine_version: tuple[int, int]
    runtimes: tuple[str, ...] = ()
    cdi: bool = False
    device_group_ids: tuple[int, ...] = ()
    device_paths: tuple[str, ...] | None = None
