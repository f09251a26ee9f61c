"""What registries said before, in the user's cache folder: manifests with their age, shapes for ever by blob digest.

A preview must neither fail nor wait because of a cache: what cannot be read is not there, what cannot be written is
left. Files are small JSON objects of mode 0600 in folders of mode 0700.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from components.plan.model_shapes import Shape

FOLDER = "~/.cache/ragstack/models"
_DAY_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Of one model on a registry: bytes of weights, digest (`sha256:...`) of the manifest and of the GGUF file."""

    size: int
    digest: str
    blob: str


@dataclass(frozen=True, kw_only=True)
class Cache:
    """`now` is the time in seconds since 1970."""

    folder: Path
    now: float

    def manifest(self, url: str, *, stale: bool = False) -> Manifest | None:
        """What was said at `url` within a day, with `stale` at any time."""
        content = self._read(_name_of(url))
        asked, size, digest, blob = (content.get(key) for key in ("asked", "size", "digest", "blob"))
        if content.get("url") != url or not isinstance(asked, int | float) or not isinstance(size, int) or size < 1:
            return None
        if not isinstance(digest, str) or not isinstance(blob, str):
            return None
        fresh = 0 <= self.now - asked < _DAY_S
        return Manifest(size=size, digest=digest, blob=blob) if fresh or stale else None

    def keep_manifest(self, url: str, manifest: Manifest) -> None:
        self._write(_name_of(url), asdict(manifest) | {"url": url, "asked": self.now})

    def shape(self, blob: str) -> Shape | None:
        content = self._read(_name_of(blob))
        counts = {field.name: content.get(field.name) for field in fields(Shape)}
        if not all(
            isinstance(count, int) and count >= (0 if name == "kv_heads" else 1) for name, count in counts.items()
        ):
            return None
        return Shape(**{name: int(str(count)) for name, count in counts.items()})

    def keep_shape(self, blob: str, shape: Shape) -> None:
        self._write(_name_of(blob), asdict(shape))

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, name: str, content: dict[str, Any]) -> None:
        # Two previews may write at once, so each has a file of its own until it is whole.
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, unfinished = tempfile.mkstemp(dir=self.folder, prefix=".")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(content, file)
                Path(unfinished).replace(self.folder / name)
            except OSError:
                Path(unfinished).unlink(missing_ok=True)


def _name_of(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()}.json"
