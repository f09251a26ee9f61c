"""The model resource on a real Ollama, pulling from a real registry, in containers of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from docker.models.containers import Container

from components import dynamic
from components.models import errors, lifecycle
from components.models.api import OllamaClient
from components.models.model import ModelProvider
from tests.live.fixtures_containers import MODEL_REGISTRY, OLLAMA_IMAGE, free_port, running
from tests.live.slow_registry import SlowRegistry

EMBEDDER = "all-minilm:22m"
CHAT = "tiny-chat:random"
UPSTREAM = "http://127.0.0.1:" + MODEL_REGISTRY.rpartition(":")[2]


def mirrored(name: str) -> str:
    return f"{MODEL_REGISTRY}/library/{name}"


@pytest.fixture
def ollama() -> Iterator[tuple[Container, str]]:
    """An empty server and its URL. It keeps partial downloads over a restart, as the stack's own does."""
    with running(OLLAMA_IMAGE, 11434, free_port(), environment={"OLLAMA_NOPRUNE": "1"}) as (container, port):
        url = f"http://127.0.0.1:{port}"
        OllamaClient(url).wait_ready(60)
        yield container, url


@pytest.fixture
def provider() -> ModelProvider:
    return ModelProvider()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the update's status line said, at a pace that small models show."""
    lines: list[str] = []
    monkeypatch.setattr(dynamic, "report", lines.append)
    monkeypatch.setattr(lifecycle, "ticking", lambda tick: dynamic.ticking(tick, every=0.1))
    return lines


