"""The baselines of the two profiles: what a stack file need not say. Every value can be overridden there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# From the report's section 11: development without restarts and with debug logs, production with both the other way
# round and five rotated files of 100 MB.
_DEV: dict[str, Any] = {
    "ollama": {"environment": {"debug": 1}, "container": {"restart": "no"}},
    "postgres": {"container": {"restart": "no"}},
    "gateway": {"container": {"restart": "no"}},
    "edge": {"container": {"restart": "no"}},
}
_PROD_CONTAINER = {"restart": "always", "log": {"max_size": "100m", "max_file": 5}}
_PROD: dict[str, Any] = {
    "ollama": {"container": _PROD_CONTAINER},
    "postgres": {"container": _PROD_CONTAINER},
    "gateway": {"enabled": True, "container": _PROD_CONTAINER},
    "edge": {"container": _PROD_CONTAINER},
}
BASELINES: dict[str, dict[str, Any]] = {"dev": _DEV, "prod": _PROD}


def overlay(below: Any, above: Any) -> Any:
    """`above` over `below`: mappings are merged key by key, everything else is taken from above."""
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        merged = {key: overlay(below[key], above[key]) for key in below.keys() & above.keys()}
        return {**below, **above, **merged}
    return above
