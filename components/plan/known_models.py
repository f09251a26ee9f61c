"""What is known of the declared models before they are pulled: declared, else the registry's word, else our table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from components.plan.model_shapes import SHAPES, Shape
from components.plan.model_sizes import SIZES_GB
from components.settings import Settings
from components.settings.model_reference import read
from components.settings.models import Model

_MIB = 1024**2
_GB = 1000**3
Source = Literal["declared", "registry", "table", "nobody"]


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a registry says of a model: bytes of its weights, and its shape where the file's header could be read."""

    size: int
    shape: Shape | None = None


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Answers of registries by model name; `reason` is why some are missing, empty when none is."""

    found: Mapping[str, Described] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Known:
    """`size` in bytes and `shape` of a model, each None when nobody knows; `source` is who said the size."""

    model: Model
    size: int | None
    shape: Shape | None
    source: Source


def known_models(settings: Settings, lookup: Lookup | None = None) -> tuple[Known, ...]:
    """In the order of the declaration. What is declared wins over a registry, as a mirror may not answer everywhere."""
    found = lookup.found if lookup else {}
    return tuple(_known(model, found.get(model.name)) for model in settings.models)


def _known(model: Model, described: Described | None) -> Known:
    key = read(model.name).key
    shape = Shape(**model.shape.model_dump()) if model.shape else (described.shape if described else None)
    sizes: list[tuple[Source, int | None]] = [
        ("declared", model.size * _MIB if model.size else None),
        ("registry", described.size if described else None),
        ("table", round(SIZES_GB[key] * _GB) if key in SIZES_GB else None),
    ]
    said: list[tuple[Source, int | None]] = [*((source, size) for source, size in sizes if size), ("nobody", None)]
    source, size = said[0]
    return Known(model=model, size=size, shape=shape or SHAPES.get(key), source=source)