@pytest.fixture
def slow(ollama: tuple[Container, str]) -> Iterator[SlowRegistry]:
    """4 MB/s: about eleven seconds for the embedding model."""
    container = ollama[0]
    container.reload()
    bridge = container.attrs["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    with SlowRegistry(UPSTREAM, bridge, rate=4e6) as registry:
        yield registry


def inputs(url: str, name: str = EMBEDDER, **changes: Any) -> dict[str, Any]:
    purpose = "chat" if name == CHAT else "embedding"
    plain = {"endpoint": url, "name": name, "source": mirrored(name), "insecure": True, "purpose": purpose}
    return plain | {"server": "one", "pull": True} | changes


def create(provider: ModelProvider, props: dict[str, Any]) -> dict[str, Any]:
    outs = provider.create(props).outs
    assert outs is not None
    return outs


def pulls(container: Container) -> int:
    return int(container.logs().decode().count('"/api/pull"'))


def names(url: str) -> set[str]:
    return {entry["name"] for entry in OllamaClient(url).tags()}


def eventually_unloaded(client: OllamaClient, name: str) -> bool:
    """Ollama answers a request to unload before it has done so."""
    deadline = time.monotonic() + 15
    while client.is_loaded(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not client.is_loaded(name)


def test_models_go_through_their_lives(ollama: tuple[Container, str], provider: ModelProvider, said: list[str]) -> None:
    container, url = ollama
    client = OllamaClient(url)
    wanted = inputs(url, preload=True, keep_alive="-1")
    state = create(provider, wanted)
    assert (state["embedding_dimension"], state["family"]) == (384, "bert")
    assert state["capabilities"] == ["embedding"]
    assert state["size_bytes"] > 20_000_000
    assert len(state["digest_found"]) == 64
    assert said[0] == f"pulling {EMBEDDER} from {mirrored(EMBEDDER)}"
    assert any("% of" in line and "MB/s" in line for line in said), said
    assert names(url) == {EMBEDDER}
    assert client.is_loaded(EMBEDDER)
    assert client.ps()[0]["expires_at"] > "2100", "keep_alive -1 did not mean for good"

    chat = create(provider, inputs(url, CHAT))
    assert eventually_unloaded(client, CHAT), "a model without preload was left in memory after its proof"
    assert chat["embedding_dimension"] is None or chat["embedding_dimension"] > 0
    assert client.chat(CHAT, [{"role": "user", "content": "hello"}], {"num_predict": 4, "seed": 1})
    assert client.generate(CHAT, "hello", {"num_predict": 4}) is not None

    pulled = pulls(container)
    assert create(provider, wanted) == state
    assert pulls(container) == pulled, "a model that was there was pulled again"
    assert not provider.diff(EMBEDDER, state, wanted).changes
    assert provider.read(EMBEDDER, state).outs == state

    assert container.exec_run(["ollama", "rm", EMBEDDER]).exit_code == 0
    assert not provider.read(EMBEDDER, state).id
    assert create(provider, wanted) == state

    client.unload(CHAT)
    provider.delete(EMBEDDER, state)
    provider.delete(CHAT, chat)
    provider.delete(CHAT, chat)
    assert names(url) == set()


def test_vectors_of_paraphrases_are_near_and_of_strangers_far(
    ollama: tuple[Container, str], provider: ModelProvider
) -> None:
    _, url = ollama
    create(provider, inputs(url))
    lines = ["How do I reset my password?", "I forgot my login credentials", "The recipe needs two eggs"]
    one, near, far = OllamaClient(url).embed(EMBEDDER, lines)

    def dot(left: list[float], right: list[float]) -> float:
        return sum(x * y for x, y in zip(left, right, strict=True))

    assert dot(one, near) > dot(one, far) + 0.2


def test_a_pin_holds_and_a_wrong_one_leaves_what_was_there(
    ollama: tuple[Container, str], provider: ModelProvider
) -> None:
    _, url = ollama
    with pytest.raises(errors.DigestMismatchError) as caught:
        provider.create(inputs(url, digest="0" * 64))
    assert names(url) == set()
    found = caught.value.mend.rsplit(" ", 1)[-1]
    state = create(provider, inputs(url, digest=found[:12]))
    assert state["digest_found"] == found
    with pytest.raises(errors.DigestMismatchError):
        provider.update(EMBEDDER, state, inputs(url, digest="0" * 64))
    assert names(url) == {EMBEDDER}
    assert len(OllamaClient(url).embed(EMBEDDER, ["still answers"])[0]) == 384


def test_a_model_pulled_by_its_own_name_survives_a_wrong_pin(
    ollama: tuple[Container, str], provider: ModelProvider
) -> None:
    _, url = ollama
    name = mirrored(EMBEDDER)
    state = create(provider, inputs(url, name=name, source=name))
    with pytest.raises(errors.DigestMismatchError):
        provider.update(name, state, inputs(url, name=name, source=name, digest="0" * 64))
    assert names(url) == {name}
    assert len(OllamaClient(url).embed(name, ["still answers"])[0]) == 384


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        (mirrored("no-such-model:1"), errors.ModelUnknownError, "file does not exist"),
        (f"{MODEL_REGISTRY}/library/all-minilm:no-such-tag", errors.ModelUnknownError, "file does not exist"),
        ("127.0.0.1:9/library/all-minilm:22m", errors.RegistryUnreachableError, "connection refused"),
        ("registry.invalid/library/all-minilm:22m", errors.RegistryUnreachableError, "lookup registry.invalid"),
    ],
)
def test_a_pull_that_cannot_be_says_why(
    ollama: tuple[Container, str], provider: ModelProvider, source: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        provider.create(inputs(ollama[1], source=source))
    assert names(ollama[1]) == set()


def test_a_registry_without_tls_is_told_as_such(ollama: tuple[Container, str], provider: ModelProvider) -> None:
    with pytest.raises(errors.RegistryUnreachableError) as caught:
        provider.create(inputs(ollama[1], insecure=False))
    assert "plain HTTP" in caught.value.mend


def test_an_image_without_its_baked_model_is_told_as_such(
    ollama: tuple[Container, str], provider: ModelProvider
) -> None:
    with pytest.raises(errors.ModelMissingError, match="is not in the image"):
        provider.create(inputs(ollama[1], pull=False))


def test_an_embedding_model_is_refused_as_chat(ollama: tuple[Container, str], provider: ModelProvider) -> None:
    with pytest.raises(errors.RequestRefusedError, match="declared for chat, but can only do: embedding"):
        provider.create(inputs(ollama[1], purpose="chat"))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_goes_away_during_a_pull_fails_it_and_the_next_one_completes(
    ollama: tuple[Container, str], provider: ModelProvider, slow: SlowRegistry, end: str
) -> None:
    container, url = ollama
    wanted = inputs(url, source=f"host.docker.internal:{slow.port}/library/{EMBEDDER}")

    def go_away() -> None:
        slow.wait_until_sent(12_000_000)
        getattr(container, end)()

    thread = threading.Thread(target=go_away)
    thread.start()
    with pytest.raises(
        errors.PullInterruptedError, match=r"went away during the pull of .*, \d+\.\d of \d+\.\d MB done"
    ):
        provider.create(wanted)
    thread.join()
    slow.rate = 1e9
    container.start()
    assert create(provider, wanted)["embedding_dimension"] == 384


def test_a_server_that_restarts_is_waited_for_within_the_same_pull(
    ollama: tuple[Container, str], provider: ModelProvider, slow: SlowRegistry, said: list[str]
) -> None:
    container, url = ollama

    def come_back() -> None:
        slow.wait_until_sent(12_000_000)
        container.restart(timeout=5)

    thread = threading.Thread(target=come_back)
    thread.start()
    state = create(provider, inputs(url, source=f"host.docker.internal:{slow.port}/library/{EMBEDDER}"))
    thread.join()
    assert state["embedding_dimension"] == 384
    assert any("interrupted" in line for line in said), said
    assert len(slow.ranges) > 1, "the download was not interrupted, so this test saw nothing"


def test_a_pull_stops_at_its_timeout_and_the_next_one_resumes_at_the_byte(
    ollama: tuple[Container, str], provider: ModelProvider, slow: SlowRegistry
) -> None:
    started = time.monotonic()
    source = f"host.docker.internal:{slow.port}/library/{EMBEDDER}"
    with pytest.raises(errors.PullInterruptedError, match="not done within 3 s") as caught:
        provider.create(inputs(ollama[1], source=source, pull_timeout_s=3))
    assert time.monotonic() - started < 10
    assert "resumes" in caught.value.mend
    slow.rate = 1e9
    assert create(provider, inputs(ollama[1], source=source))["embedding_dimension"] == 384
    assert max(slow.ranges) > 4_000_000, f"the download began from scratch: {slow.ranges}"


def test_a_full_disk_is_told_as_such(provider: ModelProvider) -> None:
    with running(OLLAMA_IMAGE, 11434, tmpfs={"/models": "size=16m"}, environment={"OLLAMA_MODELS": "/models"}) as (
        _,
        port,
    ):
        url = f"http://127.0.0.1:{port}"
        OllamaClient(url).wait_ready(60)
        with pytest.raises(errors.DiskFullError, match="no space left on device") as caught:
            provider.create(inputs(url))
        assert "more room" in caught.value.mend
        assert names(url) == set()
