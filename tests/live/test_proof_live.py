"""The proof at the end of an update, on real servers: what it says, when it is made anew, and what it fails for."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import requests

from components.models.api import OllamaClient
from components.models.placement import computes, library_fault
from components.plan.memory import need_of
from components.plan.model_shapes import SHAPES, Shape
from images.stand_ins import catalogue, registry
from tests.doubles.metal_ollama import metal_in_front_of
from tests.live.fixtures_containers import OLLAMA_IMAGE, docker_client, free_port, running
from tests.live.live_stack import LiveStack, has_traceback

EMBEDDER = {"name": "all-minilm:22m", "purpose": "embedding"}
# The generated chat model of images/stand_ins: llama architecture, random weights.
TINY = Shape(layers=4, heads=4, kv_heads=4, head_size=64, hidden=256, vocabulary=259, context=32768)


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., LiveStack]) -> LiveStack:
    stack = make_stack()
    stack.up()
    return stack


def test_on_a_cpu_it_passes_and_says_cpu(stack: LiveStack) -> None:
    said = stack.outputs()["inference"]
    assert said.startswith("inference runs on the CPU: ")
    assert "all-minilm:22m finds the right passage with 384 dimensions" in said
    assert said.endswith("tiny-chat:random answers")


def test_it_is_not_made_again_unless_models_or_containers_change(stack: LiveStack) -> None:
    assert stack.up().changed_nothing
    before, lives = copy.deepcopy(stack.config), stack.lives()
    stack.config["models"] = [EMBEDDER]
    changed = stack.up()
    assert "inference runs on the CPU: all-minilm:22m; all-minilm:22m finds" in changed.text
    assert stack.lives() == lives
    stack.config = before
    assert "tiny-chat:random answers" in stack.up().text
    assert stack.up().changed_nothing


def test_the_models_stay_loaded_as_they_were_declared_to(stack: LiveStack) -> None:
    with OllamaClient(stack.outputs()["ollama_url"]) as ollama:
        loaded = {entry["name"]: entry for entry in ollama.ps()}
    assert loaded.keys() == {"all-minilm:22m", "tiny-chat:random"}
    # The preset keeps them for good, which Ollama says as a year far away.
    assert all(int(entry["expires_at"][:4]) > 2100 for entry in loaded.values())


def test_it_writes_nothing_that_stays(stack: LiveStack) -> None:
    done = (
        docker_client()
        .containers.get(f"{stack.prefix}-postgres")
        .exec_run(
            [
                "psql",
                "-U",
                "postgres",
                "-d",
                "rag",
                "-Atc",
                "select count(*) from pg_tables where tablename ~ '^smoke_'",
            ]
        )
    )
    assert done.output.decode().strip() == "0"


def test_a_real_server_on_a_cpu_says_so_in_its_log(stack: LiveStack) -> None:
    log = docker_client().containers.get(f"{stack.prefix}-ollama").logs().decode()
    assert [compute.library for compute in computes(log)] == ["cpu"]
    assert library_fault("cpu", log) is None
    assert "the server found no cuda device when it started, but: cpu" in str(library_fault("nvidia", log))


def test_an_accelerator_that_is_declared_and_not_used_fails_the_update(make_stack: Callable[..., LiveStack]) -> None:
    # The native server of a Mac that computes on its CPU, as one does that was started under Rosetta.
    with running(OLLAMA_IMAGE, 11434, free_port()) as (_, port):
        OllamaClient(f"http://127.0.0.1:{port}").wait_ready(60)
        stack = make_stack(accelerator={"kind": "apple"}, ollama={"port": port}, models=[EMBEDDER])
        failed = stack.run("up")
        assert failed.code == 1
        assert "accelerator.kind is apple, but inference would not run on it: ollama-1: all-minilm:22m lies wholly" in (
            " ".join(failed.text.split())
        )
        assert f"make doctor STACK={stack.name}" in failed.text
        assert not has_traceback(failed.text)
        # What was wrong is mended outside the stack: the next update goes on from there.
        with metal_in_front_of(f"http://127.0.0.1:{port}", free_port()) as url:
            stack.config["ollama"] = {"port": int(url.rpartition(":")[2])}
            stack.up()
            assert stack.outputs()["inference"].startswith("inference runs on apple: all-minilm:22m")
            assert stack.up().changed_nothing
            assert stack.run("destroy").code == 0


@pytest.mark.parametrize("context", [512, 4096, 16384])
@pytest.mark.parametrize(("name", "shape"), [("tiny-chat:random", TINY), ("all-minilm:22m", SHAPES["all-minilm:22m"])])
def test_the_plans_estimate_is_within_ten_percent_of_what_a_real_server_reports_and_never_below(
    stack: LiveStack, name: str, shape: Shape, context: int
) -> None:
    url = stack.outputs()["ollama_url"]
    with OllamaClient(url) as ollama:
        path = "embed" if not shape.kv_heads else "generate"
        body = {"model": name, "input": "x", "prompt": "", "options": {"num_ctx": context}, "keep_alive": "1m"}
        with requests.Session() as session:
            session.trust_env = False
            session.post(f"{url}/api/{path}", json=body, timeout=60).raise_for_status()
        (entry,) = [entry for entry in ollama.ps() if entry["name"] == name]
        size = next(model["size"] for model in ollama.tags() if model["name"] == name)
    estimate = need_of(shape, size, context=context, parallel=4)
    assert entry["size"] <= estimate.reported <= 1.1 * entry["size"], (entry["size"], estimate)
    assert entry["size"] <= estimate.total


def test_the_stand_ins_are_what_the_table_says_of_their_namesakes(stand_ins: None) -> None:
    overlay = catalogue.overlay(registry.IMAGES_AT, registry.MODELS_AT)
    assert {model["name"] for model in overlay["models"]} >= {"all-minilm:22m", "tiny-chat:random"}
