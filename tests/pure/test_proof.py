"""What the proof of inference refuses, and with which reason, against a double of Ollama's API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from components.errors import StackError
from components.proof import inference
from components.proof.inference import NotOnAcceleratorError, Resident, Server, Stack, prove
from components.proof.resource import InferenceProofProvider
from components.proof.round_trip import PARAPHRASES, PASSAGES, RIGHT, Hit, cosine, refuse_wrong_passage
from tests.doubles.fake_ollama import FakeModel, FakeOllama, Handler
from tests.pure.test_placement import CPU, CUDA, START

EMBEDDER = "all-minilm:22m"
CHAT = "tiny:1"
SIZE = 1000


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    models = {EMBEDDER: FakeModel(content="e"), CHAT: FakeModel(content="c", capabilities=("completion",))}
    with FakeOllama(models=models) as fake:
        yield fake


def lies(on_accelerator: int, name: str = EMBEDDER) -> Callable[[Handler], None]:
    return lambda handler: handler.answer({"models": [{"name": name, "size": SIZE, "size_vram": on_accelerator}]})


def resident(name: str = EMBEDDER, purpose: str = "embedding", **changes: Any) -> Resident:
    fields = {"preload": True, "context": 512, "keep_alive": "-1", "servers": ("ollama-1",), **changes}
    return Resident(name=name, purpose=purpose, **fields)


def stack(ollama: FakeOllama, kind: str = "apple", *residents: Resident, **changes: Any) -> Stack:
    fields: dict[str, Any] = {
        "servers": (Server(name="ollama-1", url=ollama.url, container=None if kind == "apple" else "abc"),),
        "residents": residents or (resident(),),
        "dimension": None,
        **changes,
    }
    return Stack(
        kind=kind, engine={}, reach=None, database_url="postgresql://none", schema="rag", mend="make doctor", **fields
    )


def quiet(_message: str) -> None:
    pass


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Plays the server's container: what the device's tool says in it, with its exit code, and the server's log."""

    def play(code: int, said: str, log: str) -> None:
        found = SimpleNamespace(
            exec_run=lambda _command: SimpleNamespace(exit_code=code, output=said.encode()),
            logs=lambda tail: log.encode(),
        )

        @contextmanager
        def container_of(_engine: Any, _container: str) -> Iterator[Any]:
            yield found

        monkeypatch.setattr(inference, "container_of", container_of)

    return play


@pytest.mark.parametrize(
    ("on_accelerator", "words"),
    [(0, "lies wholly in the machine's memory"), (750, "lies only to 75 % on the accelerator")],
)
def test_a_model_that_is_not_wholly_on_the_accelerator_fails(
    ollama: FakeOllama, on_accelerator: int, words: str
) -> None:
    ollama.fail("/api/ps", lies(on_accelerator))
    with pytest.raises(NotOnAcceleratorError) as caught:
        prove(stack(ollama), quiet)
    assert (
        "accelerator.kind is apple, but inference would not run on it: ollama-1: all-minilm:22m" in caught.value.cause
    )
    assert words in caught.value.cause
    assert caught.value.mend == "make doctor"


def test_the_reason_stands_before_its_consequence(ollama: FakeOllama, container: Callable[..., None]) -> None:
    ollama.fail("/api/ps", lies(0))
    container(127, "nvidia-smi: not found", f"{START}\n{CPU}")
    with pytest.raises(NotOnAcceleratorError) as caught:
        prove(stack(ollama, "nvidia"), quiet)
    said = caught.value.cause
    order = ["does not see the device by nvidia-smi -L: nvidia-smi: not found", "found no cuda device", "lies wholly"]
    assert [said.index(words) for words in order] == sorted(said.index(words) for words in order)


