"""Models as files that Ollama can import: one real embedding model, one tiny generated chat model.

Not here: importing and pushing them, which is `images.stand_ins.models`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from images.stand_ins.progress import Note


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """What Ollama's `/api/create` is given: files by the name it knows them by, and further body fields."""

    files: Mapping[str, Path]
    fields: Mapping[str, Any] = field(default_factory=dict)


class Importable(Protocol):
    """Where a model comes from."""

    @property
    def key(self) -> str:
        """Changes when the files might."""
        ...

    def fetch(self, note: Note) -> ImportRequest:
        """Downloads or generates the files, unless the cache has them.

        Raises:
            StackError: they cannot be had; says why.
        """
        ...
