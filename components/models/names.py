"""Model references as Ollama reads them: `[host[:port]/][namespace/]model[:tag]`.

Defaults and limits on the parts are those of Ollama 0.17.4, types/model/name.go.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from components.errors import StackError

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
MIN_DIGEST_HEX = 12

_PARTS = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """One model name with every part filled in."""

    model: str
    tag: str = DEFAULT_TAG
    namespace: str = DEFAULT_NAMESPACE
    host: str = DEFAULT_HOST

    @property
    def short(self) -> str:
        """The name as /api/tags lists it: default host and namespace left out, the tag always there."""
        if self.host.lower() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    @property
    def key(self) -> str:
        """What two names of the same model have in common: Ollama ignores case."""
        return self.short.lower()


def parse(name: str) -> ModelReference:
    """Read a model name and fill in Ollama's defaults.

    Raises StackError when Ollama would call it an invalid model name.
    """
    rest, tag = name, DEFAULT_TAG
    if name.rfind(":") > name.rfind("/"):
        rest, _, tag = name.rpartition(":")
    parts = rest.rsplit("/", 2)
    reference = ModelReference(
        model=parts[-1],
        tag=tag,
        namespace=parts[-2] if len(parts) > 1 else DEFAULT_NAMESPACE,
        host=parts[-3] if len(parts) > 2 else DEFAULT_HOST,
    )
    for part, pattern in _PARTS.items():
        if not pattern.fullmatch(getattr(reference, part)):
            raise StackError(
                f"{name!r} is no model name: {part} {getattr(reference, part)!r} is not allowed",
                "write it as [host[:port]/][namespace/]model:tag, for example all-minilm:22m",
            )
    return reference


def normalise(name: str) -> str:
    """The name as /api/tags lists it. Raises StackError as `parse` does."""
    return parse(name).short


def same_model(one: str, other: str) -> bool:
    """Whether two names mean the same model to Ollama. Raises StackError as `parse` does."""
    return parse(one).key == parse(other).key


def kept_aside_name(name: str) -> str:
    """Where the present version of a model waits while its successor is pulled; never the name of a declared model."""
    reference = parse(name)
    mark = hashlib.sha256(reference.key.encode()).hexdigest()[:MIN_DIGEST_HEX]
    return f"ragstack-previous/{mark}:{reference.tag}"


def bare_digest(digest: str) -> str:
    """A digest as lower-case hex without the `sha256:` in front of it."""
    return digest.strip().lower().removeprefix("sha256:")


def is_digest(digest: str) -> bool:
    """Whether a pin is a SHA-256 digest in hex, whole (64) or its first 12 or more."""
    return re.fullmatch(rf"[0-9a-f]{{{MIN_DIGEST_HEX},64}}", bare_digest(digest)) is not None


def digest_matches(found: str, pin: str | None) -> bool:
    """Whether a model's digest is the pinned one; without a pin every digest is."""
    return not pin or bare_digest(found).startswith(bare_digest(pin))
