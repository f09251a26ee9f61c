"""What it means for a model to be there: pulled, the one that was pinned, under its declared name, and answering.

Not here: Pulumi. Everything is a function of a client and of what is wanted, and may be called again at any time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.dynamic import Report, still_going, ticking
from components.models import errors
from components.models.api import OllamaClient, Purpose
from components.models.names import bare_digest, digest_matches, kept_aside_name, same_model
from components.models.progress import PullProgress
from components.models.pull import PullLimits

PROBE = "Which document answers the question?"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A declared model: see `components.models.model.ModelArgs` for what each field means."""

    name: str
    source: str
    purpose: Purpose
    insecure: bool = False
    digest: str | None = None
    preload: bool = False
    keep_alive: str | None = None
    context: int | None = None
    pull: bool = True
    pull_timeout_s: float = 3600.0
    config_path: str | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the server says about a model. Sizes in bytes, lengths in tokens, dimension in vector components."""

    digest_found: str
    size_bytes: int
    family: str
    parameter_size: str
    quantization: str
    embedding_dimension: int | None
    context_length: int | None
    capabilities: list[str]


def ensure(client: OllamaClient, wanted: Wanted, tell: Report, residents: Sequence[OllamaClient] = ()) -> Facts:
    """Bring a model to the declared state and prove that it answers; cheap when it already is.

    `residents` are the servers of a pool that have to answer, all with the volume of `client`; none means `client`.

    Raises an OllamaError; DigestMismatchError when what the registry gives is not what was pinned, and then the model
    that was there before, or none, is left behind.
    """
    with still_going(f"waiting for Ollama at {client.base_url}", tell):
        client.wait_ready(30.0)
    present = client.find(wanted.name)
    if present is None or not digest_matches(present["digest"], wanted.digest):
        _bring(client, wanted, present, tell)
    dimension = None
    for server in residents or (client,):
        server.wait_ready(30.0)
        dimension = _prove(server, wanted, tell)
    facts = inspect(client, wanted.name)
    if facts is None:
        raise errors.ModelMissingError(f"{wanted.name} was removed while it was set up", "run `pulumi up` again")
    return Facts(**(vars(facts) | ({"embedding_dimension": dimension} if dimension else {})))


def inspect(client: OllamaClient, name: str) -> Facts | None:
    """What the server says about a model, or None when it is not there. The dimension is the metadata's."""
    entry = client.find(name)
    if entry is None:
        return None
    shown = client.show(name)
    details, info = shown.get("details") or {}, shown.get("model_info") or {}
    capabilities = [str(capability) for capability in shown.get("capabilities") or []]
    return Facts(
        digest_found=str(entry["digest"]),
        size_bytes=int(entry["size"]),
        family=str(details.get("family", "")),
        parameter_size=str(details.get("parameter_size", "")),
        quantization=str(details.get("quantization_level", "")),
        embedding_dimension=_length(info, "embedding_length"),
        context_length=_length(info, "context_length"),
        capabilities=capabilities,
    )


def remove(client: OllamaClient, name: str) -> bool:
    """Remove a model and what an interrupted exchange kept aside; False when the model was not there."""
    client.delete(kept_aside_name(name))
    return client.delete(name)


def _bring(client: OllamaClient, wanted: Wanted, present: Mapping[str, Any] | None, tell: Report) -> None:
    if not wanted.pull:
        raise _not_baked(client, wanted, present)
    if same_model(wanted.source, wanted.name):
        _pull_in_place(client, wanted, present, tell)
    else:
        _pull_aside(client, wanted, tell)


def _pull_in_place(client: OllamaClient, wanted: Wanted, present: Mapping[str, Any] | None, tell: Report) -> None:
    aside = kept_aside_name(wanted.name)
    if present is not None:
        client.copy(wanted.name, aside)
    _pull(client, wanted, tell)
    mismatch = _mismatch(client, wanted, wanted.name)
    if mismatch and present is not None:
        client.copy(aside, wanted.name)
    elif mismatch:
        client.delete(wanted.name)
    client.delete(aside)
    if mismatch:
        raise mismatch


def _pull_aside(client: OllamaClient, wanted: Wanted, tell: Report) -> None:
    had_source = client.find(wanted.source) is not None
    _pull(client, wanted, tell)
    mismatch = _mismatch(client, wanted, wanted.source)
    if not mismatch:
        # Files that only the old version used go with its name; a copy over it would orphan them.
        client.delete(wanted.name)
        client.copy(wanted.source, wanted.name)
    if not had_source:
        client.delete(wanted.source)
    if mismatch:
        raise mismatch


