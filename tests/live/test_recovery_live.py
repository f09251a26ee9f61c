"""Hard deaths and the prod profile on the engine at hand: nothing that happened before keeps a stack from coming up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from scripts.recovery import show_failed_containers
from scripts.smoke import answer
from tests.live.fixtures_containers import docker_client
from tests.live.live_stack import LiveStack

EMBEDDER = {"name": "all-minilm:22m", "purpose": "embedding"}


def test_an_update_that_was_killed_outright_is_finished_by_the_next_one(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(models=[EMBEDDER])
    process = stack.start("up")
    deadline = time.monotonic() + 120
    while len(stack.lives()) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(stack.lives()) == 2
    # As `make up` does it, with what it puts right first.
    stack.runner.run("up")
    answer(stack.outputs())
    assert stack.up().changed_nothing


def test_a_prod_stack_on_the_engine_at_hand_comes_up_and_goes_down_and_keeps_its_volumes(
    make_stack: Callable[..., LiveStack],
) -> None:
    stack = make_stack(profile="prod", models=[EMBEDDER])
    stack.up()
    assert stack.up().changed_nothing
    for service in ("ollama", "postgres"):
        host = stack.container(service)["HostConfig"]
        assert host["RestartPolicy"]["Name"] == "always"
        assert host["LogConfig"]["Config"] == {"max-size": "100m", "max-file": "5"}
    destroyed = stack.run("destroy")
    assert destroyed.code == 0, destroyed.text
    assert stack.lives() == {}
    volumes = {volume.name for volume in docker_client().volumes.list() if volume.name.startswith(stack.prefix)}
    assert volumes == {f"{stack.prefix}-ollama", f"{stack.prefix}-postgres"}


def test_a_failed_up_shows_why_its_container_failed(
    make_stack: Callable[..., LiveStack], capsys: pytest.CaptureFixture[str]
) -> None:
    stack = make_stack(models=[EMBEDDER])
    client = docker_client()
    volume = client.volumes.create(f"{stack.prefix}-postgres", labels={"io.ragstack.stack": stack.prefix})
    image = f"{stack.config['registry']['images']}/{stack.config['images']['pgvector']}"
    client.containers.run(
        image,
        ["-c", "echo 15 >/var/lib/postgresql/data/PG_VERSION"],
        entrypoint="/bin/bash",
        user="999:999",
        volumes={volume.name: {"bind": "/var/lib/postgresql/data", "mode": "rw"}},
        remove=True,
    )
    assert stack.run("up").code != 0
    local = stack.runner.target.local
    assert local is not None
    show_failed_containers(*local)
    said = capsys.readouterr().out
    assert f"{stack.prefix}-postgres is " in said
    assert "the data volume is of PostgreSQL 15, the image is PostgreSQL 17" in said
    assert f"{stack.prefix}-ollama" not in said


def test_volumes_of_somebody_else_are_taken_over_once_and_then_left_alone(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(models=[EMBEDDER])
    for service in ("ollama", "postgres"):
        docker_client().volumes.create(f"{stack.prefix}-{service}", labels={"made.by": "somebody else"})
    stack.up()
    before = stack.lives()
    assert stack.up().changed_nothing
    assert stack.lives() == before
