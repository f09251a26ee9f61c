"""`make fit-table`: writes docs/fit.md, which models fit on which machine, by the rules of `components/plan`."""

from __future__ import annotations

import json
from pathlib import Path

from components.plan.fit import fits_of
from components.plan.known_models import known_models
from components.plan.machines import MACHINES, Machine, facts_of_machine
from components.plan.model_shapes import SHAPES
from components.plan.model_sizes import SIZES_GB
from components.plan.names import names_of
from components.plan.pool import plan_pool
from components.settings import Settings, parse
from scripts.command import PROJECT
from scripts.say import run, say

FILE = Path("docs/fit.md")
TYPES = ("m7i.2xlarge", "g4dn.xlarge", "g5.xlarge", "g6e.xlarge", "g5.12xlarge", "g6e.12xlarge", "g5.48xlarge")
EMBEDDER = "nomic-embed-text:v1.5"
PARALLEL = 4
_STEP = 1024
_SMALLEST = 2048
_HEAD = f"""\
# Which models fit where

Written by `make fit-table` with the rules that a preview refuses by (`components/plan/fit.py`,
`components/plan/memory.py`); a test compares this file with them.

Each cell is the longest context, in tokens of each of {PARALLEL} requests at once (preset `rag`), with which the model
stays wholly on the machine's GPUs, or in the container's memory of a machine without one, beside the embedding model
{EMBEDDER}, with the KV cache as f16. With `kv_cache_type: q8_0` the cache takes 17/32 of it, with one request at once a
quarter. "-": not with {_SMALLEST} tokens. A cell that is the model's own longest context is marked `*`.

Download sizes are those of the Ollama library, machines and prices those of AWS for us-east-1 on demand
(`components/plan/model_sizes.py`, `components/plan/machines.py`); the models' shapes are from their makers'
`config.json`, source by source in `components/plan/model_shapes.py`. The rules were measured with a real Ollama on a
CPU within 10 % and never below; on GPUs they are arithmetic, and the proof at the end of every update is the judge.
"""


def main() -> None:
    (PROJECT / FILE).write_text(text(), encoding="utf-8")
    say(f"wrote {FILE}")


def text() -> str:
    """The whole file: a row for each decoder of known shape, a column for each machine type."""
    machines = [MACHINES[name] for name in TYPES]
    models = sorted((name for name in SHAPES if SHAPES[name].kv_heads), key=lambda name: (SIZES_GB[name], name))
    heads = " | ".join(f"{machine.type}<br>{_what(machine)}<br>{machine.hourly_usd:.2f} USD/h" for machine in machines)
    lines = [_HEAD, f"| model | GB | {heads} |", "|-|-:|" + "-:|" * len(machines)]
    for name in models:
        cells = " | ".join(_cell(name, machine) for machine in machines)
        lines.append(f"| {name} | {SIZES_GB[name]:g} | {cells} |")
    return "\n".join(lines) + "\n"


def longest_context(name: str, machine: Machine) -> int:
    """Tokens of each request, a multiple of 1024 or the model's own; 0 when not even the smallest fits."""
    own = SHAPES[name].context
    if _fits(name, machine, own):
        return own
    low, high = 0, own // _STEP
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(name, machine, middle * _STEP) else (low, middle)
    return low * _STEP if low * _STEP >= _SMALLEST else 0


def _fits(name: str, machine: Machine, context: int) -> bool:
    settings = _settings(name, machine, context)
    names = names_of(settings, "ragstack", "fit")
    facts = facts_of_machine(machine, settings.accelerator)
    pool = plan_pool(settings, facts, names, gpus=machine.gpus, project="ragstack")
    return all(fit.fits for fit in fits_of(settings, pool, known_models(settings), machine))


def _settings(name: str, machine: Machine, context: int) -> Settings:
    models = [{"name": EMBEDDER, "purpose": "embedding"}, {"name": name, "purpose": "chat", "context": context}]
    sections = {
        "profile": "dev",
        "models": models,
        "accelerator": {"kind": "nvidia" if machine.gpus else "cpu"},
        "ollama": {"environment": {"num_parallel": PARALLEL}},
    }
    config = {
        f"ragstack:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in sections.items()
    }
    return parse(config, project="ragstack", stack="fit")


def _what(machine: Machine) -> str:
    if not machine.gpus:
        return f"CPU, {machine.memory_mib // 1024} GiB"
    return f"{machine.gpus} x {machine.gpu.removeprefix('NVIDIA ')}, {machine.vram_mib // 1024} GiB"


def _cell(name: str, machine: Machine) -> str:
    context = longest_context(name, machine)
    return f"{context}{'*' if context == SHAPES[name].context else ''}" if context else "-"


if __name__ == "__main__":
    run(main)
