"""A server's membership in the pool as a Pulumi resource: made once it answers, ended once it has nothing in hand.

It depends on the id of the server's container and is replaced with it. The engine takes away what depends on a
container before the container itself, which is what makes an update drain a server first.
The provider is pickled by reference into the state and runs in a plugin process of its own, so it holds nothing,
imports inside its methods, and leaves the work to runtime.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider
from pulumi.dynamic import UpdateResult as Updated

from components.dynamic import plain_errors

# Seconds until a server that is healthy by its own check is so by the gateway's: name resolution and one check.
READY_S = 30.0


@dataclass(frozen=True, kw_only=True)
class PoolMemberArgs:
    """engine     how the Docker engine is reached (`components.engine.container_of`)
    gateway    name of the gateway's container: its id may change while the member stays
    server     the server's name within the gateway
    container  id of the server's container
    drain_s    seconds that a server may take to finish what it has in hand
    """

    engine: pulumi.Input[Mapping[str, Any]]
    gateway: pulumi.Input[str]
    server: str
    container: pulumi.Input[str]
    drain_s: float


class PoolMemberProvider(ResourceProvider):
    """Opens and closes the gateway's way to one server."""

    serialize_as_secret_always = False

    @plain_errors
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another container is another member, and the former has to go first."""
        from components.dynamic import changed

        replaced = changed(_olds, _news, ("container", "server"))
        different = changed(_olds, _news, ("engine", "gateway", "drain_s"))
        return DiffResult(
            changes=bool(replaced or different or not _olds.get("serving")),
            replaces=replaced,
            delete_before_replace=True,
        )

    @plain_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Give the server work, once the gateway finds it healthy. The id is the server's name."""
        return CreateResult(props["server"], _join(props))

    @plain_errors
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> Updated:
        """The same as create."""
        return Updated(_join(_news))

    @plain_errors
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """As it is in the state: whether a server answers is what the gateway's own checks are for."""
        return ReadResult(id_, props)

    @plain_errors
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Let the server finish. A gateway that is gone sends it nothing anyway."""
        from components.dynamic import report, warn
        from components.engine import EngineGoneError, container_of
        from components.proxies.runtime import drain
        from components.reach import UnreachableError

        try:
            with container_of(_props["engine"], _props["gateway"]) as gateway:
                finished = drain(gateway, _props["server"], float(_props["drain_s"]), report)
        except (EngineGoneError, UnreachableError):
            return
        if not finished:
            warn(f"{_props['server']} still had requests in hand after {_props['drain_s']:g} s; they are broken off")


class PoolMember(Resource, module="ragstack", name="PoolMember"):
    """A server that the gateway gives work to."""

    server: pulumi.Output[str]

    def __init__(self, resource_name: str, args: PoolMemberArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props = {field: getattr(args, field) for field in PoolMemberArgs.__dataclass_fields__}
        super().__init__(PoolMemberProvider(), resource_name, {**props, "serving": None}, opts)


def _join(props: Mapping[str, Any]) -> dict[str, Any]:
    from components.dynamic import report as tell
    from components.dynamic import still_going
    from components.engine import container_of
    from components.errors import StackError
    from components.proxies.runtime import is_known, ready

    with container_of(props["engine"], props["gateway"]) as gateway:
        with still_going(f"waiting until the gateway finds {props['server']} healthy", tell):
            serving = ready(gateway, props["server"], READY_S)
        if not serving:
            why = "does not answer it" if is_known(gateway, props["server"]) else "is not in its configuration"
            raise StackError(
                f"The gateway gives {props['server']} no work: it {why} after {READY_S:.0f} s.",
                f"docker logs {gateway.name} and docker logs of the server's container say why",
            )
    return {key: props[key] for key in PoolMemberArgs.__dataclass_fields__} | {"serving": True}
