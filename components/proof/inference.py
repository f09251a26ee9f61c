"""Proves that inference runs where it was declared to: every resident model on every server that keeps it.

Not here: Pulumi. A function of what a running stack answers; it loads models and writes one table that it drops again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.dynamic import Report, still_going
from components.engine import container_of, run
from components.errors import StackError
from components.models.api import OllamaClient
from components.models.names import same_model
from components.models.placement import library_fault, placement_fault
from components.proof.round_trip import (
    PARAPHRASES,
    PASSAGES,
    QUESTION,
    Hit,
    cosine,
    prompt,
    refuse_wrong_passage,
    search,
)
from components.reach import forwarded_url

if TYPE_CHECKING:
    from docker.models.containers import Container

ANSWER_TOKENS = 16
_LOG_LINES = 2000
# How a container shows that it has the device: by the vendor's tool, or by a node that its user may open.
_SEEN_BY: dict[str, tuple[str, ...]] = {
    "nvidia": ("nvidia-smi", "-L"),
    "rocm": ("sh", "-c", "if command -v rocm-smi; then rocm-smi --showid; else test -r /dev/kfd -a -w /dev/kfd; fi"),
    "vulkan": ("sh", "-c", "for node in /dev/dri/renderD*; do test -r $node -a -w $node && exit 0; done; exit 1"),
}
_WHAT = {"nvidia": "nvidia-smi -L", "rocm": "rocm-smi or /dev/kfd", "vulkan": "a render node in /dev/dri"}


class NotOnAcceleratorError(StackError):
    """Inference would not run on the accelerator that was declared."""


NotOnAcceleratorError.__module__ = "builtins"


@dataclass(frozen=True, kw_only=True)
class Server:
    """An Ollama server: its name, its URL as its machine reaches it, its container, None for a native server."""

    name: str
    url: str
    container: str | None


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A declared model and the names of the servers that answer for it. `context` in tokens."""

    name: str
    purpose: str
    preload: bool
    context: int | None
    keep_alive: str | None
    servers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What is proven. `engine` and `reach` as in `components.engine` and `components.reach`; `dimension` is what the
    embedding model's shape says its vectors have, None when that is not known."""

    kind: str
    engine: Mapping[str, Any]
    reach: Mapping[str, Any] | None
    servers: tuple[Server, ...]
    residents: tuple[Resident, ...]
    dimension: int | None
    database_url: str
    schema: str
    mend: str


def prove(stack: Stack, tell: Report) -> str:
    """A sentence that says where inference runs and what was answered.

    Raises `NotOnAcceleratorError` with everything that is wrong, `StackError` when the models do not answer as they
    should.
    """
    faults = [fault for server in stack.servers for fault in _faults(stack, server, tell)]
    if faults:
        raise NotOnAcceleratorError(
            f"accelerator.kind is {stack.kind}, but inference would not run on it: {'; '.join(faults)}.", stack.mend
        )
    answered = _round_trip(stack, tell)
    where = "the CPU" if stack.kind == "cpu" else stack.kind
    kept = [resident.name for resident in stack.residents if resident.preload]
    said = f"inference runs on {where}: {', '.join(kept) or 'no model is kept loaded'}; {answered}"
    tell(said)
    return said


def _faults(stack: Stack, server: Server, tell: Report) -> Iterator[str]:
    """What is wrong with a server, the cause before its consequence."""
    misplaced = []
    with _client(stack, server) as client:
        for resident in stack.residents:
            if not resident.preload or server.name not in resident.servers:
                continue
            with still_going(f"loading {resident.name} on {server.name}", tell):
                client.load(
                    resident.name,
                    "embedding" if resident.purpose == "embedding" else "chat",
                    keep_alive=resident.keep_alive,
                    context=resident.context,
                )
            loaded = next((entry for entry in client.ps() if same_model(entry["name"], resident.name)), None)
            if loaded is None:
                raise StackError(
                    f"{resident.name} was loaded on {server.name} and is gone again at once.",
                    f"see the server's log, or keep fewer models loaded; {stack.mend}",
                )
            misplaced += [fault] if (fault := placement_fault(stack.kind, loaded)) else []
    if stack.kind == "cpu":
        return
    if server.container:
        with container_of(stack.engine, server.container) as container:
            yield from (f"{server.name}: {fault}" for fault in _container_faults(stack.kind, container, misplaced))
    yield from (f"{server.name}: {fault}" for fault in misplaced)


