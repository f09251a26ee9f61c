"""The model resource against a double of Ollama's API: what it asks, what it leaves behind, what it reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc

from components import dynamic
from components.models import errors, lifecycle, model
from components.models.api import OllamaClient
from components.models.model import ModelProvider
from components.models.names import kept_aside_name
from tests.doubles import fake_ollama as double
from tests.doubles.fake_ollama import FakeModel, FakeOllama

NAME = "all-minilm:22m"
MIRRORED = "mirror:5055/library/all-minilm:22m"
MINILM = FakeModel(content="minilm")
NEWER = FakeModel(content="minilm, retrained", dimension=4)
CHAT = FakeModel(content="tiny", capabilities=("completion",))


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama(registry={NAME: MINILM, MIRRORED: MINILM, "tiny:1": CHAT}) as fake:
        yield fake


@pytest.fixture
def provider() -> ModelProvider:
    return ModelProvider()


def inputs(ollama: FakeOllama, **changes: Any) -> dict[str, Any]:
    plain = {
        "endpoint": ollama.url,
        "name": NAME,
        "source": NAME,
        "purpose": "embedding",
        "server": "one",
        "pull": True,
    }
    return plain | changes


def created(provider: ModelProvider, props: dict[str, Any]) -> dict[str, Any]:
    outs = provider.create(props).outs
    assert outs is not None
    return outs


def test_creating_pulls_proves_and_reports(ollama: FakeOllama, provider: ModelProvider) -> None:
    result = provider.create(inputs(ollama))
    assert result.id == NAME
    assert result.outs is not None
    assert result.outs["digest_found"] == MINILM.digest
    assert (result.outs["size_bytes"], result.outs["embedding_dimension"]) == (MINILM.size, 4)
    assert (result.outs["family"], result.outs["context_length"]) == ("bert", 512)
    assert result.outs["endpoint"] == ollama.url, "inputs are part of the outputs, or read and delete could not work"
    assert len(ollama.asked("/api/embed")) == 1


def test_a_model_that_is_there_is_not_pulled_again(ollama: FakeOllama, provider: ModelProvider) -> None:
    ollama.models[NAME] = MINILM
    created(provider, inputs(ollama, digest=MINILM.digest[:12]))
    assert ollama.asked("/api/pull") == []


def test_preloading_leaves_it_in_memory_and_proving_alone_does_not(ollama: FakeOllama, provider: ModelProvider) -> None:
    created(provider, inputs(ollama, preload=True, keep_alive="-1"))
    assert ollama.loaded == {NAME}
    ollama.loaded.clear()
    created(provider, inputs(ollama))
    created(provider, inputs(ollama, name="tiny:1", source="tiny:1", purpose="chat"))
    assert ollama.loaded == set()


def test_proving_does_not_unload_what_somebody_uses(ollama: FakeOllama, provider: ModelProvider) -> None:
    ollama.models |= {NAME: MINILM, "tiny:1": CHAT}
    ollama.loaded |= {NAME, "tiny:1"}
    created(provider, inputs(ollama))
    created(provider, inputs(ollama, name="tiny:1", source="tiny:1", purpose="chat"))
    assert ollama.loaded == {NAME, "tiny:1"}


def test_a_mirrored_model_gets_its_declared_name_and_loses_the_mirrors(
    ollama: FakeOllama, provider: ModelProvider
) -> None:
    created(provider, inputs(ollama, source=MIRRORED, insecure=True))
    assert set(ollama.models) == {NAME}
    assert ollama.asked("/api/pull")[0]["insecure"] is True


def test_a_name_the_server_had_before_is_not_taken_away(ollama: FakeOllama, provider: ModelProvider) -> None:
    ollama.models[MIRRORED] = MINILM
    created(provider, inputs(ollama, source=MIRRORED))
    assert set(ollama.models) == {NAME, MIRRORED}


@pytest.mark.parametrize("source", [NAME, MIRRORED])
def test_a_model_that_is_not_the_pinned_one_is_not_left_behind(
    ollama: FakeOllama, provider: ModelProvider, source: str
) -> None:
    wanted = inputs(ollama, source=source, digest="0" * 64, config_path="ragstack:models[0]")
    with pytest.raises(errors.DigestMismatchError) as caught:
        provider.create(wanted)
    assert "0" * 64 in caught.value.cause
    assert MINILM.digest in caught.value.cause
    assert f"pulumi config set --path 'ragstack:models[0].digest' {MINILM.digest}" in caught.value.mend
    assert ollama.models == {}


@pytest.mark.parametrize("source", [NAME, MIRRORED])
def test_the_version_before_survives_a_mismatch(ollama: FakeOllama, provider: ModelProvider, source: str) -> None:
    ollama.models[NAME] = MINILM
    ollama.registry |= {NAME: NEWER, MIRRORED: NEWER}
    with pytest.raises(errors.DigestMismatchError):
        provider.create(inputs(ollama, source=source, digest="0" * 12))
    assert ollama.models == {NAME: MINILM}


@pytest.mark.parametrize("source", [NAME, MIRRORED])
def test_a_changed_pin_brings_the_pinned_version(ollama: FakeOllama, provider: ModelProvider, source: str) -> None:
    old = created(provider, inputs(ollama, source=source))
    ollama.registry |= {NAME: NEWER, MIRRORED: NEWER}
    new = inputs(ollama, source=source, digest=NEWER.digest)
    diff = provider.diff(NAME, old, new)
    assert (diff.changes, diff.replaces) == (True, [])
    assert (provider.update(NAME, old, new).outs or {})["digest_found"] == NEWER.digest
    assert ollama.models == {NAME: NEWER}


def test_a_failed_pull_leaves_the_version_before(ollama: FakeOllama, provider: ModelProvider) -> None:
    ollama.models[NAME] = MINILM
    ollama.fail("/api/pull", double.error_line("no space left on device"))
    with pytest.raises(errors.DiskFullError):
        provider.create(inputs(ollama, digest=NEWER.digest))
    assert ollama.models[NAME] == MINILM
    ollama.registry[NAME] = NEWER
    created(provider, inputs(ollama, digest=NEWER.digest))
    assert ollama.models == {NAME: NEWER}, "what was kept aside has to go with the next success"


def test_an_image_without_its_baked_model_is_told_as_such(ollama: FakeOllama, provider: ModelProvider) -> None:
    with pytest.raises(errors.ModelMissingError, match="nothing is pulled") as caught:
        provider.create(inputs(ollama, pull=False))
    assert "build the image" in caught.value.mend
    ollama.models[NAME] = MINILM
    with pytest.raises(errors.DigestMismatchError, match="the image has " + MINILM.digest):
        provider.create(inputs(ollama, pull=False, digest="0" * 12))
    assert created(provider, inputs(ollama, pull=False))["digest_found"] == MINILM.digest
    assert ollama.asked("/api/pull") == []


@pytest.mark.parametrize(("name", "purpose"), [(NAME, "chat"), ("tiny:1", "embedding")])
def test_a_model_that_cannot_do_what_it_is_declared_for_is_refused(
    ollama: FakeOllama, provider: ModelProvider, name: str, purpose: str
) -> None:
    with pytest.raises(errors.RequestRefusedError, match=f"declared for {purpose}, but can only do") as caught:
        provider.create(inputs(ollama, name=name, source=name, purpose=purpose))
    assert "purpose" in caught.value.mend


@pytest.mark.parametrize("vector", [(), (0.0, 0.0), (float("nan"), 1.0)])
def test_a_vector_that_is_none_is_refused(ollama: FakeOllama, provider: ModelProvider, vector: tuple[float]) -> None:
    ollama.registry[NAME] = FakeModel(content="broken", vector=vector)
    with pytest.raises(errors.BadAnswerError, match="answers with a vector"):
        provider.create(inputs(ollama))


def test_the_measured_dimension_wins_over_metadata(ollama: FakeOllama, provider: ModelProvider) -> None:
    ollama.registry[NAME] = FakeModel(content="projected", dimension=768, vector=(0.6, 0.8))
    state = created(provider, inputs(ollama))
    assert state["embedding_dimension"] == 2
    assert (provider.read(NAME, state).outs or {})["embedding_dimension"] == 2


def test_nothing_changed_is_no_diff(ollama: FakeOllama, provider: ModelProvider) -> None:
    wanted = inputs(ollama, digest=MINILM.digest[:12], keep_alive="5m", context=512)
    state = created(provider, wanted)
    assert not provider.diff(NAME, state, wanted).changes
    without_nulls = {key: value for key, value in state.items() if value is not None}
    assert not provider.diff(NAME, without_nulls, wanted).changes


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://127.0.0.1:1"}, {"server": "two"}, {"source": MIRRORED}, {"insecure": True},
        {"keep_alive": "-1"}, {"context": 4096}, {"preload": True}, {"digest": "1" * 12}, {"name": "library/" + NAME},
    ],
)  # fmt: skip
def test_a_change_of_anything_but_the_name_updates_in_place(
    ollama: FakeOllama, provider: ModelProvider, change: dict[str, Any]
) -> None:
    state = created(provider, inputs(ollama))
    diff = provider.diff(NAME, state, inputs(ollama, **change))
    assert (diff.changes, diff.replaces) == (True, [])


@pytest.mark.parametrize("key", ["pull_timeout_s", "config_path"])
def test_what_only_words_or_bounds_a_pull_is_no_change(ollama: FakeOllama, provider: ModelProvider, key: str) -> None:
    state = created(provider, inputs(ollama))
    assert not provider.diff(NAME, state, inputs(ollama, **{key: 7})).changes


def test_another_name_replaces(ollama: FakeOllama, provider: ModelProvider) -> None:
    state = created(provider, inputs(ollama))
    assert provider.diff(NAME, state, inputs(ollama, name="all-minilm:33m")).replaces == ["name"]


@pytest.mark.parametrize("unknown", [rpc.UNKNOWN, pulumi.UNKNOWN])
@pytest.mark.parametrize("key", ["endpoint", "server", "name", "digest"])
def test_what_a_preview_does_not_know_yet_replaces_nothing(
    ollama: FakeOllama, provider: ModelProvider, key: str, unknown: Any
) -> None:
    state = created(provider, inputs(ollama))
    news = inputs(ollama, **{key: unknown})
    assert provider.check(state, news).failures == []
    diff = provider.diff(NAME, state, news)
    assert (diff.changes, diff.replaces) == (True, [])


def test_an_endpoint_that_changes_is_proven_and_nothing_is_pulled(ollama: FakeOllama, provider: ModelProvider) -> None:
    state = created(provider, inputs(ollama))
    with FakeOllama(models={NAME: MINILM}) as other:
        outs = provider.update(NAME, state, inputs(other)).outs or {}
        assert (outs["endpoint"], outs["digest_found"]) == (other.url, MINILM.digest)
        assert other.asked("/api/pull") == []
        assert len(other.asked("/api/embed")) == 1


def test_a_refresh_of_the_unchanged_changes_nothing(ollama: FakeOllama, provider: ModelProvider) -> None:
    state = created(provider, inputs(ollama))
    read = provider.read(NAME, state)
    assert (read.id, read.outs) == (NAME, state)


def test_a_model_that_is_gone_is_read_as_gone(ollama: FakeOllama, provider: ModelProvider) -> None:
    state = created(provider, inputs(ollama))
    del ollama.models[NAME]
    read = provider.read(NAME, state)
    assert read.id == ""
    assert read.outs == {}, "the plugin writes its key into outs, so None would be a crash"


def test_a_model_exchanged_behind_our_back_shows_in_the_next_diff(ollama: FakeOllama, provider: ModelProvider) -> None:
    wanted = inputs(ollama, digest=MINILM.digest)
    state = created(provider, wanted)
    ollama.models[NAME] = NEWER
    refreshed = provider.read(NAME, state).outs or {}
    assert refreshed["digest_found"] == NEWER.digest
    assert provider.diff(NAME, refreshed, wanted).changes
    provider.update(NAME, refreshed, wanted)
    assert ollama.models == {NAME: MINILM}


def test_reading_from_a_server_that_is_down_is_no_deletion_and_has_the_model_proven_again(
    ollama: FakeOllama, provider: ModelProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "READ_WAIT_S", 0.1)
    state = created(provider, inputs(ollama))
    ollama.stop()
    seen = provider.read(NAME, state)
    assert seen.id == NAME
    assert seen.outs == {**state, "server": dynamic.UNPROVEN}
    assert provider.diff(NAME, seen.outs, inputs(ollama)).changes
    assert not provider.diff(NAME, seen.outs, inputs(ollama)).replaces


def test_deleting_removes_the_model_and_what_was_kept_aside(ollama: FakeOllama, provider: ModelProvider) -> None:
    state = created(provider, inputs(ollama))
    ollama.models[kept_aside_name(NAME)] = MINILM
    provider.delete(NAME, state)
    assert ollama.models == {}
    provider.delete(NAME, state)


def test_deleting_on_a_server_that_is_gone_warns_and_succeeds(
    ollama: FakeOllama, provider: ModelProvider, capfd: pytest.CaptureFixture[str]
) -> None:
    state = created(provider, inputs(ollama))
    ollama.stop()
    provider.delete(NAME, state)
    assert "was not removed, its server is gone" in capfd.readouterr().err


def test_a_model_of_the_image_stays_in_the_image(ollama: FakeOllama, provider: ModelProvider) -> None:
    ollama.models[NAME] = MINILM
    provider.delete(NAME, created(provider, inputs(ollama, pull=False)))
    assert ollama.models == {NAME: MINILM}


def test_progress_is_told_while_a_pull_takes_its_time(ollama: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(lifecycle, "ticking", lambda tick: dynamic.ticking(tick, every=0.05))
    ollama.fail("/api/pull", double.stuck_for(0.5, MINILM), double.Handler.on_pull)
    with OllamaClient(ollama.url) as client:
        lifecycle.ensure(client, lifecycle.Wanted(name=NAME, source=NAME, purpose="embedding"), said.append)
    assert any("0 % of 46.0 MB, 0.0 MB/s" in line for line in said)
    assert said[-1].startswith(f"pulled {NAME}: 46.0 MB, digest {MINILM.digest[:12]}")


@pytest.mark.parametrize("changes", [{"digest": "latest"}, {"digest": "abc"}])
def test_a_pin_that_is_no_digest_fails_the_preview(
    ollama: FakeOllama, provider: ModelProvider, changes: dict[str, Any]
) -> None:
    failures = provider.check({}, inputs(ollama, **changes)).failures
    assert [failure.property for failure in failures] == ["digest"]
