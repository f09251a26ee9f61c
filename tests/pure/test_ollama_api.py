"""The HTTP client against a double of Ollama's API, above all where things go wrong; and model names."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import StackError
from components.models import errors, names
from components.models.api import OllamaClient
from components.models.progress import PullProgress
from components.models.pull import PullEvent, PullLimits
from tests.doubles import fake_ollama as double
from tests.doubles.fake_ollama import FakeModel, FakeOllama

MINILM = FakeModel(content="minilm")
NAME = "all-minilm:22m"
QUICK = PullLimits(total_s=20, silence_s=1.0, stall_s=0.3, retry_waits_s=(0.01, 0.01))


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama(models={NAME: MINILM}, registry={NAME: MINILM}) as fake:
        yield fake


@pytest.fixture
def client(ollama: FakeOllama) -> OllamaClient:
    return OllamaClient(ollama.url, connect_timeout=1, read_timeout=1, load_timeout=1)


def test_version_tags_show_and_embed_come_back_typed(client: OllamaClient) -> None:
    assert client.version() == "0.17.4"
    assert client.tags()[0]["digest"] == MINILM.digest
    assert client.show(NAME)["capabilities"] == ["embedding"]
    assert client.embed(NAME, ["one", "two"]) == [list(MINILM.vector)] * 2


def test_a_model_is_found_by_any_spelling_of_its_name(client: OllamaClient) -> None:
    assert client.find("library/ALL-minilm:22m") is not None
    assert client.find("all-minilm:33m") is None


def test_chat_loads_by_generate_and_embedding_by_embed(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.models["tiny:1"] = FakeModel(content="tiny", capabilities=("completion",))
    client.load("tiny:1", "chat", keep_alive="-1", context=2048)
    client.load(NAME, "embedding", keep_alive="5m")
    assert ollama.asked("/api/generate")[0] == {
        "model": "tiny:1", "stream": False, "keep_alive": -1, "options": {"num_ctx": 2048},
    }  # fmt: skip
    assert ollama.asked("/api/embed")[0] == {"model": NAME, "stream": False, "keep_alive": "5m"}
    assert client.is_loaded("tiny:1")
    client.unload(NAME)
    assert not client.is_loaded(NAME)


def test_deleting_a_model_that_is_not_there_succeeds(client: OllamaClient) -> None:
    assert client.delete(NAME) is True
    assert client.delete(NAME) is False


def test_a_model_the_server_lacks_is_named(client: OllamaClient) -> None:
    with pytest.raises(errors.ModelMissingError, match="does not have gone:1"):
        client.embed("gone:1", ["x"])


def test_a_closed_port_is_unreachable_with_address_and_mend(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.stop()
    with pytest.raises(errors.ServerUnreachableError, match=r"127\.0\.0\.1.*connection refused") as caught:
        client.version()
    assert "docker ps" in caught.value.mend


def test_a_server_that_accepts_and_says_nothing_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = OllamaClient(f"http://127.0.0.1:{silent.getsockname()[1]}", connect_timeout=1, read_timeout=0.2)
        with pytest.raises(errors.ServerUnreachableError, match="no answer in time"):
            client.version()


@pytest.mark.parametrize(
    "fault",
    [
        double.says(b"<html>welcome</html>"),
        double.says(b"[]", "application/json"),
        double.says(b"{}", "application/json"),
        double.says(b'{"models": {}}', "application/json"),
        double.says(b'{"models": [{"size": 1}]}', "application/json"),
        double.says(b"", "application/json"),
    ],
)
def test_an_answer_that_is_not_ollamas_is_told_as_such(
    ollama: FakeOllama, client: OllamaClient, fault: double.Fault
) -> None:
    ollama.fail("/api/tags", fault)
    with pytest.raises(errors.BadAnswerError, match="does not answer as Ollama does"):
        client.tags()


def test_an_error_status_carries_the_servers_words(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.fail("/api/embed", double.refuses(500, "model requires more system memory (9.1 GiB) than is available"))
    with pytest.raises(errors.RequestRefusedError, match=r"9\.1 GiB") as caught:
        client.embed(NAME, ["x"])
    assert "more memory" in caught.value.mend


def test_fewer_vectors_than_inputs_are_refused(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.fail("/api/embed", double.says(b'{"embeddings": []}', "application/json"))
    with pytest.raises(errors.BadAnswerError, match="0 vectors for 1 inputs"):
        client.embed(NAME, ["x"])


def test_a_proxy_of_the_environment_is_not_used_for_loopback(
    ollama: FakeOllama, client: OllamaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert client.version() == "0.17.4"
    with pytest.raises(errors.ServerUnreachableError):
        OllamaClient("http://ollama.invalid:11434", connect_timeout=1).version()


def test_waiting_ends_when_the_server_comes_up(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.fail("/api/version", double.refuses(503, "loading"))
    assert client.wait_ready(5.0) == "0.17.4"


def test_waiting_ends_at_its_deadline(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.stop()
    with pytest.raises(errors.ServerUnreachableError):
        client.wait_ready(0.2)


def test_a_pull_tells_every_line_and_ends_with_success(ollama: FakeOllama, client: OllamaClient) -> None:
    seen: list[PullEvent] = []
    client.pull(NAME, insecure=True, on_progress=seen.append, limits=QUICK)
    assert seen[0].status == "pulling manifest"
    assert (seen[3].completed, seen[3].total) == (MINILM.size, MINILM.size)
    assert seen[-1].status == "success"
    assert ollama.asked("/api/pull") == [{"model": NAME, "insecure": True, "stream": True}]


REASONS = [
    ("pull model manifest: file does not exist", errors.ModelUnknownError, "check the name and the tag"),
    (
        'pull model manifest: Get "https://r.invalid/v2/x/manifests/1": dial tcp: lookup r.invalid: no such host',
        errors.RegistryUnreachableError,
        "reach the registry",
    ),
    (
        'pull model manifest: Get "https://m:5055/v2/": http: server gave HTTP response to HTTPS client',
        errors.RegistryUnreachableError,
        "insecure",
    ),
    ("open /root/.ollama/models/blobs/sha256-1-partial: no space left on device", errors.DiskFullError, "more room"),
    ("unauthorized: access denied", errors.PullFailedError, "credentials"),
    ("pull model manifest: 412: requires a newer version of Ollama", errors.PullFailedError, "raise the version"),
    ("http: no Location header in response", errors.RegistryUnreachableError, "redirects"),
    ("something nobody has seen before", errors.PullFailedError, "docker logs"),
]


@pytest.mark.parametrize(("reason", "kind", "mend"), REASONS)
def test_an_error_line_under_200_fails_the_pull_with_the_servers_reason(
    ollama: FakeOllama, client: OllamaClient, reason: str, kind: type[StackError], mend: str
) -> None:
    ollama.fail("/api/pull", double.error_line(reason))
    with pytest.raises(kind) as caught:
        client.pull(NAME, limits=QUICK)
    assert reason in caught.value.cause
    assert mend in caught.value.mend
    assert len(ollama.asked("/api/pull")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        double.cut_at(0.5, MINILM),
        double.ends_without_success,
        double.silent_for(3.0),
        double.stuck_for(2.0, MINILM),
        double.error_line("max retries exceeded: unexpected EOF"),
        double.error_line("digest mismatch, file must be downloaded again: want sha256:a, got sha256:b"),
    ],
)
def test_an_interrupted_pull_is_taken_up_again(ollama: FakeOllama, client: OllamaClient, fault: double.Fault) -> None:
    seen: list[PullEvent] = []
    ollama.fail("/api/pull", fault)
    client.pull(NAME, on_progress=seen.append, limits=QUICK)
    assert len(ollama.asked("/api/pull")) == 2
    assert any("trying again" in event.status for event in seen)
    assert seen[-1].status == "success"


def test_a_download_that_gains_no_byte_is_broken_off_before_the_server_does(
    ollama: FakeOllama, client: OllamaClient
) -> None:
    seen: list[PullEvent] = []
    ollama.fail("/api/pull", double.stuck_for(2.0, MINILM))
    client.pull(NAME, on_progress=seen.append, limits=QUICK)
    assert any("no byte came in" in event.status for event in seen)


def test_a_pull_that_gains_nothing_gives_up_and_says_how_to_go_on(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.fail("/api/pull", *[double.cut_at(0.5, MINILM)] * 3)
    with pytest.raises(errors.PullInterruptedError, match=r"23\.0 of 46\.0 MB") as caught:
        client.pull(NAME, limits=QUICK)
    assert "resumes" in caught.value.mend
    assert len(ollama.asked("/api/pull")) == 3


def test_attempts_that_gain_bytes_do_not_use_up_the_retries(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.fail("/api/pull", *[double.cut_at(share / 10, MINILM) for share in range(1, 8)])
    client.pull(NAME, limits=QUICK)
    assert len(ollama.asked("/api/pull")) == 8


def test_a_server_that_dies_in_the_middle_is_told_as_interruption(ollama: FakeOllama, client: OllamaClient) -> None:
    def die(handler: double.Handler) -> None:
        threading.Thread(target=ollama.stop).start()
        double.cut_at(0.25, MINILM)(handler)

    ollama.fail("/api/pull", die, double.refuses(500, "shutting down: connection reset by peer"))
    with pytest.raises(errors.PullInterruptedError) as caught:
        client.pull(NAME, limits=PullLimits(retry_waits_s=(0.3, 0.1)))
    assert "went away during the pull" in caught.value.cause
    assert "11.5 of 46.0 MB" in caught.value.cause


def test_a_pull_stops_at_its_deadline(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.fail("/api/pull", *[double.stuck_for(5.0, MINILM)] * 2)
    with pytest.raises(errors.PullInterruptedError, match="not done within 0 s"):
        client.pull(NAME, limits=PullLimits(total_s=0.4, stall_s=10, retry_waits_s=(0.01,)))


def test_a_pull_from_what_is_not_ollama_is_told_as_such(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.fail("/api/pull", double.says(b"<html>"), double.says(b"{}\n"), double.says(b"nginx", status=502))
    for _ in range(3):
        with pytest.raises(errors.BadAnswerError, match="does not answer as Ollama does"):
            client.pull(NAME, limits=QUICK)


def test_a_pull_from_nowhere_fails_without_retrying(ollama: FakeOllama, client: OllamaClient) -> None:
    ollama.stop()
    with pytest.raises(errors.ServerUnreachableError):
        client.pull(NAME, limits=PullLimits(retry_waits_s=(60.0,)))


def test_progress_says_share_size_and_rate_since_the_last_line() -> None:
    now = [100.0]
    progress = PullProgress(NAME, clock=lambda: now[0])
    assert progress.line(0.0) == "pulling all-minilm:22m: starting (0 s)"
    progress.event(PullEvent(status="pulling aa", digest="aa", total=100_000_000, completed=10_000_000))
    progress.event(PullEvent(status="pulling aa", digest="aa", total=100_000_000, completed=30_000_000))
    now[0] = 102.0
    assert progress.line(2.0) == "pulling all-minilm:22m: 30 % of 100.0 MB, 10.0 MB/s"
    now[0] = 104.0
    assert progress.line(4.0) == "pulling all-minilm:22m: 30 % of 100.0 MB, 0.0 MB/s"
    progress.event(PullEvent(status="verifying sha256 digest"))
    assert progress.line(6.0) == "pulling all-minilm:22m: verifying sha256 digest (6 s)"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("all-minilm", "all-minilm:latest"),
        ("library/all-minilm:22m", "all-minilm:22m"),
        ("registry.ollama.ai/library/x:1", "x:1"),
        ("someone/x:1", "someone/x:1"),
        ("host.docker.internal:5055/library/x", "host.docker.internal:5055/library/x:latest"),
    ],
)
def test_a_name_is_normalised_to_what_the_server_lists(name: str, short: str) -> None:
    assert names.normalise(name) == short


@pytest.mark.parametrize("name", ["", ":", "x:", "/x", "a b", "x:1/2", "http://h/library/x:1", "-x", "x" * 81])
def test_what_is_no_name_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(StackError, match="is no model name"):
        names.parse(name)


PART = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)


@given(model=PART, tag=PART, namespace=PART, host=PART)
def test_normalising_is_stable_and_keeps_every_part(model: str, tag: str, namespace: str, host: str) -> None:
    full = f"{host}/{namespace}/{model}:{tag}"
    reference = names.parse(full)
    assert (reference.host, reference.namespace, reference.model, reference.tag) == (host, namespace, model, tag)
    assert names.normalise(reference.short) == reference.short
    assert names.same_model(full, full.upper())
    assert not names.same_model(full, names.kept_aside_name(full))


def test_a_digest_is_matched_by_prefix_in_either_spelling() -> None:
    assert names.digest_matches("sha256:" + MINILM.digest, MINILM.digest[:12].upper())
    assert not names.digest_matches(MINILM.digest, "0" * 12)
    assert names.digest_matches(MINILM.digest, None)
    assert names.is_digest("sha256:" + "a" * 64)
    assert not names.is_digest("a" * 11)