def _container_faults(kind: str, container: Container, misplaced: Sequence[str]) -> Iterator[str]:
    if kind in _SEEN_BY:
        code, said = run(container, *_SEEN_BY[kind])
        if code:
            last = (said.splitlines() or ["it printed nothing"])[-1]
            yield f"its container does not see the device by {_WHAT[kind]}: {last}"
    if misplaced:
        log = container.logs(tail=_LOG_LINES).decode(errors="replace")
        if fault := library_fault(kind, log):
            yield fault


def _round_trip(stack: Stack, tell: Report) -> str:
    """Embeds, stores, searches and answers, as far as there are models for it; what was answered, in a few words."""
    embedder = next((one for one in stack.residents if one.purpose == "embedding"), None)
    chat = next((one for one in stack.residents if one.purpose == "chat"), None)
    said = []
    if embedder:
        vectors, hits = _retrieve(stack, embedder, tell)
        said.append(f"{embedder.name} finds the right passage with {len(vectors)} dimensions")
        tell(f"nearest passage at cosine distance {hits[0].distance:.3f}")
    if chat:
        with _client(stack, _home(stack, chat)) as client, still_going(f"asking {chat.name}", tell):
            options = {"num_predict": ANSWER_TOKENS} | ({"num_ctx": chat.context} if chat.context else {})
            text = client.generate(chat.name, prompt(), options=options, keep_alive=chat.keep_alive)
        if not text:
            raise StackError(f"{chat.name} gave an empty answer.", f"is it a chat model? {stack.mend}")
        said.append(f"{chat.name} answers")
    return " and ".join(said)


def _retrieve(stack: Stack, embedder: Resident, tell: Report) -> tuple[list[float], list[Hit]]:
    triples = [text for triple in PARAPHRASES for text in triple]
    with (
        _client(stack, _home(stack, embedder)) as client,
        forwarded_url(stack.reach, stack.database_url) as database_url,
    ):
        with still_going(f"embedding with {embedder.name}", tell):
            texts = [QUESTION, *PASSAGES, *triples]
            vectors = client.embed(embedder.name, texts, embedder.keep_alive, embedder.context)
        question, passages, rest = vectors[0], vectors[1 : len(PASSAGES) + 1], vectors[len(PASSAGES) + 1 :]
        _refuse_wrong_dimension(stack, embedder, len(question))
        _refuse_no_sense(embedder, rest)
        hits = search(database_url, stack.schema, question, passages)
    refuse_wrong_passage(hits, embedder.name)
    return question, hits


def _refuse_wrong_dimension(stack: Stack, embedder: Resident, found: int) -> None:
    if stack.dimension and found != stack.dimension:
        raise StackError(
            f"{embedder.name} gave vectors of {found} dimensions, and its shape says {stack.dimension}: something else "
            "answers under its name.",
            f"pin its digest (models[].digest) and pull it again; {stack.mend}",
        )


def _refuse_no_sense(embedder: Resident, vectors: Sequence[Sequence[float]]) -> None:
    """A model whose weights are broken, or which is none for embedding, still gives vectors."""
    for index, (sentence, same, other) in enumerate(PARAPHRASES):
        one, alike, unlike = vectors[3 * index : 3 * index + 3]
        if cosine(one, alike) <= cosine(one, unlike):
            raise StackError(
                f"{embedder.name} puts {other!r} nearer to {sentence!r} than {same!r}: its vectors carry no meaning.",
                "check that it is an embedding model for English, and pull it again",
            )


def _home(stack: Stack, model: Resident) -> Server:
    return next(server for server in stack.servers if server.name in model.servers)


@contextmanager
def _client(stack: Stack, server: Server) -> Iterator[OllamaClient]:
    with forwarded_url(stack.reach, server.url) as url, OllamaClient(url) as client:
        yield client
