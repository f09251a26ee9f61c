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


# The sections a rule reads: it is skipped where one of them was refused on its own.
RULES: tuple[tuple[frozenset[str], Callable[[Context], Iterator[Problem]]], ...] = (
    (frozenset({"ollama", "postgres"}), ports_differ),
    (frozenset({"ollama", "postgres"}), volumes_differ),
    (frozenset({"postgres"}), users_are_no_groups),
    (frozenset({"accelerator", "host"}), apple_is_at_hand),
    (frozenset({"accelerator", "ollama"}), apple_keeps_its_own_server),
    (frozenset({"host", "registry"}), mirrors_can_be_reached),
    (frozenset({"models"}), models_are_listed_once),
    (frozenset({"models", "ollama"}), rag_has_an_embedding_model),
    (frozenset({"images", "postgres"}), image_fits_postgres_version),
)
