"""The proof of a stack: what its parts give, put together for the one resource that looks at them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.database.rag_database import RagDatabase
from components.hosts import DockerHost
from components.models.models import Models
from components.plan import Plan
from components.plan.known_models import known_models
from components.plan.pool import kept_on
from components.proof.resource import InferenceProof, InferenceProofArgs
from components.services.ollama import OllamaServer
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ProofArgs:
    settings: Settings
    plan: Plan
    host: DockerHost
    ollama: OllamaServer
    models: Models
    database: RagDatabase


class Proof(pulumi.ComponentResource):
    """`said`: where inference runs, available once it was seen to."""

    said: pulumi.Output[str]

    def __init__(self, name: str, args: ProofArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:proof:Proof", name, None, opts)
        proof = InferenceProof(
            f"{name}-inference",
            InferenceProofArgs(
                kind=args.settings.accelerator.kind,
                engine=args.host.engine,
                reach=args.host.reach,
                servers=args.ollama.servers,
                models=_models(args.settings, args.plan),
                digests=args.models.digests,
                dimension=_dimension(args.settings),
                database_url=args.database.url,
                schema=args.database.schema,
                mend=f"make doctor STACK={pulumi.get_stack()}",
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.said = proof.said
        self.register_outputs({"said": self.said})


def _models(settings: Settings, plan: Plan) -> list[dict[str, Any]]:
    kept = kept_on(settings, [server.name for server in plan.pool.servers])
    return [
        {
            "name": model.name,
            "purpose": model.purpose,
            "preload": model.preload,
            "context": model.context,
            "keep_alive": model.keep_alive,
            "servers": kept[model.name],
        }
        for model in settings.models
    ]


def _dimension(settings: Settings) -> int | None:
    """Of the embedding model's vectors, by its declared or well-known shape."""
    embedding = settings.embedding_model
    known = next((one for one in known_models(settings) if one.model is embedding), None)
    return known.shape.hidden if known and known.shape and not known.shape.kv_heads else None
