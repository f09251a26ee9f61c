"""When two names or digests mean the same model; the grammar is `components/settings/model_reference.py`."""

from __future__ import annotations

import hashlib
import re

from components.errors import StackError
from components.settings.model_reference import ModelReference, read

MIN_DIGEST_HEX = 12


def parse(name: str) -> ModelReference:
    """Read a model name and fill in Ollama's defaults.

    Raises StackError when Ollama would call it an invalid model name.
    """
    try:
        return read(name)
    except ValueError as error:
        wrong, _, allowed = str(error).partition("; allowed: ")
        raise StackError(f"{name!r} {wrong}", f"write it as {allowed}") from None


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