def _pull(client: OllamaClient, wanted: Wanted, tell: Report) -> None:
    progress, started = PullProgress(wanted.name), time.monotonic()
    tell(f"pulling {wanted.name}" + ("" if wanted.source == wanted.name else f" from {wanted.source}"))
    with ticking(lambda passed: tell(progress.line(passed))):
        limits = PullLimits(total_s=wanted.pull_timeout_s)
        client.pull(wanted.source, wanted.insecure, progress.event, limits)
    entry = client.find(wanted.source)
    size = f"{entry['size'] / 1e6:.1f} MB, digest {entry['digest'][:12]}" if entry else "gone again"
    tell(f"pulled {wanted.name}: {size}, {time.monotonic() - started:.1f} s")


def _prove(client: OllamaClient, wanted: Wanted, tell: Report) -> int | None:
    """Have the model answer; for an embedding model the answer's length is its dimension."""
    _fits_purpose(client, wanted)
    keep_alive = wanted.keep_alive
    if not wanted.preload and not client.is_loaded(wanted.name):
        keep_alive = "0"
    with still_going(f"loading {wanted.name}", tell):
        if wanted.purpose == "chat":
            _load_chat(client, wanted, keep_alive)
            return None
        vector = client.embed(wanted.name, [PROBE], keep_alive, wanted.context)[0]
    length = math.sqrt(sum(component * component for component in vector))
    if not vector or not math.isfinite(length) or length == 0:
        raise errors.BadAnswerError(
            f"{wanted.name} answers with a vector of {len(vector)} components and length {length}",
            "choose another embedding model, or another quantization of it",
        )
    return len(vector)


def _load_chat(client: OllamaClient, wanted: Wanted, keep_alive: str | None) -> None:
    # An empty request with keep_alive 0 means "unload" and loads nothing, so a passing proof is two requests.
    if keep_alive == "0":
        client.load(wanted.name, "chat", "1m", wanted.context)
        client.unload(wanted.name)
    else:
        client.load(wanted.name, "chat", keep_alive, wanted.context)


def _fits_purpose(client: OllamaClient, wanted: Wanted) -> None:
    needed = {"chat": "completion", "embedding": "embedding"}[wanted.purpose]
    capabilities = client.show(wanted.name).get("capabilities")
    if capabilities and needed not in capabilities:
        raise errors.RequestRefusedError(
            f"{wanted.name} is declared for {wanted.purpose}, but can only do: {', '.join(capabilities)}",
            f"set its purpose to what it can do, or choose another model ({wanted.config_path or 'ragstack:models'})",
        )


def _mismatch(client: OllamaClient, wanted: Wanted, pulled_as: str) -> errors.DigestMismatchError | None:
    entry = client.find(pulled_as)
    found = str(entry["digest"]) if entry else "nothing"
    if entry and digest_matches(found, wanted.digest):
        return None
    return errors.DigestMismatchError(
        f"{wanted.name} is pinned to digest {bare_digest(wanted.digest or '')}, but {wanted.source} gave {found}; "
        "the model was not changed",
        _accept(wanted, found),
    )


def _not_baked(client: OllamaClient, wanted: Wanted, present: Mapping[str, Any] | None) -> errors.OllamaError:
    if present is None:
        return errors.ModelMissingError(
            f"{wanted.name} is not in the image of the Ollama server at {client.base_url}, and nothing is pulled",
            "build the image with this model, or let the stack pull its models",
        )
    return errors.DigestMismatchError(
        f"{wanted.name} is pinned to digest {bare_digest(wanted.digest or '')}, but the image has {present['digest']}",
        _accept(wanted, str(present["digest"])),
    )


def _accept(wanted: Wanted, found: str) -> str:
    if wanted.config_path:
        return f"to accept it: pulumi config set --path '{wanted.config_path}.digest' {found}"
    return f"to accept it, set the digest of {wanted.name} in the stack file to {found}"


def _length(info: Mapping[str, Any], key: str) -> int | None:
    """A length in the metadata, whose key carries the family's name in front: `bert.embedding_length`."""
    found = (value for name, value in info.items() if name.endswith("." + key))
    return next((int(value) for value in found if isinstance(value, (int, float))), None)