@pytest.mark.parametrize("kind", ["nvidia", "rocm", "vulkan"])
def test_a_container_that_lost_its_device_fails_although_its_models_still_lie_there(
    ollama: FakeOllama, container: Callable[..., None], kind: str
) -> None:
    ollama.fail("/api/ps", lies(SIZE))
    container(1, "Failed to initialize NVML: Unknown Error", f"{START}\n{CUDA}")
    with pytest.raises(NotOnAcceleratorError, match="its container does not see the device"):
        prove(stack(ollama, kind), quiet)


def test_a_model_that_is_gone_again_at_once_fails(ollama: FakeOllama) -> None:
    ollama.fail("/api/ps", lambda handler: handler.answer({"models": []}))
    with pytest.raises(StackError, match="was loaded on ollama-1 and is gone again at once"):
        prove(stack(ollama), quiet)


def test_it_loads_with_the_declared_context_and_time_and_nothing_that_is_not_to_stay(ollama: FakeOllama) -> None:
    ollama.fail("/api/ps", lies(0))
    with pytest.raises(NotOnAcceleratorError):
        prove(stack(ollama, "apple", resident(), resident(CHAT, "chat", preload=False)), quiet)
    (load,) = ollama.asked("/api/embed")
    assert (load["model"], load["keep_alive"], load["options"]) == (EMBEDDER, -1, {"num_ctx": 512})
    assert ollama.asked("/api/generate") == []


def test_vectors_of_another_dimension_than_the_models_shape_fail(ollama: FakeOllama) -> None:
    ollama.fail("/api/ps", lies(0))
    with pytest.raises(StackError, match="gave vectors of 4 dimensions, and its shape says 384"):
        prove(stack(ollama, "cpu", dimension=384), quiet)


def test_vectors_without_meaning_fail(ollama: FakeOllama) -> None:
    ollama.fail("/api/ps", lies(0))
    with pytest.raises(StackError, match="its vectors carry no meaning"):
        prove(stack(ollama, "cpu", dimension=4), quiet)


def test_an_empty_answer_fails(ollama: FakeOllama) -> None:
    ollama.fail("/api/ps", lies(0, CHAT))
    with pytest.raises(StackError, match="tiny:1 gave an empty answer"):
        prove(stack(ollama, "cpu", resident(CHAT, "chat")), quiet)


def test_the_wrong_passage_fails() -> None:
    refuse_wrong_passage([Hit(text=RIGHT, distance=0.1)], EMBEDDER)
    with pytest.raises(StackError, match="The nearest passage is not the one that answers"):
        refuse_wrong_passage([Hit(text=PASSAGES[1], distance=0.1)], EMBEDDER)


def test_cosine_tells_alike_from_unlike() -> None:
    assert cosine([3.0, 0.0], [5.0, 0.0]) == pytest.approx(1.0)
    assert cosine([1.0, 0.0], [0.0, 2.0]) == pytest.approx(0.0)
    assert len({text for triple in PARAPHRASES for text in triple}) == 9


PROOF: dict[str, Any] = {
    "kind": "nvidia",
    "servers": [{"name": "ollama-1", "url": "http://127.0.0.1:11434", "container": "abc"}],
    "models": [{"name": EMBEDDER}],
    "digests": {EMBEDDER: "1"},
    "dimension": 384,
    "database_url": "postgresql://rag:one@127.0.0.1/rag",
    "reach": None,
}


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({}, False),
        ({"database_url": "postgresql://rag:two@127.0.0.1/rag"}, False),
        ({"servers": [{"name": "ollama-1", "url": "http://127.0.0.1:11434", "container": "def"}]}, True),
        ({"digests": {EMBEDDER: "2"}}, True),
        ({"models": [{"name": EMBEDDER}, {"name": CHAT}]}, True),
        ({"kind": "cpu"}, True),
    ],
)
def test_it_is_made_again_only_when_what_it_was_made_of_changes(change: dict[str, Any], again: bool) -> None:
    assert InferenceProofProvider().diff("proof", PROOF, {**PROOF, **change}).changes is again
