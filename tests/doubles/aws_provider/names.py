"""Which property names a type has, read from the argument classes of the installed pulumi_aws."""

from __future__ import annotations

import importlib
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from threading import Lock
from typing import Any

# pulumi's own reading of its @input_type classes; private, and stable since 3.0.
from pulumi._types import input_type_types, is_input_type

# pulumi_aws imports its modules when they are first used, which two threads must not do at once.
_importing = Lock()


def properties_of(token: str) -> Mapping[str, Any]:
    """camelCase name -> type, of a token such as `aws:ec2/instance:Instance`."""
    with _importing:
        return _read(token)


@cache
def _read(token: str) -> Mapping[str, Any]:
    _, module, name = token.split(":")
    package = importlib.import_module(f"pulumi_aws.{module.split('/')[0]}")
    return dict(input_type_types(getattr(package, f"{name}Args")))


def unknown_in(properties: Mapping[str, Any], known: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """The paths of properties that the type does not have, `metadataOptions.httpToken`."""
    for key, value in properties.items():
        if key not in known:
            yield f"{at}{key}"
            continue
        inner = _class_in(known[key])
        for item in value if isinstance(value, list) else [value]:
            if inner and isinstance(item, dict):
                yield from unknown_in(item, input_type_types(inner), f"{at}{key}.")


def _class_in(type_: Any) -> Any:
    """The argument class that a type is, or holds as Input, Optional or Sequence."""
    if isinstance(type_, type) and is_input_type(type_):
        return type_
    return next((found for found in map(_class_in, typing.get_args(type_)) if found), None)
