"""What a user sees when it cannot work: one message with the mend, no traceback, and a next `up` that converges."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable

import pytest

from components.models.api import OllamaClient
from scripts.smoke import answer
from tests.live.fixtures_containers import docker_client, free_port
from tests.live.live_stack import LiveStack, Ran, has_traceback

EMBEDDER = {"name": "all-minilm:22m", "purpose": "embedding"}
CHAT = {"name": "tiny-chat:random", "purpose": "chat"}


def assert_refused(ran: Ran, *parts: str) -> None:
    """A failed operation that says each part, a mend, and shows no traceback."""
    assert ran.code != 0, ran.text
    assert not has_traceback(ran.text), ran.text
    assert "mend:" in ran.text
    for part in parts:
        assert part in ran.text, f"{part!r} is not in:\n{ran.text}"


def assert_nothing_created(stack: LiveStack) -> None:
    client = docker_client()
    assert stack.lives() == {}
    assert [network.name for network in client.networks.list() if network.name.startswith(stack.prefix)] == []
    assert [volume.name for volume in client.volumes.list() if volume.name.startswith(stack.prefix)] == []


def test_all_bad_settings_are_named_at_once_and_nothing_is_created(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(
        ollama={"prot": 1, "port": 99999}, images={"ollama": "ollama/ollama:latest"}, models=[EMBEDDER, EMBEDDER]
    )
    for operation in ("preview", "up"):
        refused = stack.run(operation)
        assert_refused(
            refused,
            "4 settings cannot work",
            "ragstack:ollama.prot is not a setting; did you mean port?",
            "ragstack:ollama.port is not valid; allowed: a port from 1 to 65535",
            "ragstack:images.ollama uses the moving tag latest",
            "ragstack:models[1].name is listed twice",
            f"pulumi config set --stack {stack.name} --path 'ragstack:ollama.port' 11434",
        )
    assert_nothing_created(stack)


def test_no_engine_is_said_with_the_way_to_start_it(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(host={"type": "local", "docker_host": "unix:///nowhere/docker.sock"}, models=[EMBEDDER])
    for operation in ("preview", "up"):
        assert_refused(stack.run(operation), "No Docker engine is running at unix:///nowhere/docker.sock", "start")


def test_a_port_that_another_program_holds_is_named_before_anything_is_created(
    make_stack: Callable[..., LiveStack],
) -> None:
    stack = make_stack(models=[EMBEDDER])
    with socket.socket() as other:
        other.bind(("127.0.0.1", stack.config["postgres"]["port"]))
        other.listen()
        port = stack.config["postgres"]["port"]
        assert_refused(
            stack.run("preview"),
            f"ragstack:postgres.port is {port}, but another program already listens on 127.0.0.1:{port}",
        )
        assert_refused(stack.run("up"), "another program already listens")
        assert_nothing_created(stack)


def test_a_port_that_another_container_holds_names_the_container(make_stack: Callable[..., LiveStack]) -> None:
    first, second = make_stack(models=[EMBEDDER]), make_stack(models=[EMBEDDER])
    first.up()
    second.config["ollama"] = {**second.config["ollama"], "port": first.config["ollama"]["port"]}
    assert_refused(second.run("up"), f"the container {first.prefix}-ollama already listens")
    assert_nothing_created(second)


def test_more_memory_than_the_machine_has_is_refused(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(ollama={"port": free_port(), "container": {"memory": "900g"}}, models=[EMBEDDER])
    assert_refused(stack.run("preview"), "ragstack:ollama.container.memory is 921600 MiB, but the machine has")


def test_an_image_that_no_registry_has_fails_the_update_by_its_name(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(models=[EMBEDDER])
    stack.config["images"] = {**stack.config["images"], "ollama": "ollama/ollama:0.0.0-none"}
    failed = stack.run("up")
    assert failed.code != 0
    assert not has_traceback(failed.text)
    assert "127.0.0.1:5055/ollama/ollama:0.0.0-none" in failed.text


def test_failed_pulls_give_the_servers_reason_and_the_next_up_converges(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(models=[EMBEDDER, {"name": "no-such-model:1b", "purpose": "chat"}])
    assert_refused(stack.run("up"), "no-such-model:1b", "the registry has no such model")

    stack.config["models"] = [{**EMBEDDER, "digest": "0" * 12}, CHAT]
    assert_refused(stack.run("up"), "is pinned to digest 000000000000", "ragstack:models[0].digest")

    mirror = stack.config["registry"]
    stack.config["registry"] = {**mirror, "models": "host.docker.internal:9"}
    stack.config["models"] = [EMBEDDER, {"name": "tiny-chat:other", "purpose": "chat"}]
    assert_refused(stack.run("up"), "host.docker.internal:9", "connection refused")

    stack.config["registry"] = mirror
    stack.config["models"] = [EMBEDDER, CHAT]
    stack.up()
    answer(stack.outputs())
    assert stack.up().changed_nothing


@pytest.mark.parametrize("moment", ["docker:index.*(creating|working)|running the program", "pulling"])
def test_an_interrupted_up_is_finished_by_the_next_one(make_stack: Callable[..., LiveStack], moment: str) -> None:
    stack = make_stack(models=[EMBEDDER, CHAT])
    process = stack.start("up")
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if re.search(moment, line):
            time.sleep(1)
            os.killpg(process.pid, signal.SIGINT)
            break
    said += process.communicate(timeout=120)[0]
    assert process.returncode != 0, said
    assert not has_traceback(said), said
    stack.up()
    answer(stack.outputs())
    with OllamaClient(stack.outputs()["ollama_url"]) as ollama:
        assert {model["name"] for model in ollama.tags()} == {"all-minilm:22m", "tiny-chat:random"}
    assert stack.up().changed_nothing


def test_a_postgres_image_of_another_major_version_leaves_the_data_alone(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(models=[EMBEDDER])
    stack.up()
    assert stack.run("destroy").code == 0
    client = docker_client()
    image = stack.config["images"]["pgvector"]
    client.containers.run(
        f"{stack.config['registry']['images']}/{image}",
        ["-c", "echo 15 >/data/PG_VERSION"],
        entrypoint="/bin/bash",
        volumes={f"{stack.prefix}-postgres": {"bind": "/data", "mode": "rw"}},
        remove=True,
    )
    failed = stack.run("up")
    assert failed.code != 0
    assert not has_traceback(failed.text)
    log = client.containers.get(f"{stack.prefix}-postgres").logs().decode()
    assert "the data volume is of PostgreSQL 15, the image is PostgreSQL 17" in log
    assert "ragstack:postgres.version" in log
