"""The cheapest changes that make the models of a stack fit, each worked out anew rather than guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from components.plan.fit import Row, ServerFit, fits_of
from components.plan.known_models import Known
from components.plan.machines import MACHINES, Machine
from components.plan.pool import PoolPlan
from components.settings import Settings

_GIB = 1024
# Bits per weight of llama.cpp's quantizations (tools/quantize/README.md in ggml-org/llama.cpp, Llama 3.1 8B).
BITS = {"f16": 16.0, "q8_0": 8.5, "q6_K": 6.56, "q5_K_M": 5.7, "q4_K_M": 4.89, "q3_K_M": 4.0, "q2_K": 3.16}
# What the library's tags are quantized to unless they say otherwise.
_USUAL = "q4_K_M"
_SMALLEST_CONTEXT = 2048


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is to be made to fit. `command` gives the text that sets a key: path and value."""

    settings: Settings
    pool: PoolPlan
    known: tuple[Known, ...]
    machine: Machine | None
    command: Callable[[str, object], str]

    def worst(self) -> ServerFit | None:
        """The server that lacks most, None when all fit."""
        short = [fit for fit in fits_of(self.settings, self.pool, self.known, self.machine) if not fit.fits]
        return max(short, key=lambda fit: fit.needed_mib - (fit.capacity or 0), default=None)

    def fits(self) -> bool:
        return self.worst() is None


def remedies(case: Case) -> list[str]:
    """Up to three changes, each of which is enough by itself, cheapest first: a smaller quantization, a smaller context
    or less in parallel, the next machine; or what else would do. Empty when nothing of this is enough."""
    worst = case.worst()
    if worst is None:
        return []
    kinds: Sequence[Iterator[str]] = (
        _smaller_quantization(case, worst),
        _less_to_remember(case, worst),
        _next_machine(case),
        _fewer_residents(case, worst),
    )
    return [first for first in (next(kind, None) for kind in kinds) if first][:3]


def _with_environment(case: Case, **variables: object) -> Case:
    ollama = case.settings.ollama
    environment = ollama.environment.model_copy(update=variables)
    return replace(
        case,
        settings=case.settings.model_copy(update={"ollama": ollama.model_copy(update={"environment": environment})}),
    )


def _with_model(case: Case, name: str, **fields: object) -> Case:
    models = tuple(model.model_copy(update=fields) if model.name == name else model for model in case.settings.models)
    known = tuple(replace(one, model=model) for one, model in zip(case.known, models, strict=True))
    return replace(case, settings=case.settings.model_copy(update={"models": models}), known=known)


def _smaller_quantization(case: Case, worst: ServerFit) -> Iterator[str]:
    """Of the cache first: it costs hardly any quality. Then of the largest model's weights."""
    now = case.settings.ollama.variables().get("OLLAMA_KV_CACHE_TYPE", "f16")
    for smaller in {"f16": ("q8_0", "q4_0"), "q8_0": ("q4_0",)}.get(now, ()):
        if _with_environment(case, kv_cache_type=smaller, flash_attention=True).fits():
            command = case.command("ollama.environment.kv_cache_type", smaller)
            yield f"{command} (with flash_attention true: a quantized KV cache)"
    row = _largest(worst, lambda one: one.need.weights if one.need else 0)
    if row is None or row.known.size is None:
        return
    has = quantization(row.name)
    for smaller in [name for name in BITS if BITS[name] < BITS[has]]:
        size = round(row.known.size * BITS[smaller] / BITS[has])
        known = tuple(replace(one, size=size) if one.model.name == row.name else one for one in case.known)
        if replace(case, known=known).fits():
            yield f"take {row.name} quantized to {smaller} instead of {has}, about {_gib(size / 1024**2)} of weights"


def _less_to_remember(case: Case, worst: ServerFit) -> Iterator[str]:
    """The largest context of the model with the largest cache, or the most parallel requests, that fits."""
    row = _largest(worst, lambda one: one.need.cache if one.need else 0)
    if row is None or row.need is None or not row.need.cache:
        return
    for context in range((row.context - 1) // 1024 * 1024, _SMALLEST_CONTEXT - 1, -1024):
        smaller = (
            _with_model(case, row.name, context=context)
            if row.declared
            else _with_environment(case, context_length=context)
        )
        if smaller.fits():
            index = [model.name for model in case.settings.models].index(row.name)
            path = f"models[{index}].context" if row.declared else "ollama.environment.context_length"
            yield f"{case.command(path, context)} (tokens of each request)"
            break
    for parallel in range(row.parallel - 1, 0, -1):
        if _with_environment(case, num_parallel=parallel).fits():
            yield f"{case.command('ollama.environment.num_parallel', parallel)} (requests at once)"
            break


def _next_machine(case: Case) -> Iterator[str]:
    """The cheapest machine of the catalogue that holds them; where there is no catalogue, how much memory it takes."""
    if case.machine is None:
        worst = case.worst()
        if worst and case.settings.accelerator.kind == "cpu":
            needed = -(-worst.needed_mib * 2 // _GIB)
            yield f"{case.command('ollama.container.memory', f'{needed // 2 + 1}g')} on a machine that has it"
        elif worst:
            each = worst.needed_mib / (worst.server.gpus or 1)
            yield f"a GPU with {_gib(each)} or more that is free"
        return
    same_kind = [
        machine
        for machine in sorted(MACHINES.values(), key=lambda it: it.hourly_usd)
        if machine.hourly_usd > case.machine.hourly_usd
        and bool(machine.gpus) == bool(case.machine.gpus)
        and machine.architecture == case.machine.architecture
    ]
    for machine in same_kind:
        if _on(case, machine).fits():
            price = f"{machine.hourly_usd:.2f} instead of {case.machine.hourly_usd:.2f} USD per hour"
            yield f"{case.command('host.aws.instance_type', machine.type)} ({price})"


def _on(case: Case, machine: Machine) -> Case:
    """The same servers with the larger machine's GPUs or memory dealt out evenly."""
    count = len(case.pool.servers)
    grown = machine.memory_mib / (case.machine.memory_mib if case.machine else machine.memory_mib)
    servers = tuple(
        replace(
            server,
            gpus=machine.gpus // count if server.gpus else server.gpus,
            limits=replace(server.limits, memory_mib=int(server.limits.memory_mib * grown)),
        )
        for server in case.pool.servers
    )
    return replace(case, machine=machine, pool=replace(case.pool, servers=servers))


def _fewer_residents(case: Case, worst: ServerFit) -> Iterator[str]:
    """Not keeping a model loaded, the smallest sacrifice first."""
    for row in sorted(worst.rows, key=worst.alone_mib):
        if row.resident and _with_model(case, row.name, preload=False).fits():
            index = [model.name for model in case.settings.models].index(row.name)
            yield f"{case.command(f'models[{index}].preload', 'false')} ({row.name} is then loaded when it is asked)"


def quantization(name: str) -> str:
    """What a model's weights are quantized to, by its tag: `llama3.1:8b-instruct-fp16` is f16."""
    tag = name.rpartition(":")[2].lower().replace("fp16", "f16").replace("bf16", "f16")
    return next((known for known in BITS if known.lower() in tag), _USUAL)


def _largest(fit: ServerFit, of: Callable[[Row], int]) -> Row | None:
    return max(fit.rows, key=of, default=None)


def _gib(mib: float) -> str:
    return f"{mib / _GIB:.3g} GiB"
