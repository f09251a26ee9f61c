"""The declared models: there, the pinned ones, in memory, and with the context that was declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.models.names import digest_matches, same_model
from components.plan.known_models import known_models
from components.plan.memory import context_of
from components.plan.pool import kept_on
from components.settings.models import Model
from doctor.checks.ollama import ANSWERS
from doctor.finding import Check, Finding
from doctor.subject import Server, Subject

PRESENT = "models.present"
RESIDENT = "models.resident"


def _present(subject: Subject) -> Iterator[Finding]:
    for server in subject.serving:
        have = [entry["name"] for entry in subject.tags(server)]
        for model in subject.settings.models:
            if not any(same_model(name, model.name) for name in have):
                yield Finding(seen=f"{server.name} does not have {model.name}", mend=subject.up_command)
        others = [name for name in have if not any(same_model(name, one.name) for one in subject.settings.models)]
        beside = f", and {', '.join(sorted(others))} that nobody declared" if others else ""
        yield Finding(seen=f"{server.name} has {len(have)} models{beside}")


def _digest(subject: Subject) -> Iterator[Finding]:
    for model in subject.settings.models:
        found = {server.name: _entry(subject.tags(server), model) for server in subject.serving}
        digests = {name: str(entry["digest"]) for name, entry in found.items() if entry}
        for name, digest in digests.items():
            if model.digest and not digest_matches(digest, model.digest):
                yield Finding(
                    seen=f"{model.name} on {name} is {digest[:12]}, and {model.digest[:12]} is pinned",
                    mend=f"take the pin back or accept {digest[:12]}, then {subject.up_command}",
                )
        if len(set(digests.values())) > 1:
            yield Finding(
                seen=f"the servers have {model.name} in different contents: {digests}", mend=subject.up_command
            )
    yield Finding(seen="every model is the one that is pinned, and the same on every server")


def _entry(entries: list[dict[str, Any]], model: Model) -> dict[str, Any] | None:
    return next((entry for entry in entries if same_model(entry["name"], model.name)), None)


def _kept_on(subject: Subject, model: Model) -> list[Server]:
    """The servers that are to keep a model loaded."""
    kept = kept_on(subject.settings, [server.name for server in subject.servers])[model.name]
    return [server for server in subject.serving if model.preload and server.name in kept]


def _is_kept_for_good(subject: Subject, model: Model) -> bool:
    """Whether its declared time never ends; one that has gone out after its time is well."""
    keep = model.keep_alive or subject.settings.ollama.variables().get("OLLAMA_KEEP_ALIVE", "5m")
    return keep.startswith("-")


def _loaded(subject: Subject, server: Server) -> list[dict[str, Any]]:
    with subject.ollama(server) as client:
        return client.ps()


def _resident(subject: Subject) -> Iterator[Finding]:
    for model in subject.settings.models:
        for server in _kept_on(subject, model):
            if _entry(_loaded(subject, server), model) or not _is_kept_for_good(subject, model):
                continue
            yield Finding(
                seen=f"{model.name} is not in the memory of {server.name}",
                mend=f"python -m doctor --stack {subject.stack} --fix loads it; if it goes again: "
                f"{subject.set_command('ollama.environment.max_loaded_models', len(subject.settings.models))}",
                fix=lambda model=model, server=server: _load(subject, model, server),  # type: ignore[misc]
            )
    yield Finding(seen="every model that is to stay in memory is there")


def _load(subject: Subject, model: Model, server: Server) -> str:
    with subject.patient_ollama(server) as client:
        client.load(model.name, model.purpose, keep_alive=model.keep_alive, context=model.context)
    return f"loaded {model.name} on {server.name}"


def _context(subject: Subject) -> Iterator[Finding]:
    shapes = {one.model.name: one.shape for one in known_models(subject.settings)}
    for model in subject.settings.models:
        shape = shapes[model.name]
        declared = context_of(subject.settings, model)
        wanted = min(declared, shape.context) if shape else declared
        for server in subject.serving:
            entry = _entry(_loaded(subject, server), model)
            has = int((entry or {}).get("context_length") or wanted)
            # A model whose shape is not known may have been made for less than is declared for all.
            if has < wanted and (shape or model.context):
                yield Finding(
                    seen=f"{model.name} is loaded on {server.name} for {has} tokens, and {wanted} are declared",
                    mend=f"leave num_ctx out of the client's requests, or declare models[].context; now: "
                    f"python -m doctor --stack {subject.stack} --fix",
                    fix=lambda model=model, server=server: _load(subject, model, server),  # type: ignore[misc]
                )
    yield Finding(seen="models are loaded for the context that is declared")


CHECKS: tuple[Check, ...] = (
    Check(
        name=PRESENT,
        title="every declared model is on every server",
        why="A request for a model that is not there is an error, and Ollama pulls nothing by itself.",
        look=_present,
        after=(ANSWERS,),
    ),
    Check(
        name="models.digest",
        title="every model is the one that is pinned",
        why="A tag can get another content, with other answers and other vectors than the stored ones.",
        look=_digest,
        after=(ANSWERS,),
    ),
    Check(
        name=RESIDENT,
        title="models that are to stay loaded are loaded",
        why="The next request waits for the load, up to minutes.",
        look=_resident,
        after=(ANSWERS, PRESENT),
    ),
    Check(
        name="models.context",
        title="models are loaded for the declared context",
        why="A prompt that is longer is cut at its beginning, without an error: a RAG answer then misses its sources.",
        look=_context,
        after=(ANSWERS, PRESENT),
    ),
)
