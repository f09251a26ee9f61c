"""How much of a volume the declared models take, as far as that is known before they are pulled."""

from __future__ import annotations

from components.errors import StackError
from components.settings import Settings
from components.settings.aws import AwsHost
from components.settings.model_reference import read
from components.settings.models import Model

_GIB_IN_MIB = 1024
_MIB_PER_GB = 1000**3 / 1024**2
# PostgreSQL's files, its write-ahead log, and a model that is pulled before its predecessor goes.
MARGIN_MIB = 10 * _GIB_IN_MIB
# Download sizes in GB as the Ollama library shows them (ollama.com/library, November 2026).
SIZES_GB = {
    "all-minilm:22m": 0.046,
    "all-minilm:33m": 0.067,
    "bge-m3:567m": 1.2,
    "deepseek-r1:7b": 4.7,
    "deepseek-r1:14b": 9.0,
    "deepseek-r1:32b": 20.0,
    "deepseek-r1:70b": 43.0,
    "gemma3:4b": 3.3,
    "gemma3:12b": 8.1,
    "gemma3:27b": 17.0,
    "gpt-oss:20b": 14.0,
    "gpt-oss:120b": 65.0,
    "llama3.1:8b": 4.9,
    "llama3.1:70b": 43.0,
    "llama3.2:1b": 1.3,
    "llama3.2:3b": 2.0,
    "llama3.3:70b": 43.0,
    "mistral:7b": 4.4,
    "mxbai-embed-large:335m": 0.67,
    "nomic-embed-text:v1.5": 0.274,
    "phi4:14b": 9.1,
    "qwen2.5:0.5b": 0.398,
    "qwen2.5:7b": 4.7,
    "qwen2.5:14b": 9.0,
    "qwen2.5:32b": 20.0,
    "qwen2.5:72b": 47.0,
    "qwen3:8b": 5.2,
}


def models_mib(settings: Settings) -> tuple[int, list[str]]:
    """The known sizes of the declared models in MiB, and the names of those whose size nobody said."""
    known, unknown = 0, []
    for model in settings.models:
        size = size_mib(model)
        known += size or 0
        unknown += [] if size else [model.name]
    return known, unknown


def size_mib(model: Model) -> int | None:
    """A model's declared size in MiB, else the library's, None when nobody said."""
    library = SIZES_GB.get(read(model.name).key)
    return model.size or (round(library * _MIB_PER_GB) if library is not None else None)


def refuse_small_volume(settings: Settings, *, project: str, stack: str) -> None:
    """Raises `StackError` when the data volume cannot hold the declared models."""
    volume = (settings.host.aws or AwsHost()).data_volume.size
    models, _ = models_mib(settings)
    needed = models + MARGIN_MIB
    if volume < needed:
        smallest = -(-needed // _GIB_IN_MIB)
        raise StackError(
            f"{project}:host.aws.data_volume.size is {volume // _GIB_IN_MIB}g, but the models alone take "
            f"{models / _GIB_IN_MIB:.1f} GiB, and the database wants {MARGIN_MIB // _GIB_IN_MIB} beside them.",
            f"pulumi config set --stack {stack} --path '{project}:host.aws.data_volume.size' {smallest}g",
        )
