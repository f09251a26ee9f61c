"""What needs no AWS: which inputs are right, what a change would replace, which outputs are not known yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.doubles.aws_provider.base import Resource
from tests.doubles.aws_provider.calls import Aws
from tests.doubles.aws_provider.names import properties_of, unknown_in
from trial.values import UNKNOWN, changed_keys, has_unknown

# The real provider's bridge notes here which inputs it filled in by itself.
DEFAULTS = "__defaults"
_SUFFIX_DIGITS = 7


def failures(resource: Resource, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(property, reason) for what the real provider does not have, and for what this double does not map."""
    declared = {key: value for key, value in given.items() if key != DEFAULTS}
    for path in unknown_in(declared, properties_of(resource.token)):
        yield path, f"an unknown property: {resource.token} has no {path}"
    for key in sorted(set(declared) & set(properties_of(resource.token)) - resource.mapped):
        yield key, f"the double does not map {key}"


def completed(
    resource: Resource, name: str, given: Mapping[str, Any], old: Mapping[str, Any], seed: bytes
) -> dict[str, Any]:
    """The inputs with the provider's defaults, and a name that an existing resource keeps."""
    inputs: dict[str, Any] = {key: value for key, value in given.items() if key != DEFAULTS and value is not None}
    filled = [key for key in resource.defaults if key not in inputs]
    inputs |= {key: resource.defaults[key] for key in filled}
    if resource.autoname and resource.autoname not in inputs:
        kept = old.get(resource.autoname) if resource.autoname in old.get(DEFAULTS, []) else None
        inputs[resource.autoname] = kept or f"{name}-{seed.hex()[:_SUFFIX_DIGITS]}"
        filled.append(resource.autoname)
    return {**inputs, DEFAULTS: sorted(filled)}


def difference(
    resource: Resource, aws: Aws, old: Mapping[str, Any], new: Mapping[str, Any], state: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """(what differs, what of it replaces), as paths. Changed default tags differ in the output `tagsAll`."""
    changed = [key for key in changed_keys(old, new) if key != DEFAULTS]
    replaces = []
    for path in sorted(resource.replaces):
        key, _, inner = path.partition(".")
        if key in changed and (not inner or _at(old, key, inner) != _at(new, key, inner)):
            replaces.append(key)
    replaces += resource.replaced_as_well(new, set(changed))
    if resource.tagged and not has_unknown(new.get("tags")) and "tags" not in changed:
        changed += ["tagsAll"] if aws.tags(new) != (state.get("tagsAll") or {}) else []
    return changed, sorted(set(replaces))


def deletes_first(resource: Resource, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """As the real provider's bridge: two cannot exist under one name, unless the name is made up anew."""
    name = resource.autoname
    return bool(name) and name not in new.get(DEFAULTS, []) and old.get(name) == new.get(name)


def planned(resource: Resource, aws: Aws, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a creation that has not happened."""
    outputs = dict.fromkeys(resource.computed, UNKNOWN)
    return {**outputs, **without_notes(inputs), **tags_of(resource, aws, inputs)}


def tags_of(resource: Resource, aws: Aws, inputs: Mapping[str, Any]) -> dict[str, Any]:
    if not resource.tagged:
        return {}
    return {"tagsAll": UNKNOWN if inputs.get("tags") == UNKNOWN else aws.tags(inputs)}


def without_notes(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if key != DEFAULTS}


def drifted(inputs: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as AWS has them now, wherever it can be told by a plain value."""
    seen = {key: found[key] for key, value in inputs.items() if key in found and isinstance(value, (str, int, bool))}
    return {**inputs, **seen}


def _at(properties: Mapping[str, Any], key: str, inner: str) -> Any:
    value = properties.get(key)
    return value.get(inner) if isinstance(value, dict) else value
