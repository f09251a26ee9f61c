"""A looked-up value that is taken once and then kept: an AMI or a zone must not move because AWS's answer did.

As with models, the provider is pickled by reference into the state and runs in a plugin process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

from components.dynamic import plain_errors


@dataclass(frozen=True, kw_only=True)
class PinnedArgs:
    """`offered`: what a look-up gives now, taken when the resource is made; `reason`: whatever has to change for the
    offered value to be taken instead of the kept one."""

    offered: str
    reason: str


class PinnedProvider(ResourceProvider):
    """Takes a value once; another reason takes the value offered then."""

    serialize_as_secret_always = False

    @plain_errors
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """What is merely offered anew is no change."""
        from components.dynamic import changed

        different = changed(_olds, _news, ["reason"])
        return DiffResult(changes=bool(different), replaces=different)

    @plain_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        """The id is the value."""
        return CreateResult(props["offered"], {**props, "value": props["offered"]})


class Pinned(Resource, module="ragstack", name="Pinned"):
    """`value` is what was taken."""

    value: pulumi.Output[str]

    def __init__(self, resource_name: str, args: PinnedArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {"offered": args.offered, "reason": args.reason, "value": None}
        super().__init__(PinnedProvider(), resource_name, props, opts)
