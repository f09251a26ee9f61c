"""The gateway's configuration as a Pulumi resource: keys, limits, routing and certificate change while it serves.

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


@dataclass(frozen=True, kw_only=True)
class ProxyConfigurationArgs:
    """engine     how the Docker engine is reached (`components.engine.container_of`)
    container  id of the gateway's container
    files      file name to text; pass those with keys or certificates as secrets
    """

    engine: pulumi.Input[Mapping[str, Any]]
    container: pulumi.Input[str]
    files: pulumi.Input[Mapping[str, str]]


class ProxyConfigurationProvider(ResourceProvider):
    """Delivers files to a running HAProxy and has it take them over."""

    serialize_as_secret_always = False

    @plain_errors
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Whatever differs is delivered again; a gateway found with another configuration too."""
        from components.dynamic import changed

        different = changed(_olds, _news, ("engine", "container", "files"))
        return DiffResult(changes=bool(different) or not _olds.get("revision"))

    @plain_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Put the configuration in force. The id is the revision it was created with."""
        outs = _deliver(props)
        return CreateResult(outs["revision"], outs)

    @plain_errors
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> Updated:
        """The same as create: what is in force already is left alone."""
        return Updated(_deliver(_news))

    @plain_errors
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """The revision in force, none when it is not ours or nobody answers, so that the same update mends it."""
        from components.engine import EngineGoneError, container_of
        from components.proxies.haproxy import revision_of
        from components.proxies.runtime import revision
        from components.reach import UnreachableError

        try:
            with container_of(props["engine"], props["container"]) as container:
                found = revision(container)
        except (EngineGoneError, UnreachableError):
            found = None
        return ReadResult(id_, {**props, "revision": found if found == revision_of(props["files"]) else ""})

    @plain_errors
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing: the files go with the container."""


class ProxyConfiguration(Resource, module="ragstack", name="ProxyConfiguration"):
    """A configuration that the gateway has in force; `revision` names it."""

    revision: pulumi.Output[str]

    def __init__(
        self, resource_name: str, args: ProxyConfigurationArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        props = {"engine": args.engine, "container": args.container, "files": pulumi.Output.secret(args.files)}
        secrets = pulumi.ResourceOptions(additional_secret_outputs=["files"])
        super().__init__(
            ProxyConfigurationProvider(),
            resource_name,
            {**props, "revision": None},
            pulumi.ResourceOptions.merge(opts, secrets),
        )


def _deliver(props: Mapping[str, Any]) -> dict[str, Any]:
    from components.dynamic import report
    from components.engine import container_of
    from components.proxies.runtime import deliver

    with container_of(props["engine"], props["container"]) as container:
        revision = deliver(container, props["files"], report)
    return {key: props[key] for key in ("engine", "container", "files")} | {"revision": revision}
