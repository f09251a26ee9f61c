"""ragstack: a private RAG backend from one typed stack file. Read it top down; every name is a package below it."""

from __future__ import annotations

import pulumi

from components import settings
from components.cancellation import end_quietly_when_cancelled
from components.database.rag_database import RagDatabase, RagDatabaseArgs
from components.hosts import connect, survey
from components.models.models import Models, ModelsArgs
from components.models.registry import look_up
from components.plan import make_plan
from components.proof.proof import Proof, ProofArgs
from components.services import Gateway, Networks, OllamaArgs, OllamaServer, Pgvector, Site

end_quietly_when_cancelled()
stack = settings.load()
found = survey(stack)
plan = make_plan(stack, found.facts, look_up(stack), project=pulumi.get_project(), stack=pulumi.get_stack())
pulumi.log.info("\n".join(plan.lines()))
host = connect(stack, found)

networks = Networks("network", plan.names, host.options)
site = Site(settings=stack, plan=plan, networks=networks, engine=host.engine, address=host.address)
gateway = Gateway("gateway", site, host.options)
ollama = OllamaServer("ollama", OllamaArgs(site=site, gateway=gateway), host.options)
postgres = Pgvector("postgres", site, host.options)

models = Models(
    "models",
    ModelsArgs(
        settings=stack,
        endpoint=ollama.url,
        identity=ollama.identity,
        server=ollama,
        reach=host.reach,
        residents=ollama.residents,
    ),
)
database = RagDatabase(
    "database",
    RagDatabaseArgs(
        settings=stack.postgres,
        host=postgres.host,
        port=postgres.port,
        admin_user=postgres.admin_user,
        admin_password=postgres.admin_password,
        identity=postgres.identity,
        reach=host.reach,
    ),
)
proof = Proof("proof", ProofArgs(settings=stack, plan=plan, host=host, ollama=ollama, models=models, database=database))

pulumi.export("ollama_url", ollama.url)
pulumi.export("ollama_internal_url", ollama.internal_url)
pulumi.export("gateway_url", gateway.url)
pulumi.export("api_keys", gateway.api_keys)
pulumi.export("database_url", database.url)
pulumi.export("database_internal_address", postgres.internal_address)
pulumi.export("database_schema", database.schema)
pulumi.export("chat_models", models.chat)
pulumi.export("embedding_model", models.embedding)
pulumi.export("embedding_dimension", models.embedding_dimension)
pulumi.export("accelerator", stack.accelerator.kind)
pulumi.export("inference", proof.said)
pulumi.export("host_address", host.address)
pulumi.export("reach", host.reach)
pulumi.export("hourly_cost_usd", plan.hourly_cost_usd)
pulumi.export("private_network", networks.private)
pulumi.export("doctor_command", f"make doctor STACK={pulumi.get_stack()}")
