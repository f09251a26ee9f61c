"""The proof as a Pulumi resource: made at the end of an update, made again when images, models or machine change.

The provider is pickled by reference into the state and runs in a plugin process of its own, so it holds nothing,
imports inside its methods, and leaves the work to inference.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider
from pulumi.dynamic import UpdateResult as Updated

from components.dynamic import plain_errors

# What a change of makes a new proof necessary: another container is another image, machine or environment.
_PROVEN_FOR = ("kind", "servers", "models", "digests", "dimension")


@dataclass(frozen=True, kw_only=True)
class InferenceProofArgs:
    """kind          the accelerator that was declared
    engine        how the Docker engine is reached (`components.engine.container_of`)
    reach         how the machine's loopback is reached, None for the one at hand
    servers       mappings of name, url and container (an id, None for a native server)
    models        mappings of the fields of `components.proof.inference.Resident`
    digests       digest of each model's content
    dimension     of the embedding model's vectors by its shape, None when that is not known
    database_url  connection string of the application user; pass it as a secret
    schema        where the application's tables are
    mend          the command that looks closer
    """

    kind: str
    engine: pulumi.Input[Mapping[str, Any]]
    reach: pulumi.Input[Mapping[str, Any]] | None
    servers: pulumi.Input[Sequence[Mapping[str, Any]]]
    models: Sequence[Mapping[str, Any]]
    digests: pulumi.Input[Mapping[str, str]]
    dimension: int | None
    database_url: pulumi.Input[str]
    schema: pulumi.Input[str]
    mend: str


class InferenceProofProvider(ResourceProvider):
    """Loads, looks, asks."""

    serialize_as_secret_always = False

    @plain_errors
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """A proof stands until something that it was made of is another."""
        from components.dynamic import changed

        return DiffResult(changes=bool(changed(_olds, _news, _PROVEN_FOR)))

    @plain_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Prove it. The id says for what."""
        return CreateResult(f"proof-{props['kind']}", {**props, "said": _prove(props)})

    @plain_errors
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> Updated:
        """Prove it anew."""
        return Updated({**_news, "said": _prove(_news)})

    @plain_errors
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing: a proof leaves nothing behind."""


class InferenceProof(Resource, module="ragstack", name="InferenceProof"):
    """Inference that was seen to run on the declared accelerator. `said` is one sentence about it."""

    said: pulumi.Output[str]

    def __init__(
        self, resource_name: str, args: InferenceProofArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        props = {field: getattr(args, field) for field in InferenceProofArgs.__dataclass_fields__}
        props["database_url"] = pulumi.Output.secret(args.database_url)
        secrets = pulumi.ResourceOptions(additional_secret_outputs=["database_url"])
        super().__init__(
            InferenceProofProvider(),
            resource_name,
            {**props, "said": None},
            pulumi.ResourceOptions.merge(opts, secrets),
        )


def _prove(props: Mapping[str, Any]) -> str:
    from components.dynamic import report
    from components.proof.inference import Resident, Server, Stack, prove

    def model(given: Mapping[str, Any]) -> Resident:
        context = given.get("context")
        return Resident(
            name=given["name"],
            purpose=given["purpose"],
            preload=bool(given["preload"]),
            context=int(context) if context else None,
            keep_alive=given.get("keep_alive"),
            servers=tuple(given["servers"]),
        )

    servers = tuple(
        Server(name=server["name"], url=server["url"], container=server.get("container")) for server in props["servers"]
    )
    return prove(
        Stack(
            kind=props["kind"],
            engine=props["engine"],
            reach=props.get("reach"),
            servers=servers,
            residents=tuple(model(given) for given in props["models"]),
            dimension=int(props["dimension"]) if props.get("dimension") else None,
            database_url=props["database_url"],
            schema=props["schema"],
            mend=props["mend"],
        ),
        report,
    )
