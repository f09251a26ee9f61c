"""Rules between sections: each names the sections it reads and returns the problems it sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from components.settings.aws import AwsHost
from components.settings.identifiers import owner_of, reader_of
from components.settings.model_reference import read
from components.settings.problems import Problem, set_command
from components.settings.stack import Settings
from components.settings.types import is_loopback


@dataclass(frozen=True, kw_only=True)
class Context:
    """The settings with refused sections at their defaults, and what commands need to name the stack."""

    settings: Settings
    project: str
    stack: str

    def key(self, path: str) -> str:
        return f"{self.project}:{path}"

    def problem(self, path: str, wrong: str, value: str) -> Problem:
        return Problem(key=self.key(path), wrong=wrong, mend=set_command(self.stack, self.key(path), value))


def ports_differ(at: Context) -> Iterator[Problem]:
    ollama, postgres = at.settings.ollama, at.settings.postgres
    if ollama.port == postgres.port and ollama.bind == postgres.bind:
        yield at.problem(
            "postgres.port",
            f"is used twice, by ollama.port too; allowed: any port but {ollama.port}",
            "5432" if ollama.port != 5432 else "5433",
        )


def volumes_differ(at: Context) -> Iterator[Problem]:
    volume = at.settings.ollama.volume
    if volume is not None and volume == at.settings.postgres.volume:
        yield at.problem(
            "postgres.volume", "is used twice, by ollama.volume too; allowed: a volume of its own", "<name>"
        )


def users_are_no_groups(at: Context) -> Iterator[Problem]:
    database = at.settings.postgres.database
    for index, user in enumerate(at.settings.postgres.users):
        if user.name in (owner_of(database), reader_of(database)):
            yield at.problem(
                f"postgres.users[{index}].name",
                f"is the name of a group of the database {database}; "
                f"allowed: any name but {owner_of(database)} and {reader_of(database)}",
                f"{user.role}_user",
            )


def apple_is_at_hand(at: Context) -> Iterator[Problem]:
    host = at.settings.host
    if at.settings.accelerator.kind == "apple" and host.type != "local":
        yield at.problem(
            "accelerator.kind",
            "is apple on a remote host; allowed there: cpu, nvidia, rocm, vulkan (apple means Ollama runs natively on "
            "the Mac at hand, so it needs host.type: local)",
            "nvidia",
        )


def apple_keeps_its_own_server(at: Context) -> Iterator[Problem]:
    if at.settings.accelerator.kind != "apple":
        return
    if at.settings.ollama.models_from == "image" or at.settings.ollama.non_root:
        yield at.problem(
            "accelerator.kind",
            "is apple, which has no Ollama container; allowed with it: models_from: pull and non_root: false",
            "cpu",
        )


def models_are_listed_once(at: Context) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, model in enumerate(at.settings.models):
        name = read(model.name).key
        if name in first:
            key = at.key(f"models[{index}]")
            yield Problem(
                key=f"{key}.name",
                wrong=f"is listed twice, as models[{first[name]}] too; allowed: every model once",
                mend=f"pulumi config rm --stack {at.stack} --path '{key}'",
            )
        first.setdefault(name, index)


def rag_has_an_embedding_model(at: Context) -> Iterator[Problem]:
    if at.settings.ollama.preset == "rag" and at.settings.embedding_model is None:
        index = len(at.settings.models)
        yield Problem(
            key=at.key("models"),
            wrong="lists no model with purpose: embedding, which the preset rag needs; allowed: at least one",
            mend=f"{set_command(at.stack, at.key(f'models[{index}].name'), 'all-minilm:22m')} && "
            + set_command(at.stack, at.key(f"models[{index}].purpose"), "embedding"),
        )


def image_fits_postgres_version(at: Context) -> Iterator[Problem]:
    tag = re.search(r":[^/@]*pg(\d+)", at.settings.images.pgvector or "")
    version = at.settings.postgres.version
    if tag is not None and tag[1] != str(version):
        yield at.problem(
            "postgres.version",
            f"is {version}, but images.pgvector is built for {tag[1]}; allowed: the version in the image's tag",
            tag[1],
        )


def mirrors_can_be_reached(at: Context) -> Iterator[Problem]:
    host = at.settings.host.aws or AwsHost()
    if at.settings.host.type != "aws" or host.network.vpc_id:
        return
    for field, mirror in (("images", at.settings.registry.images), ("models", at.settings.registry.models)):
        port = re.search(r":(\d+)(?:/|$)", mirror)
        if port is not None and int(port[1]) not in host.network.egress_ports:
            yield at.problem(
                f"host.aws.network.egress_ports[{len(host.network.egress_ports)}]",
                f"is missing: registry.{field} is on port {port[1]}, which the machine may not call; "
                "allowed: the ports of all mirrors",
                port[1],
            )


def gateway_is_there(at: Context) -> Iterator[Problem]:
    if at.settings.gateway.enabled:
        return
    for path, asks in (("edge.enabled", at.settings.edge.enabled), ("pool.servers", at.settings.pool.servers > 1)):
        if asks:
            key = at.key("gateway.enabled")
            yield Problem(
                key=at.key(path),
                wrong="needs the gateway, which is off; allowed: with gateway.enabled: true",
                mend=set_command(at.stack, key, "true"),
            )


def edge_ends_tls(at: Context) -> Iterator[Problem]:
    gateway = at.settings.gateway
    if at.settings.edge.enabled and (gateway.tls or not is_loopback(gateway.bind)):
        key = at.key("gateway.tls" if gateway.tls else "gateway.bind")
        yield Problem(
            key=key,
            wrong="is set although the edge, which is on, brings its own certificate; allowed: a gateway on loopback "
            "without tls behind the edge, or the edge off",
            mend=f"pulumi config rm --stack {at.stack} --path '{key}'",
        )


def listed_networks_find_something(at: Context) -> Iterator[Problem]:
    host = at.settings.host.aws or AwsHost()
    if at.settings.host.type == "aws" and host.network.gateway_cidrs and not at.settings.public_ports:
        key = at.key("host.aws.network.gateway_cidrs")
        yield Problem(
            key=key,
            wrong="lists networks, but gateway and edge listen on loopback alone; allowed: with an edge, or a gateway "
            "with tls, that has a public bind",
            mend=f"pulumi config rm --stack {at.stack} --path '{key}'",
        )


def published_ports_differ(at: Context) -> Iterator[Problem]:
    """Of the services beside Ollama's first server and PostgreSQL, which `ports_differ` looks at."""
    settings = at.settings
    taken: dict[int, str] = {settings.postgres.port: "postgres.port"}
    for index in range(settings.pool.servers):
        taken.setdefault(settings.ollama.port + index, "ollama.port" if not index else "pool.servers (ollama.port on)")
    wanted = {"gateway.port": settings.gateway.port, "gateway.metrics_port": settings.gateway.metrics_port}
    if settings.edge.enabled:
        wanted["edge.port"] = settings.edge.port
        if settings.edge.certificate == "automatic":
            wanted["edge.http_port"] = settings.edge.http_port
    if not settings.gateway.enabled:
        return
    if settings.pool.servers > 1 and settings.postgres.port in range(
        settings.ollama.port + 1, settings.ollama.port + settings.pool.servers
    ):
        yield at.problem(
            "postgres.port", "is used twice, by a server of the pool too; allowed: any port of its own", "5432"
        )
    for path, port in wanted.items():
        if port in taken:
            free = next(number for number in range(18000, 65535) if number not in taken)
            yield at.problem(path, f"is used twice, by {taken[port]} too; allowed: any other port", str(free))
        taken.setdefault(port, path)


