"""The doctor on containers that are made to fail, one for each way: they carry a stack's names and labels by hand."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.services.labels import STACK_LABEL
from doctor.checks import containers, engine
from doctor.subject import Subject
from images.stand_ins import catalogue, registry
from tests.live.fixtures_containers import OLLAMA_IMAGE, docker_client, eventually_state, free_port, image
from tests.pure.doctor_subject import results, wrong
from tests.pure.given import settings

CHECKS = (engine.CHECKS[0], *containers.CHECKS)


class HandMade:
    """A stack `name` of two containers, each a shell command of the Ollama image."""

    def __init__(self) -> None:
        self.name = f"made-{uuid.uuid4().hex[:8]}"
        self.prefix = f"ragstack-{self.name}"
        self.client = docker_client()
        self.image = image(self.client, OLLAMA_IMAGE)
        overlay = catalogue.overlay(registry.IMAGES_AT, registry.MODELS_AT)
        self.settings = settings(registry=overlay["registry"], images=overlay["images"])
        for service in ("ollama", "postgres"):
            self.make(service, "exec sleep 600")

    def make(self, service: str, command: str, **options: Any) -> Any:
        """Makes the container of a service, in place of what is there; the container."""
        self.remove(service)
        return self.client.containers.run(
            options.pop("image", self.image),
            ["-c", command],
            entrypoint="sh",
            name=f"{self.prefix}-{service}",
            labels={STACK_LABEL: self.prefix},
            detach=True,
            mem_limit=options.pop("mem_limit", "64m"),
            **options,
        )

    def remove(self, service: str) -> None:
        for container in self.client.containers.list(all=True, filters={"name": f"^{self.prefix}-{service}$"}):
            container.remove(force=True, v=True)

    def wrong(self, *, fix: bool = False) -> dict[str, str]:
        subject = Subject(self.name, self.settings, {})
        try:
            return wrong(results(subject, CHECKS, fix=fix))
        finally:
            subject.close()

    def details(self, check: str) -> tuple[str, ...]:
        subject = Subject(self.name, self.settings, {})
        try:
            return next(one for one in results(subject, CHECKS)[check].findings if one.mend).details
        finally:
            subject.close()


@pytest.fixture
def made(stand_ins: None) -> Iterator[HandMade]:
    stack = HandMade()
    yield stack
    for service in ("ollama", "postgres"):
        stack.remove(service)


def test_two_calm_containers_give_no_finding(made: HandMade) -> None:
    assert made.wrong() == {}


def test_a_container_that_is_not_there_is_named(made: HandMade) -> None:
    made.remove("postgres")
    assert made.wrong() == {"containers.present": f"{made.prefix}-postgres is not there"}


def test_a_container_that_ended_is_named_with_its_last_lines_and_started_by_fix(made: HandMade) -> None:
    mark = "echo could not open the model folder; [ -e /tmp/again ] && exec sleep 600; touch /tmp/again; exit 3"
    ended = made.make("ollama", mark)
    ended.wait()
    assert made.wrong() == {"containers.running": f"{made.prefix}-ollama has ended with 3"}
    assert made.details("containers.running") == ("could not open the model folder",)
    made.wrong(fix=True)
    assert made.wrong() == {}


def test_a_paused_container_is_named_and_goes_on_by_fix(made: HandMade) -> None:
    made.client.containers.get(f"{made.prefix}-ollama").pause()
    assert made.wrong() == {"containers.running": f"{made.prefix}-ollama is paused"}
    made.wrong(fix=True)
    assert made.wrong() == {}


def test_a_container_that_restarts_again_and_again_is_named_with_its_last_lines(made: HandMade) -> None:
    looping = made.make("ollama", "echo bad configuration; exit 4", restart_policy={"Name": "always"})
    assert eventually_state(looping, lambda found: found["RestartCount"] >= 3)
    problems = made.wrong()
    assert problems.keys() <= {"containers.restarting", "containers.running"}
    assert "last after ending with" in problems["containers.restarting"]
    assert "bad configuration" in made.details("containers.restarting")


def test_a_container_that_the_kernel_ended_for_its_memory_is_told_from_one_that_was_stopped(made: HandMade) -> None:
    greedy = made.make("ollama", "exec tail /dev/zero", mem_limit="16m")
    greedy.wait()
    problems = made.wrong()
    assert problems["containers.memory"] == f"the kernel ended {made.prefix}-ollama, which wanted more than its 16 MiB"
    assert "137 (it was killed)" in problems["containers.running"]
    killed = made.make("ollama", "exec sleep 600")
    killed.kill()
    killed.wait()
    assert made.wrong().keys() == {"containers.running"}


def test_an_unhealthy_container_is_named_with_what_its_check_said(made: HandMade) -> None:
    second = 1_000_000_000
    health = {"test": ["CMD-SHELL", "echo no answer; exit 1"], "interval": second, "timeout": second, "retries": 1}
    sick = made.make("ollama", "exec sleep 600", healthcheck=health)
    assert eventually_state(sick, lambda found: found["State"]["Health"]["Status"] == "unhealthy")
    problems = made.wrong()
    assert problems.keys() == {"containers.health"}
    assert f"{made.prefix}-ollama is unhealthy" in problems["containers.health"]
    assert "no answer" in made.details("containers.health")


def test_a_container_that_listens_beyond_loopback_is_named(made: HandMade) -> None:
    port = free_port()
    made.make("ollama", "exec sleep 600", ports={"11434/tcp": ("127.0.0.1", port)})
    assert made.wrong() == {}
    made.make("ollama", "exec sleep 600", ports={"11434/tcp": ("0.0.0.0", port)})
    assert made.wrong() == {"containers.exposed": f"{made.prefix}-ollama listens on 0.0.0.0:{port}"}


def test_a_container_of_another_image_is_named(made: HandMade) -> None:
    other = next(one for one in catalogue.IMAGES if one.setting == "haproxy").name
    made.make("ollama", "exec sleep 600", image=image(made.client, f"{registry.IMAGES_AT}/{other}"))
    problems = made.wrong()
    assert problems.keys() == {"containers.image"}
    assert "runs another image than" in problems["containers.image"]


# The Docker SDK leaves the socket of a failed connection to the garbage collector, which complains about it.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_is_down_is_the_one_finding(made: HandMade, tmp_path: Path) -> None:
    made.settings = settings(host={"type": "local", "docker_host": f"unix://{tmp_path}/none.sock"})
    problems = made.wrong()
    assert problems.keys() == {"engine.reachable"}
    assert "none.sock" in problems["engine.reachable"]
    gc.collect()
