"""The memory part of a plan: what cannot fit is refused with what would, and what fits is shown as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from components.errors import StackError
from components.plan.fit import Row, ServerFit, fits_of
from components.plan.known_models import Known
from components.plan.machines import Machine
from components.plan.pool import PoolPlan
from components.plan.remedies import Case, remedies
from components.settings import Settings

_GIB_IN_MIB = 1024
_MIB = 1024**2
_BYTES = 1024**3
# Dimensions up to which pgvector builds an index: its types vector and halfvec (README of pgvector/pgvector).
VECTOR_LIMIT = 2000
HALFVEC_LIMIT = 4000


def check_memory(
    settings: Settings, pool: PoolPlan, known: tuple[Known, ...], machine: Machine | None, *, project: str, stack: str
) -> tuple[ServerFit, ...]:
    """The fits of all servers. Raises `StackError` when the models of one do not fit into it, or when a context is
    declared that the model does not have."""

    def command(path: str, value: object) -> str:
        return f"pulumi config set --stack {stack} --path '{project}:{path}' {value}"

    _refuse_context_beyond_model(settings, known, command, project)
    fits = fits_of(settings, pool, known, machine)
    case = Case(settings=settings, pool=pool, known=known, machine=machine, command=command)
    if worst := case.worst():
        ways = remedies(case)
        said = "one of these is enough:" + "".join(f"\n    - {way}" for way in ways)
        raise StackError(
            f"The models do not fit: {worst.server.name} has {_gib(worst.capacity or 0)} {_place(settings)} and "
            f"needs {_gib(worst.needed_mib)}: {_reasons(worst)}. {_consequence(settings)}",
            said if ways else "take smaller models, and a smaller context besides: no single change is enough",
        )
    return fits


def _refuse_context_beyond_model(
    settings: Settings, known: Sequence[Known], command: Callable[[str, object], str], project: str
) -> None:
    for index, (model, one) in enumerate(zip(settings.models, known, strict=True)):
        if model.context and one.shape and model.context > one.shape.context:
            raise StackError(
                f"{project}:models[{index}].context is {model.context}, but {model.name} was made for "
                f"{one.shape.context} tokens: Ollama would cut prompts there without saying so.",
                command(f"models[{index}].context", one.shape.context),
            )


def table(settings: Settings, fits: Sequence[ServerFit], reason: str = "") -> tuple[str, ...]:
    """A row for each model and a line for each server. `reason`: why a registry could not be asked."""
    rows = {row.name: row for fit in fits for row in fit.rows}
    width = max(len(name) for name in rows)
    sizes = "  ".join(f"{name:>8}" for name in ("weights", "cache", "buffers", "loaded"))
    head = f"memory     {'model':{width}}  {'context':>17}  {sizes}  GiB"
    lines = [head, *(f"           {_cells(row, width)}" for row in rows.values())]
    for fit in fits:
        of = f"of {_gib(fit.capacity)}" if fit.capacity else "of unknown (accelerator.vram says how much there is)"
        lines.append(f"           {fit.server.name}: {_gib(fit.needed_mib)} {of} {_place(settings)}")
        if fit.evicted:
            lines.append(
                f"           {fit.server.name} is to keep {len(fit.residents)} models loaded and may hold {fit.most} "
                "(ollama.environment.max_loaded_models): they evict each other"
            )
    if reason:
        lines.append(f"           {reason}; sizes and shapes are those of this version's table")
    return (*lines, *_vectors(rows.values()))


def _cells(row: Row, width: int) -> str:
    context = f"{row.context} x {row.parallel} {'declared' if row.declared else 'default'}"
    if row.need is None:
        return f"{row.name:{width}}  {context:>17}  unknown: declare its size and shape in models[]"
    cells = (row.need.weights, row.need.cache, row.need.buffers, row.need.total)
    figures = "  ".join(f"{size / _BYTES:>8.2f}" for size in cells)
    return f"{row.name:{width}}  {context:>17}  {figures}{'' if row.resident else '  when asked'}"


def _vectors(rows: Iterable[Row]) -> list[str]:
    """What pgvector can do with the embedding model's vectors."""
    lines = []
    for row in rows:
        shape = row.known.shape
        if row.known.model.purpose != "embedding" or shape is None:
            continue
        lines.append(f"vectors    {row.name}: {shape.hidden} dimensions, {index_advice(shape.hidden)}")
    return lines


def index_advice(dimensions: int) -> str:
    """How vectors of so many dimensions are indexed by pgvector."""
    if dimensions <= VECTOR_LIMIT:
        return "indexed as vector"
    if dimensions <= HALFVEC_LIMIT:
        return f"more than the {VECTOR_LIMIT} of an index over vector: index them as halfvec({dimensions})"
    return (
        f"more than the {HALFVEC_LIMIT} that pgvector indexes at all: every search reads all rows, unless the vectors "
        "are shortened"
    )


def _reasons(fit: ServerFit) -> str:
    shown = fit.together if fit.resident_mib == fit.needed_mib else (max(fit.rows, key=fit.alone_mib),)
    return ", ".join(f"{row.name} {_gib(fit.alone_mib(row))}{_cache(row)}" for row in shown if row.need)


def _cache(row: Row) -> str:
    if row.need is None or not row.need.cache:
        return ""
    return f" ({_gib(row.need.cache / _MIB)} of it KV cache for {row.context} tokens x {row.parallel})"


def _place(settings: Settings) -> str:
    return "of its container's memory" if settings.accelerator.kind == "cpu" else "of GPU memory"


def _consequence(settings: Settings) -> str:
    if settings.accelerator.kind == "cpu":
        return "The kernel would end a server that takes more."
    return "Ollama would compute the rest on the CPU without saying so."


def _gib(mib: float) -> str:
    return f"{mib / _GIB_IN_MIB:.3g} GiB"
