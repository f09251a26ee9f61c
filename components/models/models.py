"""The models a stack declares, each a resource of its own on one server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.models.model import Model, ModelArgs
from components.settings import Settings
from components.settings.models import Model as DeclaredModel
from components.settings.types import duration_seconds


@dataclass(frozen=True, kw_only=True)
class ModelsArgs:
    """`endpoint`: the server's URL as its machine reaches it; `reach`: how to get to that machine, None for the one at
    hand; `identity`: changes with the server; `server`: the component that goes when the whole stack goes, and then
    spares the models on their volume; `residents`: of a pool, a model's name to the servers' URLs that keep it."""

    settings: Settings
    endpoint: pulumi.Input[str]
    identity: pulumi.Input[str]
    server: pulumi.Resource
    reach: pulumi.Input[Mapping[str, Any]] | None = None
    residents: Mapping[str, Sequence[pulumi.Input[str]]] = field(default_factory=dict)


class Models(pulumi.ComponentResource):
    """`chat` and `embedding` are names, available once every model has answered. `embedding_dimension` is the length of
    a vector as the model really returned it; both are None in a stack without an embedding model. `digests`: name to
    the digest of the content that is there."""

    chat: pulumi.Output[list[str]]
    embedding: pulumi.Output[str | None]
    embedding_dimension: pulumi.Output[int | None]
    digests: pulumi.Output[dict[str, str]]

    def __init__(self, name: str, args: ModelsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:models:Models", name, None, opts)
        settings = args.settings
        children = {
            model.name: Model(
                f"{name}-{model.name}",
                _model_args(args, index, model),
                # Removing a model from the stack file deletes it; destroying the stack keeps it on the volume.
                pulumi.ResourceOptions(parent=self, deleted_with=args.server),
            )
            for index, model in enumerate(settings.models)
        }
        self.chat = pulumi.Output.all(*(children[model.name].name for model in settings.chat_models))
        embedding = settings.embedding_model
        nothing = pulumi.Output.from_input(None)
        self.embedding = children[embedding.name].name if embedding else nothing
        self.embedding_dimension = children[embedding.name].embedding_dimension if embedding else nothing
        self.digests = pulumi.Output.all(**{name: child.digest_found for name, child in children.items()})
        self.register_outputs({"chat": self.chat, "embedding": self.embedding})


def _model_args(args: ModelsArgs, index: int, model: DeclaredModel) -> ModelArgs:
    settings = args.settings
    return ModelArgs(
        endpoint=args.endpoint,
        name=model.name,
        source=settings.model_source(model.name),
        insecure=settings.registry.models_insecure,
        purpose=model.purpose,
        digest=model.digest,
        preload=model.preload,
        keep_alive=model.keep_alive,
        context=model.context,
        pull=settings.ollama.models_from == "pull",
        pull_timeout_s=duration_seconds(model.pull_timeout),
        server=args.identity,
        reach=args.reach,
        resident=list(args.residents.get(model.name) or ()) or None,
        config_path=f"{pulumi.get_project()}:models[{index}]",
    )
