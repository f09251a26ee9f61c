"""Names of the images built for a stack, held against Docker's own grammar."""

from __future__ import annotations

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from components.plan.names import names_of
from components.services.images import CONTEXTS
from tests.pure.given import settings

SETTINGS = settings()
# github.com/distribution/reference, regexp.go: components of a repository, joined by slashes.
ALPHANUMERIC = "[a-z0-9]+"
COMPONENT = re.compile(f"{ALPHANUMERIC}(?:(?:[.]|_|__|-+){ALPHANUMERIC})*")
LONGEST = 255
SERVICES = sorted(folder.name for folder in CONTEXTS.iterdir() if (folder / "Dockerfile").exists())
# What Pulumi takes for the name of a stack: 1 to 100 of these.
stack_names = st.from_regex(r"[A-Za-z0-9_.-]{1,100}", fullmatch=True)


def repository(stack: str, service: str) -> str:
    return names_of(SETTINGS, "ragstack", stack).image_repository(service)


def test_there_are_images_to_name() -> None:
    assert SERVICES == ["ollama_baked", "ollama_non_root"]


@given(stack_names, st.sampled_from(SERVICES))
@example("Dev", "ollama_baked")
@example("a..b--c__d._-e", "ollama_non_root")
@example("...", "ollama_non_root")
@example("dev_", "ollama_baked")
def test_every_stack_name_gives_a_repository_that_docker_takes(stack: str, service: str) -> None:
    found = repository(stack, service)
    assert COMPONENT.fullmatch(found)
    assert len(found) <= LONGEST


@given(stack_names, stack_names)
@example("Dev", "dev")
@example("a.b", "a-b")
@example("dev-", "dev")
def test_two_stacks_never_share_a_repository(one: str, other: str) -> None:
    assume(one != other)
    assert repository(one, "ollama_baked") != repository(other, "ollama_baked")


def test_an_ordinary_stack_name_is_used_as_it_is() -> None:
    assert repository("dev", "ollama_baked") == "ragstack-dev-ollama-baked"
