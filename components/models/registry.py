"""What the registry says of the declared models before they are pulled: their size, and their shape.

Asked as Ollama 0.17.4 asks: the manifest under `/v2/<namespace>/<name>/manifests/<tag>`, the file under
`/v2/<namespace>/<name>/blobs/<digest>`, of which only the head is read (RFC 9110, Range). The public registry redirects
to object storage, which gives ranges.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from components.models.errors import why
from components.models.gguf_header import LARGEST_HEADER, shape_of
from components.models.registry_cache import FOLDER, Cache, Manifest
from components.plan.known_models import Described, Lookup
from components.plan.model_shapes import Shape
from components.settings import Settings
from components.settings.model_reference import read
from components.settings.types import is_loopback

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
# Of a whole look-up: a registry that trickles may not hold up a preview.
LOOKUP_TIMEOUT_S = 20.0
STEP = 256 * 1024
_LARGEST_MANIFEST = 1024**2
_LARGEST_SIZE = 2**50
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_WEIGHTS = "application/vnd.ollama.image.model"
# A projector (images) and an adapter are loaded beside the weights.
_LOADED = (_WEIGHTS, "application/vnd.ollama.image.projector", "application/vnd.ollama.image.adapter")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CONTAINERS_NAME_OF_THIS_MACHINE = "host.docker.internal"


class _SilentError(Exception):
    """The registry does not answer, or not in time: asking it for the next model is of no use."""


class _UnknownError(Exception):
    """The registry answers, but not with a model."""


def look_up(settings: Settings, folder: Path | None = None) -> Lookup:
    """What is said of each model whose size or shape is not declared, by its name; `reason` tells why some are missing.

    Never raises. Manifests are kept for a day in `folder` (default: `~/.cache/ragstack/models`), and used at any age
    when their registry does not answer. The first registry that does not ends the asking.
    """
    cache = Cache(folder=folder or Path(FOLDER).expanduser(), now=time.time())
    found: dict[str, Described] = {}
    reasons: list[str] = []
    silent = ""
    with requests.Session() as session:
        session.max_redirects = 5
        deadline = time.monotonic() + LOOKUP_TIMEOUT_S
        for model in settings.models:
            if model.size and model.shape:
                continue
            place = _Place.of(settings, model.name)
            connection = _Connection(session=session, place=place, deadline=deadline)
            try:
                manifest = cache.manifest(place.manifest, stale=bool(silent)) or (
                    None if silent else connection.manifest(cache)
                )
                if manifest:
                    found[model.name] = Described(size=manifest.size)
                    shape = cache.shape(manifest.blob) or (None if silent else connection.shape(manifest.blob, cache))
                    found[model.name] = Described(size=manifest.size, shape=shape)
            except _UnknownError as error:
                reasons.append(str(error))
            except _SilentError as error:
                silent = str(error)
                stale = cache.manifest(place.manifest, stale=True)
                if stale:
                    found[model.name] = Described(size=stale.size, shape=cache.shape(stale.blob))
    return Lookup(found=found, reason="; ".join([*reasons, *([silent] if silent else [])]))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a model is: `repository` and `manifest` are URLs, `registry` and `model` are for messages."""

    registry: str
    model: str
    repository: str
    manifest: str

    @classmethod
    def of(cls, settings: Settings, name: str) -> _Place:
        reference = read(settings.model_source(name))
        host, colon, port = reference.host.partition(":")
        # That name is for containers; the program runs beside them, where it means this very machine.
        if host == _CONTAINERS_NAME_OF_THIS_MACHINE and settings.host.type == "local":
            host = "127.0.0.1"
        scheme = "http" if settings.registry.models_insecure else "https"
        repository = f"{scheme}://{host}{colon}{port}/v2/{reference.namespace}/{reference.model}"
        return cls(
            registry=reference.host,
            model=f"{reference.namespace}/{reference.model}:{reference.tag}",
            repository=repository,
            manifest=f"{repository}/manifests/{reference.tag}",
        )

    @property
    def is_loopback(self) -> bool:
        host = self.repository.split("/")[2].partition(":")[0]
        return host == "localhost" or (host[:1].isdigit() and is_loopback(host))


@dataclass(frozen=True, kw_only=True)
class _Connection:
    session: requests.Session
    place: _Place
    deadline: float

    def manifest(self, cache: Cache) -> Manifest:
        """What the registry answers now. Raises _UnknownError or _SilentError."""
        _, content = self._get(self.place.manifest, {"Accept": _MANIFEST_TYPE}, _LARGEST_MANIFEST)
        manifest = _read_manifest(content)
        if manifest is None:
            raise _UnknownError(f"{self.place.registry} has no Ollama model under {self.place.model}")
        cache.keep_manifest(self.place.manifest, manifest)
        return manifest

    def shape(self, blob: str, cache: Cache) -> Shape | None:
        """From the head of the file, None where it tells none. Raises _UnknownError or _SilentError."""
        shape = shape_of(self._chunks(f"{self.place.repository}/blobs/{blob}"))
        if shape:
            cache.keep_shape(blob, shape)
        return shape

    def _chunks(self, url: str) -> Iterator[bytes]:
        for start in range(0, LARGEST_HEADER, STEP):
            status, content = self._get(url, {"Range": f"bytes={start}-{start + STEP - 1}"}, STEP)
            # Whoever gives no ranges gives the file's beginning again and again.
            if start and status != requests.codes.partial_content:
                return
            yield content
            if len(content) < STEP:
                return

    def _get(self, url: str, headers: dict[str, str], most: int) -> tuple[int, bytes]:
        """The status and the first `most` bytes of an answer."""
        self.session.trust_env = not self.place.is_loopback
        try:
            with self.session.get(
                url,
                headers=headers | {"Accept-Encoding": "identity"},
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                stream=True,
            ) as answer:
                if answer.status_code >= requests.codes.server_error:
                    raise _SilentError(f"{self.place.registry} answers with HTTP {answer.status_code}")
                if not answer.ok:
                    raise _UnknownError(
                        f"{self.place.registry} answers HTTP {answer.status_code} for {self.place.model}"
                    )
                return answer.status_code, self._body(answer, most)
        except requests.RequestException as error:
            raise _SilentError(f"{self.place.registry} does not answer: {why(error)}") from error
        except (OSError, ValueError) as error:
            raise _SilentError(f"{self.place.registry} cannot be asked: {error}") from error

    def _body(self, answer: requests.Response, most: int) -> bytes:
        content = bytearray()
        for part in answer.iter_content(16 * 1024):
            content += part
            if len(content) >= most:
                break
            if time.monotonic() > self.deadline:
                raise _SilentError(f"{self.place.registry} takes more than {LOOKUP_TIMEOUT_S:.0f} s to answer")
        return bytes(content[:most])


def _read_manifest(content: bytes) -> Manifest | None:
    """None when it is no manifest of an Ollama model with weights."""
    try:
        layers = json.loads(content)["layers"]
        loaded = [layer for layer in layers if layer["mediaType"] in _LOADED]
        weights = next(layer["digest"] for layer in loaded if layer["mediaType"] == _WEIGHTS)
        size = sum(_size(layer["size"]) for layer in loaded)
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError):
        return None
    if not isinstance(weights, str) or not _DIGEST.fullmatch(weights) or not 0 < size < _LARGEST_SIZE:
        return None
    return Manifest(size=size, digest=_digest_of(content), blob=weights)


def _size(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def _digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
