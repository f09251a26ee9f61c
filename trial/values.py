"""Property values as the Pulumi runtime sends them, and what can be said about them without a resource provider.

A value is None, bool, int, float, str, list, dict or `Secret` around one of these; `UNKNOWN` stands for what only an
update can tell. Assets, archives and resource references are refused: no resource implemented here takes one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime import rpc

from components.errors import StackError

UNKNOWN: str = rpc.UNKNOWN
# Stands for an output that this runner cannot give; a text, so that it is still found after the program used it in one.
UNAVAILABLE = "(not available under the trial runner)"
PROVIDER_KEY = "__provider"
_SIGNATURE = "4dabf18193072939515e22adb298388d"  # the key that marks a special value on the wire: pulumi.runtime.rpc
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a mark, not a secret


@dataclass(frozen=True)
class Secret:
    """A value that may be stored in the private state file and handed to a provider, and never printed."""

    value: Any

    def __repr__(self) -> str:
        return "[secret]"


def decode(struct: struct_pb2.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """Properties from the wire or from the state file, as a dict with `Secret` exactly where the sender marked one.

    Raises StackError on an asset, an archive or a resource reference.
    """
    fields = struct.fields if isinstance(struct, struct_pb2.Struct) else struct
    return {key: _decode(value) for key, value in fields.items()}


def _decode(value: Any) -> Any:
    if isinstance(value, struct_pb2.Value):
        value = _unpacked(value)
    if isinstance(value, (Mapping, struct_pb2.Struct)):
        return _decode_object(decode(value))
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value


def _unpacked(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind == "number_value":
        # Every number is a double on the wire; whole ones are what the program wrote as integers.
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    return list(value.list_value.values) if kind == "list_value" else getattr(value, kind)


def _decode_object(fields: dict[str, Any]) -> Any:
    signature = fields.get(_SIGNATURE)
    if signature is None:
        return fields
    if signature == _SECRET:
        return Secret(fields.get("value"))
    raise StackError(
        "A resource takes an asset, an archive or another resource as a value, which the trial runner cannot pass on.",
        "give the file's content as text, or run this stack with the Pulumi engine: `pulumi up`",
    )


def encode(value: Any) -> Any:
    """The inverse of `decode`: plain JSON types, with secrets in the wire's own marking."""
    if isinstance(value, Secret):
        return {_SIGNATURE: _SECRET, "value": encode(value.value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def to_struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """Properties for the wire. `None` is left out, because the runtime treats an absent property alike."""
    struct = struct_pb2.Struct()
    struct.update({key: encode(value) for key, value in values.items() if value is not None})
    return struct


def plain(value: Any) -> Any:
    """The value with every secret laid open, for hashing and for providers."""
    return _map(value, lambda secret: plain(secret.value))


def masked(value: Any) -> Any:
    """The value with `[secret]` in place of every secret, for printing."""
    return _map(value, lambda _secret: "[secret]")


def _map(value: Any, on_secret: Callable[[Secret], Any]) -> Any:
    if isinstance(value, Secret):
        return on_secret(value)
    if isinstance(value, Mapping):
        return {key: _map(item, on_secret) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map(item, on_secret) for item in value]
    return value


def secret_strings(value: Any, inside: bool = False) -> Iterator[str]:
    """Every string under a secret. A pickled provider is left out: it is code, and far too long to search for."""
    if isinstance(value, Secret):
        yield from secret_strings(value.value, inside=True)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != PROVIDER_KEY:
                yield from secret_strings(item, inside)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secret_strings(item, inside)
    elif inside and isinstance(value, str) and value != UNKNOWN:
        yield value


def has_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(has_secret(item) for item in value.values())
    return isinstance(value, Secret) or (isinstance(value, (list, tuple)) and any(has_secret(item) for item in value))


def has_unknown(value: Any) -> bool:
    """Whether an update must run before this value can be told."""
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def has_unavailable(value: Any) -> bool:
    """Whether an output that this runner cannot give went into this value."""
    return UNAVAILABLE in canonical(value)


def mark_outputs(outputs: Mapping[str, Any], inputs: Mapping[str, Any], secret_keys: list[str]) -> dict[str, Any]:
    """Outputs with secrets marked as the engine would: those the program names, and those that echo a secret input."""
    marked: dict[str, Any] = {}
    for key, value in outputs.items():
        given = inputs.get(key)
        if key in secret_keys or key == PROVIDER_KEY:
            marked[key] = value if isinstance(value, Secret) else Secret(value)
        elif has_secret(given):
            marked[key] = given if plain(given) == plain(value) else Secret(plain(value))
        else:
            marked[key] = value
    return marked


def canonical(value: Any) -> str:
    """One text per value: keys sorted, absent and null alike, secrets laid open."""
    return json.dumps(_without_nulls(plain(value)), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def digest(key: bytes, type_: str, inputs: Mapping[str, Any]) -> str:
    """HMAC-SHA256 of the canonical inputs, 64 hex digits.

    Keyed, because it is written to labels that anyone on the Docker engine reads: a bare hash of inputs that hold a
    short secret could be searched for.
    """
    return hmac.new(key, f"{type_}\n{canonical(inputs)}".encode(), hashlib.sha256).hexdigest()


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Top-level keys whose values differ, sorted; null and absent are the same."""
    return sorted(key for key in {*old, *new} if canonical(old.get(key)) != canonical(new.get(key)))