def pool_has_its_gpus(at: Context) -> Iterator[Problem]:
    pool, accelerator = at.settings.pool, at.settings.accelerator
    if accelerator.kind == "apple" and pool.servers > 1:
        yield at.problem(
            "pool.servers", "is above 1 although Ollama runs natively on the Mac, once; allowed there: 1", "1"
        )
    if pool.gpus and accelerator.kind != "nvidia":
        yield Problem(
            key=at.key("pool.gpus"),
            wrong=f"chooses GPUs although accelerator.kind is {accelerator.kind}; allowed: with nvidia "
            "(rocm and vulkan deal out accelerator.visible_devices)",
            mend=f"pulumi config rm --stack {at.stack} --path '{at.key('pool.gpus')}'",
        )
        return
    if pool.gpus and accelerator.gpus != "all":
        yield Problem(
            key=at.key("pool.gpus"),
            wrong="pins GPUs that accelerator.gpus already pins; allowed: one of the two",
            mend=set_command(at.stack, at.key("accelerator.gpus"), "all"),
        )
    known = declared_gpus(at.settings)
    if known is not None and pool.servers > known:
        yield at.problem(
            "pool.servers", f"is {pool.servers}, but there are {known} GPUs; allowed: from 1 to {known}", str(known)
        )


def declared_gpus(settings: Settings) -> int | None:
    """How many devices the stack file names, None when it names none or leaves it to the machine."""
    accelerator = settings.accelerator
    if accelerator.kind in ("rocm", "vulkan"):
        return len(accelerator.visible_devices) or None
    if accelerator.kind != "nvidia" or accelerator.gpus == "all":
        return None
    return accelerator.gpus if isinstance(accelerator.gpus, int) else len(accelerator.gpus)


# The sections a rule reads: it is skipped where one of them was refused on its own.
RULES: tuple[tuple[frozenset[str], Callable[[Context], Iterator[Problem]]], ...] = (
    (frozenset({"ollama", "postgres"}), ports_differ),
    (frozenset({"ollama", "postgres"}), volumes_differ),
    (frozenset({"postgres"}), users_are_no_groups),
    (frozenset({"accelerator", "host"}), apple_is_at_hand),
    (frozenset({"accelerator", "ollama"}), apple_keeps_its_own_server),
    (frozenset({"gateway", "edge", "pool"}), gateway_is_there),
    (frozenset({"gateway", "edge"}), edge_ends_tls),
    (frozenset({"gateway", "edge", "host"}), listed_networks_find_something),
    (frozenset({"gateway", "edge", "pool", "ollama", "postgres"}), published_ports_differ),
    (frozenset({"pool", "accelerator"}), pool_has_its_gpus),
    (frozenset({"host", "registry"}), mirrors_can_be_reached),
    (frozenset({"models"}), models_are_listed_once),
    (frozenset({"models", "ollama"}), rag_has_an_embedding_model),
    (frozenset({"images", "postgres"}), image_fits_postgres_version),
)
