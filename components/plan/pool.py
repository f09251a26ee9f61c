"""The Ollama servers of a stack: names, ports, GPUs, memory, how much each is given, and which models live where.

No GPU is ever given to two servers, and none is pinned twice: a server's device request is its only pin.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from components.errors import StackError
from components.plan.accelerator import Devices, devices_of
from components.plan.facts import HostFacts
from components.plan.limits import OLLAMA_SHARE, Limits, Share, limits_of
from components.plan.model_sizes import size_mib
from components.plan.names import Names
from components.settings import Settings
from components.settings.accelerator import Accelerator
from components.settings.model_reference import read

# What Ollama takes for "not set": one request at a time, three models per GPU or on the CPU (envconfig/config.go).
_PARALLEL = 1
_MODELS_PER_GPU = 3


@dataclass(frozen=True, kw_only=True)
class Server:
    """One Ollama server. `index` counts from 0, `port` is on the machine's loopback; `gpus` is how many devices it has
    to itself, None when that shows only on the machine."""

    index: int
    container: str
    port: int
    devices: Devices
    limits: Limits
    gpus: int | None = None

    @property
    def name(self) -> str:
        """What it is called within the gateway, its logs and its metrics."""
        return f"ollama-{self.index + 1}"


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """`slots`: requests each server is given at once; `homes`: the name of every declared model's own server."""

    servers: tuple[Server, ...]
    slots: int
    homes: dict[str, str]


def plan_pool(settings: Settings, facts: HostFacts, names: Names, *, gpus: int | None, project: str) -> PoolPlan:
    """`gpus`: how many the machine has, None when nobody knows. Raises `StackError` when they cannot be dealt out."""
    count = settings.pool.servers
    share = Share(memory=OLLAMA_SHARE.memory / count, cpus=OLLAMA_SHARE.cpus)
    limits = limits_of(f"{project}:ollama.container", settings.ollama.container, share, facts)
    if limits.memory_mib * count > facts.memory_mib:
        raise StackError(
            f"{count} servers of {limits.memory_mib} MiB each are more than the machine's {facts.memory_mib} MiB.",
            f"pulumi config set --path '{project}:ollama.container.memory' auto",
        )
    servers = tuple(
        Server(
            index=index,
            container=names.ollama_server(index),
            port=settings.ollama.port + index,
            devices=devices_of(accelerator, facts),
            limits=limits,
            gpus=_count(accelerator, gpus),
        )
        for index, accelerator in enumerate(_dealt_out(settings, gpus, project))
    )
    return PoolPlan(servers=servers, slots=slots_of(settings), homes=homes(settings, [it.name for it in servers]))


def homes(settings: Settings, servers: list[str]) -> dict[str, str]:
    """Every declared model's server, the largest model first and each to the server that holds least so far.

    A model of unknown size counts as the largest known, so that two of them do not end up together.
    """
    sizes = {model.name: size_mib(model) for model in settings.models}
    unknown = max((size for size in sizes.values() if size), default=1)
    held = dict.fromkeys(servers, 0)
    found = {}
    for name, size in sorted(sizes.items(), key=lambda item: (-(item[1] or unknown), item[0])):
        server = min(servers, key=lambda it: (held[it], servers.index(it)))
        held[server] += size or unknown
        found[read(name).key] = server
    return found


def kept_on(settings: Settings, servers: list[str]) -> dict[str, list[str]]:
    """Every declared model's name to the servers that answer for it: its own where models are routed, else all."""
    if settings.pool.routing != "model" or len(servers) == 1:
        return {model.name: servers for model in settings.models}
    own = homes(settings, servers)
    return {model.name: [own[read(model.name).key]] for model in settings.models}


def _dealt_out(settings: Settings, gpus: int | None, project: str) -> list[Accelerator]:
    """The accelerator as each server sees it."""
    accelerator, pool = settings.accelerator, settings.pool
    if pool.gpus:
        return [accelerator.model_copy(update={"gpus": group}) for group in pool.gpus]
    if pool.servers == 1 or accelerator.kind in ("cpu", "apple"):
        return [accelerator] * pool.servers
    if accelerator.kind == "nvidia":
        return [accelerator.model_copy(update={"gpus": group}) for group in _groups(_ids(settings, gpus), pool.servers)]
    if not accelerator.visible_devices:
        raise StackError(
            f"{project}:pool.servers is {pool.servers}, but accelerator.visible_devices does not say which devices "
            "there are to deal out.",
            f"pulumi config set --path '{project}:accelerator.visible_devices[0]' 0 (and so on for each device)",
        )
    dealt = _groups(tuple(map(str, accelerator.visible_devices)), pool.servers)
    return [accelerator.model_copy(update={"visible_devices": tuple(map(int, group))}) for group in dealt]


def _count(accelerator: Accelerator, gpus: int | None) -> int | None:
    """Devices of one server, from the accelerator as it sees it and the machine's number."""
    if accelerator.kind == "cpu":
        return 0
    if accelerator.kind == "apple":
        return 1
    if accelerator.visible_devices:
        return len(accelerator.visible_devices)
    if isinstance(accelerator.gpus, tuple):
        return len(accelerator.gpus)
    return gpus if accelerator.gpus == "all" else accelerator.gpus


def _ids(settings: Settings, gpus: int | None) -> tuple[str, ...]:
    chosen, servers = settings.accelerator.gpus, settings.pool.servers
    if isinstance(chosen, tuple):
        return chosen
    known = gpus if chosen == "all" else chosen
    if known is None:
        raise StackError(
            f"pool.servers is {servers}, but accelerator.gpus is all, and how many that is shows only on the machine.",
            "say how many: pulumi config set --path 'ragstack:accelerator.gpus' <number> (`nvidia-smi -L` lists them)",
        )
    if servers > known:
        raise StackError(
            f"pool.servers is {servers}, but the machine has {known} GPUs.",
            f"pulumi config set --path 'ragstack:pool.servers' {known}",
        )
    return tuple(map(str, range(known)))


def _groups(ids: tuple[str, ...], servers: int) -> list[tuple[str, ...]]:
    """Neighbours together, as they often share a switch; the first groups are larger by one when it does not divide."""
    each, more = divmod(len(ids), servers)
    starts = [index * each + min(index, more) for index in range(servers + 1)]
    return [ids[start:end] for start, end in itertools.pairwise(starts)]


def slots_of(settings: Settings) -> int:
    """Requests that a server is given at once."""
    if settings.pool.slots != "auto":
        return settings.pool.slots
    variables = settings.ollama.variables()
    parallel = int(variables.get("OLLAMA_NUM_PARALLEL") or _PARALLEL)
    return parallel * (int(variables.get("OLLAMA_MAX_LOADED_MODELS") or 0) or _MODELS_PER_GPU)
