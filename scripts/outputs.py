"""A stack's outputs as the commands need them: complete, or refused by name."""

from __future__ import annotations

from typing import Any

from components.errors import StackError


def complete(outputs: dict[str, Any], *names: str) -> dict[str, Any]:
    """The outputs, with every one of `names` among them. Raises `StackError` when some are missing.

    An update that broke off leaves only those outputs behind that were known by then.
    """
    missing = [name for name in names if outputs.get(name) is None]
    if missing:
        raise StackError(f"The stack is not complete: it has no {', '.join(missing)}.", "make up")
    return outputs
