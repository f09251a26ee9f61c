"""Model references as Ollama reads them: `[host[:port]/][namespace/]model[:tag]`.

Defaults and limits on the parts are those of Ollama 0.17.4, types/model/name.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
ALLOWED = "[[host[:port]/]namespace/]model:tag, each part but the host up to 80 characters, such as all-minilm:22m"

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_PARTS = {
    "host": HOST,
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


def names_a_tag(name: str) -> bool:
    """Whether there is a tag: the last colon may be that of a host's port."""
    return name.rfind(":") > name.rfind("/")


def names_a_host(name: str) -> bool:
    """Whether there is a host: to Ollama the first of two parts is a namespace, even when it looks like a host."""
    return name.count("/") > 1


def read(name: str) -> ModelReference:
    """Take a model name apart and fill in Ollama's defaults.

    Raises ValueError, without the name in it, when Ollama would call it an invalid model name.
    """
    rest, tag = name, DEFAULT_TAG
    if names_a_tag(name):
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
            raise ValueError(f"is no model name, because of its {part}; allowed: {ALLOWED}")
    return reference
